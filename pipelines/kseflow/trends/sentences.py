"""What is told, in words for somebody with a minute: counts beside rates, days as 25 Oct 2026."""

from calendar import day_name
from collections.abc import Sequence
from math import isfinite

from kseflow import words
from kseflow.trends.change import Change, Judgement, LeftOut, ReasonTurn, WeekdayTurn
from kseflow.trends.rates import Measure
from kseflow.trends.series import Series, day_of
from kseflow.words import counted

SHARE_WORTH_SAYING = 0.01  # of invoices that are known from KSeF's counters alone
SHOWN_MESSAGE = 80
TWO_WEEKS = 14  # each weekday twice
FEW_SESSIONS = 50


def day_text(number: int) -> str:
    """Write a day by its number: 25 Oct 2026."""
    return words.day_text(day_of(number))


def percent(share: float, decimals: int) -> str:
    """Write a share of 0 to 1 without its sign."""
    return f"{100 * share:.{decimals}f}"


def decimals_of(measure: Measure) -> int:
    """Return how many decimals of a percentage its interval leaves meaningful."""
    half = 50 * (measure.high - measure.low)
    return 0 if half >= 10 else 1 if half >= 0.1 else 2 if half >= 0.01 else 3


def rate_text(measure: Measure, confidence: str = "95 % ") -> str:
    """Write a rate with its interval: 3.0 %, 95 % 2.0 to 4.5."""
    if not isfinite(measure.value):
        return "no invoices"
    n = decimals_of(measure)
    low, high = percent(measure.low, n), percent(measure.high, n)
    return f"{percent(measure.value, n)} %, {confidence}{low} to {high}"


def both_text(change: Change) -> str:
    """Write both rates: 3.0 %, 95 % 2.0 to 4.5; before 5.0 %, 3.5 to 7.0."""
    confidence = "" if change.new.whole_count else "95 % "
    return f"{rate_text(change.new)}; before {rate_text(change.old, confidence)}"


def counts_text(measure: Measure) -> str:
    """Write what a rate rests on: 24 of 800."""
    return f"{measure.part_count:,} of {measure.whole_count:,}"


def days_text(series: Series) -> str:
    """Write how many days are looked at: the last 7 days."""
    return counted(max(0, series.last - series.first + 1), "day")


def span_text(series: Series) -> str:
    """Write the days: 3 Oct to 9 Oct 2026."""
    first, last = day_text(series.first), day_text(series.last)
    return last if first == last else f"{first.removesuffix(last[-5:])} to {last}"


def headline(judgement: Judgement, because: str, *, session: str = "") -> str:
    """Say the verdict, what it rests on, because of what, and what was left out."""
    verdict = _verdict_text(judgement)
    parts = []
    if judgement.left_out is not None:
        verdict = f"Without it: {verdict[0].lower()}{verdict[1:]}"
        parts.append(left_out_text(judgement.left_out, session))
    if judgement.passed is not None:
        verdict = f"Apart from that: {verdict[0].lower()}{verdict[1:]}"
        parts.append(passed_text(judgement.passed))
    parts += [verdict, because, counters_text(judgement.change)]
    return " ".join(part for part in parts if part)


def _verdict_text(judgement: Judgement) -> str:
    change = judgement.change
    if judgement.verdict == "nothing_decided":
        days = change.after.last - change.before.first + 1
        return f"Nothing decided: no invoice was accepted or failed in the last {days} days."
    if judgement.since is None:
        return _level_text(judgement)
    if change.is_drift:
        return _drift_text(judgement, day_text(judgement.since))
    return (
        f"It has got {judgement.verdict} since about {day_text(judgement.since)} "
        f"({both_text(change)}): {counts_text(change.new)} invoices failed since, "
        f"{counts_text(change.old)} in {_had_days(change.before)} before."
    )


def _drift_text(judgement: Judgement, since: str) -> str:
    change = judgement.change
    return (
        f"It is slowly getting {judgement.verdict}, since about {since} "
        f"({both_text(change)}): {counts_text(change.new)} invoices failed in the last "
        f"{days_text(change.after)}, {counts_text(change.old)} from {span_text(change.before)}."
    )


def _level_text(judgement: Judgement) -> str:
    """Say that it is as before, or that nobody can tell, of the last days and all before."""
    change = judgement.change
    if not change.old.whole_count:
        return (
            f"Cannot tell ({rate_text(change.new)}): {counts_text(change.new)} invoices failed in "
            f"{_had_days(change.after)}, and there are none before to compare with."
        )
    rest = (
        f"({both_text(change)}): {counts_text(change.new)} invoices failed in the last "
        f"{days_text(change.after)}, {counts_text(change.old)} in {_had_days(change.before)} before"
    )
    if judgement.is_fresh:
        return f"About the same as before {rest}. Whether that day lasts, nobody can tell yet."
    if judgement.verdict == "unchanged":
        return f"About the same as before {rest}."
    return f"Cannot tell {rest}{_why_not(change)}."


def _had_days(series: Series) -> str:
    """Say how long ago the first session was, if the days looked at begin before it."""
    begin = int(series.day.min(initial=series.last))
    count = series.last - max(begin, series.first) + 1
    return f"the {count} days" if count > 1 else "one day"


