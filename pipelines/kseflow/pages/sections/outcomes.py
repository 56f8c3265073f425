"""Failure rates over time, and at which hours invoices are sent."""

from calendar import day_name

import pandas as pd
import plotly.graph_objects as go

import kseflow.pages.charts as charts
import kseflow.pages.look as look
from kseflow.pages.chosen import Marts
from kseflow.pages.numbers import DAILY_SQL, failure_rate, total
from kseflow.pages.section import Section, say
from kseflow.words import Rate, counted, day_text, percent

BUSY_SHARE = 1 / 20  # of the busiest day's invoices; a quieter day's rate would flatten all others
COLOURS = {1: (look.FAULT, look.FAULT_LIGHT), 2: (look.ACCENT, look.ACCENT_LIGHT)}

HOURS_SQL = """
select
    isodow(timezone('Europe/Warsaw', submitted_at)) as weekday,
    hour(timezone('Europe/Warsaw', submitted_at)) as hour,
    count(*) as submitted,
    count(*) filter (where is_settled) as decided,
    count(*) filter (where is_settled and outcome != 'accepted') as failed
from marts.invoices
where chosen(context_id, submitted_day)
group by all
"""


def over_time(marts: Marts) -> Section:
    """Tell the failure and first-pass rates day by day."""
    title = "Over time"
    intro = (
        "A day is the Warsaw day (Europe/Warsaw) on which an invoice was submitted. Rates are of "
        "*decided* invoices: those that were accepted or failed, in sessions that are closed. An "
        "invoice that is sent again counts again."
    )
    daily = marts.frame(DAILY_SQL)
    rolling = daily.set_index("day")["failure_rate_7d"].dropna()
    if rolling.empty:
        return say(title, "No invoice has been decided in these days, so there is no rate.")
    claim = f"The failure rate of the last 7 days is {percent(rolling.iloc[-1])}"
    if len(rolling) > 1:
        claim += (
            f", between {percent(rolling.min())} on {day_text(rolling.idxmin())} and "
            f"{percent(rolling.max())} on {day_text(rolling.idxmax())}"
        )
    note = (
        "Line: the day and the six before it, summed. Dots: the day alone, where it has at least "
        "a twentieth of the busiest day's invoices. First pass: accepted without a failure before."
    )
    if total(marts, "first_unknown"):
        note += " It is left out where rows are not read yet that decide it."
    if undated := total(marts, "undated"):
        note += f" {counted(undated, 'invoice')} may belong to the day after."
    rows = _rows(daily) if len(daily) == 1 else daily
    chart = charts.by_day(
        _rates(daily),
        rows,
        claim if len(daily) > 1 else f"{failure_rate(marts).counted} of invoices failed",
        note,
        days=daily["day"],
        height=520,
    )
    return Section(title, [chart], intro)


def _rows(daily: pd.DataFrame) -> pd.DataFrame:
    """Return the days as a reader has them in a table."""
    failed = [Rate(*pair) for pair in zip(daily["failed"], daily["decided"], strict=True)]
    tries = zip(daily["first_passes"], daily["first_attempts"], strict=True)
    passed = [Rate(*pair).value for pair in tries]
    return pd.DataFrame(
        {
            "Day": daily["day"].map(day_text),
            "Accepted": daily["accepted"],
            "Failed": daily["failed"],
            "Failure rate": [str(rate) for rate in failed],
            "At first try": pd.Series(passed).where(daily["first_unknown"] == 0).map(percent),
        }
    )


def _rates(daily: pd.DataFrame) -> go.Figure:
    titles = ("Failure rate", "First-pass rate", "Decided invoices")
    figure = charts.panels(titles, heights=[0.42, 0.33, 0.25], gap=0.09)
    is_known = daily["first_unknown"] == 0  # else the rate would be of those that happen to be read
    daily = daily.assign(first_attempts=daily["first_attempts"].where(is_known, 0))
    _panel(figure, 1, daily, ("failed", "decided", "failure_rate_7d"))
    _panel(figure, 2, daily, ("first_passes", "first_attempts", "first_pass_rate_7d"))
    charts.bars(figure, daily["day"], daily["decided"], "%{y:,} decided", colour=look.GREY, row=3)
    figure.update_yaxes(tickformat=".1~%", row=1)
    figure.update_yaxes(tickformat=".1~%", rangemode="normal", row=2)
    figure.update_yaxes(tickformat=",", nticks=4, row=3)
    return figure


