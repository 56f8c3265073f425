"""The answers for a person with a minute; everything after them is evidence."""

from collections.abc import Sequence
from datetime import datetime

from kseflow.pages.blocks import Answer, Cards, State
from kseflow.pages.chosen import Marts
from kseflow.pages.copy_numbers import (
    CAUSES,
    COPY_SQL,
    DIFFERENCES_SQL,
    KINDS,
    MONTHS_SQL,
    ODDITIES_SQL,
    age_s,
    closed_sessions,
    left_out,
    rows_here,
)
from kseflow.pages.numbers import (
    DAILY_SQL,
    SESSIONS_SQL,
    UNRESOLVED_SQL,
    failure_rate,
    fates,
    first_pass_text,
    how_much,
    kinds_of_work,
    total,
)
from kseflow.pages.section import Section
from kseflow.words import Rate, counted, day_text, duration, literal, moment_text

NOTHING_LACKING = ("session_open", "session_failed_as_whole")
STALE_S = 24 * 3600  # an older copy cannot say what must be done today
NAMED = 5  # taxpayers that are left out
TASKS = 6  # kinds of work that are named; the others are counted


def answer(question: str, state: State, headline: str, details: Sequence[str] = ()) -> Section:
    """Make a section of a question and its answer."""
    return Section(question, [Answer(state, headline, details)])


def did_they_get_in(marts: Marts) -> Section:
    """Tell how many invoices are not in KSeF, of how many."""
    question = "Did our invoices get in?"
    decided, told = total(marts, "decided"), fates(marts)
    if not total(marts, "submitted") + told.failed + told.in_open:
        return answer(
            question,
            "unknown",
            "**No invoice was submitted in these days**, or none has been loaded yet.",
            ["Load with `kseflow load --build`, or choose other days or taxpayers."],
        )
    out = int(marts.frame(UNRESOLVED_SQL)["invoice_count"].sum())
    least = "at least " if told.not_read else ""
    if out:
        headline = f"**No: {least}{counted(out, 'invoice is', 'invoices are')} not in KSeF.**"
    elif told.not_read:
        headline = f"**Not known yet** of {counted(told.not_read, 'failed invoice')}."
    elif decided:
        headline = "**Yes: every invoice that KSeF has decided on is in KSeF.**"
    else:
        headline = "**Not known yet**: KSeF has decided on none of them."
    accepted = Rate(total(marts, "accepted"), decided)
    details = [f"{accepted.counted} of decided invoices were accepted."] if decided else []
    state: State = "bad" if out else "good" if decided and not told.not_read else "unknown"
    shown = Answer(state=state, headline=headline, details=[*details, *_why(marts)])
    return Section(question, [shown, _cards(marts, out)])


def _why(marts: Marts) -> list[str]:
    """Tell what became of the failed ones, what is undecided, and what the numbers rest on."""
    told, details = fates(marts), []
    parts = {
        "were accepted when they were sent again": told.later,
        "were in KSeF before": told.before,
        "are duplicates of invoices that are in KSeF": told.duplicates,
        "are not in KSeF": told.unresolved,
        "were in sessions that failed as a whole": told.in_sessions,
        "have no row here yet, so what became of them is not known": told.not_read,
    }
    if told.failed:
        named = "; ".join(f"{count:,} {what}" for what, count in parts.items() if count)
        details.append(f"{failure_rate(marts).counted} failed: {named}.")
    unsized = int(kinds_of_work(marts.frame(UNRESOLVED_SQL))["sessions"].sum())
    if unsized:
        what = counted(unsized, "session")
        details.append(f"{what} failed as a whole; KSeF does not tell how many invoices were in.")
    if told.in_open:
        details.append(f"{counted(told.in_open, 'more failure')} in sessions that are still open.")
    if pending := total(marts, "pending"):
        details.append(f"{counted(pending, 'invoice is', 'invoices are')} still in process.")
    if unaccounted := total(marts, "unaccounted"):
        what = counted(unaccounted, "invoice")
        details.append(f"{what} of failed sessions KSeF counts neither as accepted nor as failed.")
    if by_counters := total(marts, "from_counters"):
        share = Rate(by_counters, total(marts, "decided"))
        details.append(
            f"{share.counted} of decided invoices are known from KSeF's own counters of their "
            "sessions, until the rows are read or because KSeF keeps none. No rate waits for them."
        )
    return details


def _cards(marts: Marts, out: int) -> Cards:
    failed, days = failure_rate(marts), counted(len(marts.frame(DAILY_SQL)), "day")
    unknown = total(marts, "first_unknown")
    tries = f"of {total(marts, 'first_attempts'):,} known first tries"
    return Cards(
        {
            "Submitted": (f"{total(marts, 'submitted'):,}", days),
            "Failed": (str(failed), failed.counts),
            "Accepted at first try": (
                first_pass_text(marts),
                f"{unknown:,} are not known yet" if unknown else tries,
            ),
            "Still to be put right": (f"{out:,}", "failed and not in KSeF"),
        }
    )