def _why_not(change: Change) -> str:
    """Say what there is too little of, if that is plain."""
    begin = min(int(side.day.min(initial=side.last)) for side in (change.before, change.after))
    span = change.after.last - begin + 1
    count = change.old.session_count + change.new.session_count
    if span < TWO_WEEKS:
        return f"; {counted(span, 'day')} are too few, as weekdays differ"
    return f"; {counted(count, 'session')} are too few" if count < FEW_SESSIONS else ""


def left_out_text(left_out: LeftOut, session: str = "") -> str:
    """Name what stands alone."""
    found = left_out.sessions
    failed = f"{int(found.failed.sum()):,} of {int(found.decided.sum()):,} invoices"
    day = day_text(int(found.day.min()))
    if left_out.kind == "one_day":
        return f"One day stands alone: on {day}, {failed} failed."
    return f"One session stands alone: in {session} of {day}, {failed} failed."


def passed_text(passed: Change) -> str:
    """Say what came and has gone."""
    direction = "worse" if passed.is_rise else "better"
    return (
        f"It was {direction} from {span_text(passed.after)} ({rate_text(passed.new)}; "
        f"{counts_text(passed.new)} invoices failed), which has passed."
    )


def counters_share(change: Change) -> float | None:
    """Return which share of invoices is known from KSeF's counters alone, 0 to 1."""
    sides = (change.before, change.after)
    whole = sum(float(side.decided.sum()) for side in sides)
    return sum(float(side.from_counters.sum()) for side in sides) / whole if whole else None


def counters_text(change: Change) -> str:
    """Say how much rests on KSeF's counters, if that is much."""
    share = counters_share(change) or 0.0
    if share < SHARE_WORTH_SAYING:
        return ""
    return f"{percent(share, 0)} % of these invoices are known from KSeF's counters alone."


def reason_text(category: str, message: str) -> str:
    """Write a reason: its category and what KSeF said, shortened."""
    if category == "not_read_yet":
        return "reasons that are not read yet"
    short = (
        message if len(message) <= SHOWN_MESSAGE else message[: SHOWN_MESSAGE - 2].rstrip() + " …"
    )
    kind = category.replace("_", " ")
    return f"{kind} “{short}”" if short else kind


def points_text(points: float) -> str:
    """Write percentage points with their sign: +2.1 points."""
    return f"{points:+.1f} points"


def because_text(reasons: Sequence[str], taxpayers: Sequence[str]) -> str:
    """Say what explains a change: Because of …, most of it at …."""
    if not reasons and not taxpayers:
        return ""
    most = f"most of it at {listed(taxpayers)}" if taxpayers else ""
    if not reasons:
        return f"{most[0].upper()}{most[1:]}."
    return f"Because of {listed(reasons)}{', ' if most else ''}{most}."


def listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " and " + texts[-1]


def time_text(measure: Measure, confidence: str = "") -> str:
    """Write a typical time with its interval: 97 s (95 % 78 s to 114 s)."""
    value, low, high = (
        words.duration(seconds, space=" ") for seconds in (measure.value, measure.low, measure.high)
    )
    return f"{value} ({confidence}{low} to {high})"


def moved(change: Change, since: int | None, until: int | None, because: str) -> str:
    """Say that the failure rate went up or down, for good or for some days."""
    direction = "up" if change.is_rise else "down"
    slowly = "slowly, " if change.is_drift else ""
    when = f"since about {day_text(since)}" if since is not None else ""
    if until is not None:
        when = f"from {span_text(change.after)} only"
    told = f"The failure rate went {direction} {slowly}{when} ({both_text(change)})."
    return f"{told} {because}".rstrip()


def reason_turn(turn: ReasonTurn, change: Change, reason: str) -> str:
    """Say that a reason is new or gone, in how many invoices and sessions."""
    if turn.is_new:
        return (
            f"New reason since {day_text(turn.day)}: {reason}, in "
            f"{counted(change.new.part_count, 'invoice')} of "
            f"{counted(turn.session_count, 'session')} ({rate_text(change.new)}); "
            f"never in {_had_days(change.before)} before."
        )
    return (
        f"Reason gone since {day_text(turn.day)}: {reason}, before in "
        f"{counted(change.old.part_count, 'invoice')} of "
        f"{counted(turn.session_count, 'session')} ({rate_text(change.old)})."
    )


def apart(label: str, judgement: Judgement, others: Measure) -> str:
    """Say that a taxpayer changed unlike the others."""
    change = judgement.change
    when = "" if judgement.since is None else f" since about {day_text(judgement.since)}"
    return (
        f"{label} has got {judgement.verdict}{when}, apart from its own past "
        f"({both_text(change)}); all other taxpayers: "
        f"{percent(others.value, decimals_of(others))} % since."
    )


def slower(since: int, old: Measure, new: Measure) -> str:
    """Say that KSeF takes longer to accept invoices of online sessions."""
    return (
        f"KSeF accepts more slowly since about {day_text(since)}: half of the online sessions "
        f"within {time_text(new, '95 % ')}, before within {time_text(old)}."
    )


def weekday(turn: WeekdayTurn) -> str:
    """Say that one weekday fails more than the others."""
    new, old = turn.change.new, turn.change.old
    return (
        f"Invoices of {day_name[turn.weekday]}s fail more often ({rate_text(new)}; other days "
        f"{rate_text(old, '')}): {counts_text(new)} failed, {counts_text(old)} on other days."
    )
