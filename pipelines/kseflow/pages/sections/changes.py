"""Better, worse, or nobody can tell: what `kseflow.trends` says, and what it rests on."""

import json
from typing import TYPE_CHECKING

import pandas as pd

from kseflow.pages.blocks import Answer, Block, State, Table, Text
from kseflow.pages.chosen import Marts
from kseflow.pages.section import Section, say
from kseflow.words import Rate, day_text, literal, percent

if TYPE_CHECKING:
    from kseflow.trends.anomaly import Anomaly

QUESTION = "Is it getting better or worse?"
VERDICTS: dict[str, tuple[State, str]] = {
    "worse": ("bad", "Worse"),
    "better": ("good", "Better"),
    "unchanged": ("good", "About the same"),
    "cannot_tell": ("unknown", "Cannot tell"),
    "nothing_decided": ("unknown", "Cannot tell: nothing was decided"),
}
NOT_SAID_TWICE = ("headline", "rate_up", "rate_down")
SAID = 4  # sentences of the answer beside the headline's
SHOWN = 20  # taxpayers


def headline_of(marts: Marts) -> "Anomaly | None":
    """Return what is said of all chosen taxpayers together; None before the first load."""
    return next((row for row in marts.changes if row.kind == "headline"), None)


def better_or_worse(marts: Marts) -> Section:
    """Tell the verdict, since when and because of what, with its interval."""
    headline = headline_of(marts)
    if headline is None:
        return Section(QUESTION, [Answer("unknown", "**Nothing was loaded yet.**")])
    state, verdict = VERDICTS[headline.verdict]
    since = f" since about {day_text(headline.since_day)}" if headline.since_day else ""
    others = [
        row.sentence
        for row in marts.changes
        if row.context_id is None and row.kind not in NOT_SAID_TWICE
    ]
    told = [literal(text) for text in (headline.sentence, *others[:SAID])]
    return Section(QUESTION, [Answer(state, f"**{verdict}{since}.**", told)])


def what_changed(marts: Marts) -> Section:
    """Tell what the verdict rests on: both stretches, the reasons in full, and each taxpayer."""
    title, headline = "What changed", headline_of(marts)
    if headline is None or headline.before_first_day is None:
        return say(title, "There are no two stretches of days to compare.")
    blocks: list[Block] = [_stretches(headline)]
    if reasons := json.loads(headline.reasons):
        blocks.append(_reasons(reasons))
    blocks += _taxpayers(marts)
    intro = (
        "Invoices fail by the session, so a session counts as one observation, and a change is "
        "told only if it would be found in fewer than one of twenty worlds where nothing changed."
    )
    return Section(title, blocks, intro)


def _stretches(row: "Anomaly") -> Table:
    sides = {
        "Before": (
            row.before_first_day,
            row.before_last_day,
            Rate(row.before_failed_count or 0, row.before_decided_count or 0),
            (row.before_low, row.before_high),
            row.before_session_count,
        ),
        "After": (
            row.after_first_day,
            row.after_last_day,
            Rate(row.after_failed_count or 0, row.after_decided_count or 0),
            (row.after_low, row.after_high),
            row.after_session_count,
        ),
    }
    frame = pd.DataFrame(
        [
            {
                "Days": name,
                "From": day_text(first),
                "To": day_text(last),
                "Failed": rate.counts,
                "Rate": str(rate),
                "95% interval": _interval(*interval),
                "Sessions": sessions or 0,
            }
            for name, (first, last, rate, interval, sessions) in sides.items()
        ]
    )
    return Table(frame, "What was compared")


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{percent(low)} to {percent(high)}"


def _reasons(reasons: list[dict[str, object]]) -> Table:
    frame = pd.DataFrame(
        {
            "Kind": [str(reason["category"]) for reason in reasons],
            "Reason": [str(reason["normalised_message"] or "–") for reason in reasons],
            "Failed before": [reason["before_failed_count"] for reason in reasons],
            "Failed after": [reason["after_failed_count"] for reason in reasons],
            "Percentage points": [f"{reason['points']:+.2f}" for reason in reasons],
        }
    )
    return Table(frame, "Because of these reasons")


def _taxpayers(marts: Marts) -> list[Block]:
    """Tell of each taxpayer of which something is told, and of how many nobody can tell."""
    heads = [row for row in marts.changes if row.kind == "headline" and row.context_id]
    told = [row for row in marts.changes if row.context_id and row.kind not in NOT_SAID_TWICE]
    told = [row for row in heads if row.verdict in ("worse", "better")] + told
    if len(heads) < 2:
        return []
    counts = pd.Series([VERDICTS[row.verdict][1].lower() for row in heads]).value_counts()
    summed = "; ".join(f"{count:,} {verdict}" for verdict, count in counts.items())
    frame = pd.DataFrame(
        {
            "Taxpayer": [marts.name(str(row.context_id)) for row in told[:SHOWN]],
            "What changed": [row.sentence for row in told[:SHOWN]],
        }
    )
    if frame.empty:
        return [Text([f"Of {len(heads):,} taxpayers: {summed}."])]
    more = f" Shown are the first {SHOWN}; all: `marts.anomalies`." if len(told) > SHOWN else ""
    return [Table(frame, "Taxpayer by taxpayer", f"Of {len(heads):,} taxpayers: {summed}.{more}")]