def is_the_copy_complete(marts: Marts) -> Section:
    """Tell what is missing here, why, and how old the copy is."""
    question = "Is our copy complete, and how old is it?"
    copy, sessions = marts.one(COPY_SQL), marts.frame(SESSIONS_SQL)
    if sessions.empty:
        return answer(question, "unknown", "**Nothing is loaded of these days yet.**")
    here, lacking_sessions = rows_here(marts), int(closed_sessions(marts)["is_lacking"].sum())
    lacking, age = here.whole - here.part, age_s(marts, copy.as_of)
    if lacking:
        headline = (
            f"**No: {counted(lacking, 'invoice')} of {here.whole:,} are not stored here yet.**"
        )
    elif lacking_sessions:
        headline = f"**Nearly: {_sessions(lacking_sessions)} not add up to KSeF's counters.**"
    else:
        headline = "**Yes: every closed session adds up to KSeF's counters.**"
    details = [_age(copy.as_of, age)]
    if lacking_sessions:
        causes = marts.frame(DIFFERENCES_SQL)["likely_cause"]
        causes = causes[~causes.isin(NOTHING_LACKING)]
        why = CAUSES.get(causes.iloc[0] if len(causes) else "", "see below")
        details.append(f"{_sessions(lacking_sessions)} not add up, most of them because: {why}.")
        details.append("Load again: each load goes on where the last one ended.")
    faults = _left_out(marts) + _faults(marts)
    state: State = "bad" if lacking_sessions or faults or age > STALE_S else "good"
    return answer(question, state, headline, details + faults + _months(marts))


def _left_out(marts: Marts) -> list[str]:
    """Name the taxpayers of which nothing is in the file."""
    out = left_out(marts)
    if not out:
        return []
    names = ", ".join(literal(taxpayer["context_id"]) for taxpayer in out[:NAMED])
    more = f" and {len(out) - NAMED:,} more" if len(out) > NAMED else ""
    return [
        f"**{counted(len(out), 'taxpayer is', 'taxpayers are')} left out**, because rows of theirs "
        f"break a promise of the marts: {names}{more}. See `kseflow check`."
    ]


def _faults(marts: Marts) -> list[str]:
    """Tell what the copy lost or contradicts itself in."""
    odd = marts.frame(ODDITIES_SQL)
    return [
        f"**{KINDS.get(row.kind, row.kind)}**: {counted(row.cases, 'case')}, below."
        for row in odd[odd["is_fault"]].itertuples()
    ]


def _months(marts: Marts) -> list[str]:
    """Say what exports tell about accepted invoices, if there are exports."""
    months = marts.frame(MONTHS_SQL)
    if not months["in_exports"].sum():
        return []
    missing, waiting = int(months["missing"].sum()), int(months["not_exported_yet"].sum())
    told = (
        f"{counted(missing, 'accepted invoice is', 'accepted invoices are')} missing in exports"
        if missing
        else "No accepted invoice is missing in exports"
    )
    young = f"; {waiting:,} are too young to be in one" if waiting else ""
    return [f"{told}{young}."]


def _sessions(count: int) -> str:
    return counted(count, "session does", "sessions do")


def _age(as_of: datetime, age: float) -> str:
    old = f", {duration(age)} before this was written" if age >= 60 else ""
    warning = " **It is old: load before you act.**" if age > STALE_S else ""
    return f"KSeF last answered on {moment_text(as_of)}{old}.{warning}"


def what_to_do_today(marts: Marts) -> Section:
    """Name the work, whose it is, and how much."""
    question = "What must be done today?"
    sessions, unresolved = marts.frame(SESSIONS_SQL), marts.frame(UNRESOLVED_SQL)
    tasks = [
        f"**{row.who_acts}**, {how_much(row)}: {row.what_to_do}"
        for row in kinds_of_work(unresolved).itertuples()
    ]
    if stuck := int(sessions["is_stuck"].sum()):
        tasks.append(
            f"**sender**, {counted(stuck, 'session')}: KSeF has not closed them in time; report "
            "them to KSeF if they stay."
        )
    if len(tasks) > TASKS + 1:
        tasks = [*tasks[:TASKS], f"{len(tasks) - TASKS} more kinds of work, below."]
    if lacking := int(closed_sessions(marts)["is_lacking"].sum()):
        load = f"{counted(lacking, 'session')}: load again until their rows are here."
        tasks.insert(0, f"**administrator**, {load}")
    if not tasks:
        return answer(question, "good", "**Nothing**: no failure is open.")
    kinds = len(kinds_of_work(unresolved)) + bool(stuck) + bool(lacking)
    headline = f"**{counted(kinds, 'kind of work', 'kinds of work')}**"
    if len(unresolved):
        headline += f", the oldest failure since {day_text(unresolved['submitted'].min())}"
    return answer(question, "bad", f"{headline}.", tasks)
