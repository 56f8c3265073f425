"""Lines, bars and percentiles by day, and when there is no chart."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from kseflow.pages.blocks import Block, Chart, Table
from kseflow.pages.look import ACCENT, ACCENT_LIGHT, LOOK
from kseflow.words import duration

DAY = pd.Timedelta(days=1)


def chart(figure: go.Figure, claim: str, note: str = "", *, height: int = 360) -> Chart:
    """Give a figure our look and room for its titles and legend."""
    figure.update_annotations(x=0, xanchor="left", font_size=13)  # titles of panels
    legends = [trace for trace in figure.data if trace.name and trace.showlegend is not False]
    room = 8 + 24 * (len(legends) > 1) + 24 * bool(figure.layout.annotations)
    figure.update_layout(template=LOOK, height=height, margin_t=room, showlegend=len(legends) > 1)
    return Chart(figure, claim, note, height)


def panels(
    titles: Sequence[str], *, heights: Sequence[float] | None = None, gap: float = 0.14
) -> go.Figure:
    """Make a figure of panels over the same days; `heights` and `gap` are shares of its height."""
    return make_subplots(
        rows=len(titles),
        shared_xaxes=True,
        vertical_spacing=gap,
        row_heights=heights,
        subplot_titles=titles,
    )


def by_day(
    figure: go.Figure,
    rows: pd.DataFrame,
    claim: str,
    note: str = "",
    *,
    days: Sequence[pd.Timestamp],
    height: int = 360,
) -> Block:
    """Make a chart over `days`, which gets at least a week; of one day alone the `rows` instead.

    `rows` are what the chart shows, a row a day, as a reader would have them in a table.
    """
    if len(rows) < 2:
        return Table(rows, claim)
    begin = min(min(days), max(days) - 6 * DAY)
    figure.update_xaxes(range=[begin - DAY / 2, max(days) + DAY / 2])
    figure.update_traces(width=0.75 * DAY.total_seconds() * 1000, selector={"type": "bar"})
    return chart(figure, claim, note, height=height)


def line(
    figure: go.Figure,
    days: Sequence[pd.Timestamp],
    values: Sequence[float],
    hover: str,
    *,
    colour: str = ACCENT,
    row: int | None = None,
    **look: object,
) -> None:
    """Add a line to a figure, or to the panel `row` of it; `hover` is plotly's template.

    `look` is what else plotly takes of a line; one with a name is in the legend.
    """
    usual = {"mode": "lines+markers", "name": "", "showlegend": "name" in look, "line_width": 2.5}
    figure.add_scatter(
        x=days,
        y=values,
        hovertemplate=hover,
        line_color=colour,
        marker_color=colour,
        row=row,
        col=row and 1,
        **(usual | look),
    )


def percentiles(days: pd.DataFrame, counted: str, *, unit_s: float = 1.0) -> go.Figure:
    """Draw `p50` and `p95`, seconds by day, in units of `unit_s`, as two lines.

    `counted` is the column of how many each rests on, and what these are called.
    """
    figure = go.Figure()
    for column, name, colour, dash in (
        ("p95", "95% within", ACCENT_LIGHT, "dot"),
        ("p50", "half within", ACCENT, "solid"),
    ):
        line(
            figure,
            days["day"],
            days[column] / unit_s,
            f"%{{text}} (%{{customdata:,}} {counted})",
            name=name,
            colour=colour,
            line_dash=dash,
            text=days[column].map(duration),
            customdata=days[counted],
        )
    return figure


def bars(
    figure: go.Figure,
    days: Sequence[object],
    values: Sequence[float],
    hover: str,
    *,
    name: str = "",
    colour: str = ACCENT,
    row: int | None = None,
) -> None:
    """Add bars to a figure, or to the panel `row` of it; `hover` is plotly's template."""
    figure.add_bar(
        x=days,
        y=values,
        hovertemplate=hover,
        marker_color=colour,
        name=name,
        showlegend=bool(name),
        row=row,
        col=row and 1,
    )
