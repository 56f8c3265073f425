"""What became of failed invoices, and what somebody must still do about them."""

import pandas as pd

import kseflow.pages.look as look
from kseflow.pages.blocks import Bar, Bars, Table
from kseflow.pages.chosen import Marts
from kseflow.pages.numbers import (
    FAILURES_SQL,
    SESSIONS_SQL,
    UNRESOLVED_SQL,
    Fates,
    fates,
    how_much,
    kinds_of_work,
)
from kseflow.pages.section import Section, say
from kseflow.words import Rate, counted, duration, moment_text

SHOWN = 10  # groups of the oldest
NO_AMOUNTS = (
    "KSeF tells no amount, no buyer and no issue date of an invoice that it refused: what they "
    "are worth stands in your own books alone."
)
HOURS = {
    "within 1 h": 1.0,
    "in 1 to 4 h": 4.0,
    "in 4 to 24 h": 24.0,
    "in 1 to 3 days": 72.0,
    "in 3 to 7 days": 168.0,
    "in more than 7 days": float("inf"),
}


def put_right(marts: Marts) -> Section:
    """Tell how many failed invoices got in after all, and how soon."""
    title, told = "Putting failures right", fates(marts)
    if not told.failed:
        return say(title, "No invoice failed in these days.")
    failures = marts.frame(FAILURES_SQL)
    is_again = failures["is_settled"] & (failures["resolution"] == "accepted_later")
    again = failures[is_again]["seconds_to_resolution"]
    claim = (
        f"{Rate(told.later, told.failed).counted} of failed invoices were sent again and accepted"
    )
    if len(again):
        claim += f", half of them within {duration(again.median())}"
    note = (
        "From the failed submission to the acceptance of the same content, by whichever way it got "
        "in; `resolution_rule` in `marts.failed_invoices` names what tells so."
    )
    if told.in_open:
        note += f" Without {counted(told.in_open, 'failure')} in sessions that are still open."
    bars = [
        Bar(name, count, Rate(count, told.failed).counted, colour=colour)
        for name, (count, colour) in (_soon(again) | _others(told)).items()
    ]
    return Section(title, [Bars(bars, claim, note)])


def _soon(again: pd.Series) -> dict[str, tuple[int, str]]:
    """Count what was accepted later by how soon that was."""
    edges = [-float("inf"), *(hours * 3600 for hours in HOURS.values())]
    waits = pd.cut(again, edges, labels=list(HOURS)).value_counts()
    return {name: (int(waits[name]), look.ACCENT) for name in HOURS}


def _others(told: Fates) -> dict[str, tuple[int, str]]:
    """Count what was not accepted later; lines of nothing are left out, but the open one."""
    lines = {
        "was in KSeF before": (told.before, look.GREY),
        "duplicate, its original is in KSeF": (told.duplicates, look.GREY),
        "not yet": (told.unresolved, look.FAULT),
        "not yet, its whole session failed": (told.in_sessions, look.FAULT),
        "not known, its row is not read yet": (told.not_read, look.FAULT_LIGHT),
    }
    return {name: line for name, line in lines.items() if line[0] or name == "not yet"}


def to_act_on(marts: Marts) -> Section:
    """Tell who has to do what, and the oldest of it, equal ones of a session in one line."""
    title, unresolved = "Failures that somebody must act on", marts.frame(UNRESOLVED_SQL)
    if unresolved.empty:
        return say(title, "Nothing: no failed invoice of these days is still open.")
    invoices = int(unresolved["invoice_count"].sum())
    work = kinds_of_work(unresolved)
    frame = pd.DataFrame(
        {
            "Who acts": work["who_acts"],
            "What to do": work["what_to_do"],
            "How much": [how_much(row) for row in work.itertuples()],
            "Oldest": work["oldest"].map("{:.1f} days".format),
        }
    )
    kinds = counted(len(work), "kind of work", "kinds of work")
    claim = f"{counted(invoices, 'failed invoice')} in {kinds}"
    return Section(title, [Table(frame, claim), _oldest(marts, unresolved)], NO_AMOUNTS)


def whole_sessions(marts: Marts) -> Section:
    """Tell which sessions were refused as a whole, with all their invoices."""
    title = "Sessions that failed as a whole"
    sessions = marts.frame(SESSIONS_SQL)
    found = sessions[sessions["is_failed_as_whole"] & ~sessions["is_closed_empty"]]
    if found.empty:
        return say(title, "No session failed as a whole in these days.")
    lost = (found["invoice_count"] - found["accepted_count"]).clip(lower=found["failed_count"])
    found = found.assign(invoices=lost)
    groups = found.groupby(["session_type", "meaning", "who_acts", "what_to_do"], as_index=False)
    kinds = groups.agg(
        sessions=("invoices", "size"), invoices=("invoices", "sum"), last=("created", "max")
    ).sort_values(["invoices", "sessions"], ascending=False)
    frame = pd.DataFrame(
        {
            "Sent as": kinds["session_type"],
            "Why": kinds["meaning"],
            "Sessions": kinds["sessions"],
            "Invoices": kinds["invoices"].astype("Int64").where(kinds["invoices"] > 0),
            "Last": kinds["last"].map(moment_text),
            "Who acts": kinds["who_acts"],
            "What to do": kinds["what_to_do"],
        }
    )
    claim = (
        f"{counted(len(found), 'session')} with {counted(int(lost.sum()), 'invoice')} that did "
        "not get in by them"
    )
    note = (
        "Counted among the failed wherever KSeF counts them so. Of a session without a number "
        "KSeF does not tell how many invoices were in it."
    )
    return Section(title, [Table(frame, claim, note)])


def _oldest(marts: Marts, unresolved: pd.DataFrame) -> Table:
    keys = ["context_id", "session_reference_number", "reason", "who_acts"]
    groups = unresolved.groupby(keys, as_index=False, dropna=False).agg(
        submitted=("submitted", "min"),
        invoices=("invoice_count", "sum"),
        example=("invoice", "first"),
    )
    groups = groups.sort_values(["submitted", "invoices"], ascending=[True, False])
    top = groups.head(SHOWN)
    frame = pd.DataFrame(
        {
            "Submitted": top["submitted"].map(moment_text),
            "Taxpayer": top["context_id"].map(marts.name),
            "Invoices": top["invoices"].astype("Int64").where(top["invoices"] > 0),
            "Reason": top["reason"],
            "For example": top["example"].fillna(top["session_reference_number"]),
            "Who acts": top["who_acts"],
        }
    )
    claim = "The oldest" if len(groups) > len(top) else "All of them, the oldest first"
    note = (
        f"Equal failures of a session are one line; {len(top)} of {counted(len(groups), 'line')} "
        "are shown. All invoices: `marts.unresolved_failures`. Warsaw time."
    )
    return Table(frame, claim, note)
