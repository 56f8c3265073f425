"""How charts look, and when there is none."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from kseflow.pages.blocks import Block, Chart, Table
from kseflow.pages.words import duration

INK, GREY, GRID = "#1f2933", "#b6c0ca", "#e3e8ed"
ACCENT, ACCENT_LIGHT = "#1d5b8f", "#a8c5de"
FAULT, FAULT_LIGHT = "#c2410c", "#f3b797"
# Told apart by lightness, so also in print and by the colour-blind.
RANKED = ("#7c2d0a", "#c2410c", "#e57f45", "#f0ad84", "#f8d8c4")
UNREAD = "#dfe4ea"
BLUES = ((0.0, "#eef4f9"), (1.0, ACCENT))
ORANGES = ((0.0, "#fdf0e8"), (1.0, FAULT))

DAY = pd.Timedelta(days=1)

LOOK = go.layout.Template(
    layout={
        "font": {
            "family": "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
            "size": 13,
            "color": INK,
        },
        "colorway": [ACCENT, FAULT, GREY, ACCENT_LIGHT, FAULT_LIGHT],
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 8, "r": 12, "b": 8},
        "hoverlabel": {"bgcolor": "white", "bordercolor": GRID, "font": {"color": INK}},
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "hoverdistance": 100,
        "bargap": 0.25,
        "barcornerradius": 2,
        "dragmode": False,
        "legend": {
            "orientation": "h",
            "x": 0,
            "yref": "container",
            "y": 1,
            "yanchor": "top",
            "traceorder": "normal",
        },
        "xaxis": {
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
            "linecolor": GRID,
            "ticks": "outside",
            "tickcolor": GRID,
            "hoverformat": "%a %-d %b %Y",
        },
        "yaxis": {
            "automargin": True,
            "gridcolor": GRID,
            "zeroline": False,
            "rangemode": "tozero",
            "nticks": 6,
        },
    }
)


def chart(figure: go.Figure, claim: str, note: str = "", *, height: int = 360) -> Chart:
    """Give a figure our look and room for its titles and legend."""
    figure.update_annotations(x=0, xanchor="left", font_size=13)  # titles of panels
    legends = [trace for trace in figure.data if trace.name and trace.showlegend is not False]
    room = 8 + 24 * (len(legends) > 1) + 24 * bool(figure.layout.annotations)
    figure.update_layout(template=LOOK, height=height, margin_t=room, showlegend=len(legends) > 1)
    return Chart(figure, claim, note, height)


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
    name: str = "",
    colour: str = ACCENT,
    dash: str = "solid",
    mode: str = "lines+markers",
    legend: bool = True,
    row: int | None = None,
    **more: object,
) -> None:
    """Add a line to a figure, or to the panel `row` of it; `hover` is plotly's template."""
    figure.add_scatter(
        x=days,
        y=values,
        hovertemplate=hover,
        mode=mode,
        line={"color": colour, "width": 2.5, "dash": dash},
        marker={"color": colour},
        name=name,
        showlegend=legend and bool(name),
        row=row,
        col=row and 1,
        **more,
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
            dash=dash,
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