def _panel(figure: go.Figure, row: int, daily: pd.DataFrame, names: tuple[str, str, str]) -> None:
    """Draw a rate: dots for the part of the whole on busy days, a line for that of seven days."""
    part, whole, rolling = names
    colour, light = COLOURS[row]
    is_busy = daily["decided"] >= max(1, daily["decided"].max() * BUSY_SHARE)
    charts.line(
        figure,
        daily["day"],
        daily[part] / daily[whole].where(is_busy & (daily[whole] > 0)),
        "%{y:.1%} (%{customdata[0]:,} of %{customdata[1]:,})",
        name="of the day",
        showlegend=False,
        colour=light,
        mode="markers",
        row=row,
        customdata=daily[[part, whole]],
    )
    week = {"name": "of 7 days", "showlegend": False, "mode": "lines"}
    charts.line(figure, daily["day"], daily[rolling], "%{y:.1%}", colour=colour, row=row, **week)


def by_hour(marts: Marts) -> Section:
    """Tell at which weekdays and hours invoices are sent, and which of them fail."""
    title, hours = "Weekday and hour", marts.frame(HOURS_SQL)
    if hours.empty:
        return say(title, "No invoice of these days has been read.")
    peak = hours.loc[hours["submitted"].idxmax()]
    missing = total(marts, "submitted") - int(hours["submitted"].sum())
    note = (
        f"Warsaw time; darker is more. The darkest hour above is {day_name[peak.weekday - 1]} "
        f"{peak.hour}:00 with {counted(peak.submitted, 'invoice')}, below "
        f"{counted(hours['failed'].max(), 'failure')}; an empty cell had none. All invoices of a "
        "batch carry the hour in which its session was opened."
    )
    if missing > 0:
        note += f" Without {counted(missing, 'invoice')} of which no row is here."
    return Section(title, [charts.chart(_grid(hours), _claim(hours), note, height=460)])


def _claim(hours: pd.DataFrame) -> str:
    """Say when most is sent; whether a weekday fails more is for `kseflow.trends` to judge."""
    weekdays = hours.groupby("weekday")["submitted"].sum()
    most = Rate(int(weekdays.max()), int(hours["submitted"].sum()))
    return f"{most} of invoices are submitted on a {day_name[weekdays.idxmax() - 1]}"


def _grid(hours: pd.DataFrame) -> go.Figure:
    names = ("submitted", "decided", "failed")
    grid = hours.set_index(["weekday", "hour"]).unstack().reindex(range(1, 8))
    grid = grid.reindex(columns=[(name, hour) for name in names for hour in range(24)])
    figure = charts.panels(("Submitted invoices", "Failed invoices"))
    for row, name, scale in ((1, "submitted", look.BLUES), (2, "failed", look.ORANGES)):
        told = "submitted" if row == 1 else "failed of %{customdata:,} decided"
        figure.add_heatmap(
            x=list(range(24)),
            y=[name[:3] for name in day_name],
            z=grid[name],
            zmin=0,
            zmax=max(1, hours[name].max()),
            customdata=grid["decided"],
            text=[[f"{day}, {hour}:00 to {hour}:59" for hour in range(24)] for day in day_name],
            hovertemplate="%{text}: %{z:,} " + told + "<extra></extra>",
            colorscale=scale,
            showscale=False,
            xgap=2,
            ygap=2,
            row=row,
            col=1,
        )
    figure.update_yaxes(autorange="reversed", showgrid=False, dtick=1, ticks="")
    ticks = list(range(0, 24, 3))
    figure.update_xaxes(
        tickvals=ticks, ticktext=[f"{hour} h" for hour in ticks], showticklabels=True
    )
    figure.update_layout(hovermode="closest")
    return figure
