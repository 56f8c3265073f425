"""How wide windows may be, how long KSeF builds packages, and how far behind exports are."""

import pandas as pd
import plotly.graph_objects as go

import kseflow.pages.charts as charts
from kseflow.pages.blocks import Block, Table
from kseflow.pages.chosen import Marts
from kseflow.pages.package_numbers import LAGS_SQL
from kseflow.pages.section import Section, say
from kseflow.words import counted, day_text, duration, size_text

SHOWN = 10
HOUR_S = 3600

BUILD_TIMES_SQL = """
select
    day,
    count(*) as packages,
    quantile_cont(seconds_to_completion, 0.5) as p50,
    quantile_cont(seconds_to_completion, 0.95) as p95
from marts.packages
where chosen(context_id, day) and is_built and seconds_to_completion is not null
group by rollup (day)
order by day
"""

DENSITY_SQL = """
select
    context_id, subject_type,
    count(*) as packages,
    max(invoices_per_hour) as invoices_per_hour,
    max(bytes_per_hour) as bytes_per_hour,
    min(widest_window_hours) as widest_hours,
    arg_min(covered_seconds, widest_window_hours) as covered_seconds
from marts.packages
where chosen(context_id, day) and widest_window_hours is not null
group by all
order by widest_hours, context_id, subject_type
"""

BACKLOG_SQL = """
select
    day,
    max(last_backlog_seconds) as last,
    max(max_backlog_seconds) as most,
    arg_max(context_id || ' as ' || subject_type, last_backlog_seconds) as farthest
from marts.package_truncation
where chosen(context_id, day) and last_backlog_seconds is not null
group by day
order by day
"""


def widest_windows(marts: Marts) -> Section:
    """Tell how wide a window may be before it is truncated, for the densest of each part."""
    title, parts = "How wide a window may be", marts.frame(DENSITY_SQL)
    if parts.empty:
        return say(title, "No package held an invoice, so there is no density to judge by.")
    narrowest, top = parts.iloc[0], parts.head(SHOWN)
    frame = pd.DataFrame(
        {
            "Taxpayer": top["context_id"].map(marts.name),
            "As": top["subject_type"],
            "Packages": top["packages"],
            "Invoices an hour": top["invoices_per_hour"].round().astype("Int64"),
            "Bytes an hour": top["bytes_per_hour"].map(size_text),
            "It covered": top["covered_seconds"].map(duration),
            "Widest window": (top["widest_hours"] * HOUR_S).map(duration),
        }
    )
    claim = (
        f"A window of {duration(narrowest['widest_hours'] * HOUR_S)} would not have been truncated "
        "anywhere"
    )
    note = (
        "By the densest package of each taxpayer's part: hours until a cap is reached at its "
        f"invoices and bytes per hour of window. The narrowest {len(top)} of "
        f"{counted(len(parts), 'part')}."
    )
    return Section(title, [Table(frame, claim, note)])


def build_times(marts: Marts) -> Section:
    """Tell how long KSeF takes to build a package."""
    title, times = "How long KSeF builds a package", marts.frame(BUILD_TIMES_SQL)
    if times["packages"].sum() == 0:
        return say(title, "KSeF has built no package in these days.")
    claim = "Half of the packages were built within {p50}, 95% within {p95}"
    note = "From the request to the completion, as KSeF tells both."
    return Section(title, [_percentiles(times, claim, note)])


def behind(marts: Marts) -> Section:
    """Tell how far packages are behind what KSeF stores."""
    title, lags = "How far KSeF's packages are behind", marts.frame(LAGS_SQL)
    if lags["packages"].sum() == 0:
        return say(title, "No package of these days has a high-water mark (HWM).")
    claim = "Half of the packages were at most {p50} behind, 95% at most {p95}"
    note = (
        "The time from the high-water mark (HWM), below which no further invoice can appear, to "
        "the completion of the package."
    )
    return Section(title, [_percentiles(lags, claim, note)])


def _percentiles(times: pd.DataFrame, claim: str, note: str) -> Block:
    """Draw the median and the 95th percentile by day; `claim` names {p50} and {p95} overall."""
    overall, days = times[times["day"].isna()].iloc[0], times.dropna(subset=["day"])
    said = claim.format(p50=duration(overall["p50"]), p95=duration(overall["p95"]))
    rows = pd.DataFrame(
        {
            "Day": days["day"].map(day_text),
            "Packages": days["packages"],
            "Half within": days["p50"].map(duration),
            "95% within": days["p95"].map(duration),
        }
    )
    unit, length = _unit(days["p95"].max())
    figure = charts.percentiles(days, "packages", unit_s=length)
    figure.update_yaxes(ticksuffix=f" {unit}")
    return charts.by_day(figure, rows, said, note, days=days["day"], height=280)


def _unit(longest_s: float) -> tuple[str, float]:
    """Return the unit in which a chart up to so many seconds is read best, and its length."""
    for unit, length in (("days", 24.0 * HOUR_S), ("h", float(HOUR_S)), ("min", 60.0)):
        if longest_s >= 2 * length:
            return unit, length
    return "s", 1.0


def backlog(marts: Marts) -> Section:
    """Tell day by day how far the copy was behind after the last export."""
    title, days = "How far our exports are behind", marts.frame(BACKLOG_SQL)
    if days.empty:
        return say(title, "No package of these days tells how far exports are.")
    last = days.iloc[-1]
    claim = (
        f"After the last exports of {day_text(last['day'])} the copy was at most "
        f"{duration(last['last'])} behind"
    )
    note = (
        "From where the next window begins to the last request of the day, of the taxpayer's part "
        "that is farthest behind; KSeF's own lag is among it."
    )
    rows = pd.DataFrame(
        {
            "Day": days["day"].map(day_text),
            "After the last export": days["last"].map(duration),
            "Most of the day": days["most"].map(duration),
            "Farthest behind": days["farthest"],
        }
    )
    figure, unit, length = go.Figure(), *_unit(days["last"].max())
    hover = "%{text}: %{customdata}"
    charts.line(
        figure,
        days["day"],
        days["last"] / length,
        hover,
        text=days["last"].map(duration),
        customdata=days["farthest"],
    )
    figure.update_yaxes(ticksuffix=f" {unit}")
    chart = charts.by_day(figure, rows, claim, note, days=days["day"], height=260)
    return Section(title, [chart])
