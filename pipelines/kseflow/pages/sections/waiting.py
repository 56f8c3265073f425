"""How long KSeF takes: of Online sessions alone, since a batch's time contains the upload."""

from math import log10

import pandas as pd
import plotly.graph_objects as go

import kseflow.pages.charts as charts
from kseflow.pages.blocks import Block, Text
from kseflow.pages.chosen import Marts
from kseflow.pages.section import Section, say
from kseflow.words import counted, day_text, duration

WHY_ONLINE = (
    "Of invoices sent in interactive sessions (Online) alone: by KSeF's rule every invoice of a "
    "batch carries the moment at which its session was opened, so a batch's time contains the "
    "sender's own upload and says nothing of KSeF."
)
TICKS_S = {
    1: "1 s",
    10: "10 s",
    60: "1 min",
    600: "10 min",
    3600: "1 h",
    36000: "10 h",
    360000: "100 h",
}

WAITS_SQL = """
select
    submitted_day as day,
    count(*) as accepted,
    quantile_cont(seconds_to_acceptance, 0.5) as p50,
    quantile_cont(seconds_to_acceptance, 0.95) as p95
from marts.invoices
where
    chosen(context_id, submitted_day)
    and session_type = 'Online'
    and seconds_to_acceptance >= 0
group by rollup (submitted_day)
order by submitted_day
"""

BATCHES_SQL = """
select
    count(*) as accepted,
    quantile_cont(seconds_to_acceptance, 0.5) as p50
from marts.invoices
where
    chosen(context_id, submitted_day)
    and session_type = 'Batch'
    and seconds_to_acceptance >= 0
"""


def time_to_acceptance(marts: Marts) -> Section:
    """Tell how long KSeF takes from an invoice to its KSeF number."""
    title, waits = "Time to acceptance", marts.frame(WAITS_SQL)
    if waits["accepted"].sum() == 0:
        return say(title, "No invoice of an interactive session was accepted in these days.")
    overall, days = waits[waits["day"].isna()].iloc[0], waits.dropna(subset=["day"])
    claim = (
        f"Half of the accepted invoices had their KSeF number within {duration(overall['p50'])}, "
        f"95% within {duration(overall['p95'])}"
    )
    if len(days) > 1:
        claim += f"; slowest on {day_text(days['day'][days['p95'].idxmax()])}"
    rows = pd.DataFrame(
        {
            "Day": days["day"].map(day_text),
            "Accepted": days["accepted"],
            "Half within": days["p50"].map(duration),
            "95% within": days["p95"].map(duration),
        }
    )
    note = (
        "Median and 95th percentile of the time from submission to the KSeF number (numer KSeF), "
        "by day of submission; the scale is logarithmic."
    )
    chart = charts.by_day(_lines(days), rows, claim, note, days=days["day"], height=280)
    return Section(title, [chart, *_batches(marts)], WHY_ONLINE)


def _batches(marts: Marts) -> list[Block]:
    batches = marts.one(BATCHES_SQL)
    if not batches.accepted:
        return []
    told = (
        f"For comparison only: {counted(batches.accepted, 'invoice')} of batches had theirs "
        f"{duration(batches.p50)} (median) after their session was opened, the upload included."
    )
    return [Text([told])]


def _lines(days: pd.DataFrame) -> go.Figure:
    figure = charts.percentiles(days, "accepted")
    figure.update_yaxes(
        type="log",
        range=_range(days["p50"].min(), days["p95"].max()),
        tickvals=list(TICKS_S),
        ticktext=list(TICKS_S.values()),
    )
    return figure


def _range(shortest: float, longest: float) -> list[float]:
    """Return the decades from the tick below the shortest time to the tick above the longest."""
    below = max((tick for tick in TICKS_S if tick <= shortest), default=min(TICKS_S))
    above = min((tick for tick in TICKS_S if tick >= longest), default=longest)
    return [log10(below), log10(above) + 0.02]
