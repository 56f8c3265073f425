"""How it all looks: colours, the style sheet, and what charts have in common."""

from functools import cache
from pathlib import Path

import plotly.graph_objects as go

INK, GREY, GRID = "#1f2933", "#b6c0ca", "#e3e8ed"
ACCENT, ACCENT_LIGHT = "#1d5b8f", "#a8c5de"
FAULT, FAULT_LIGHT = "#c2410c", "#f3b797"
# Told apart by lightness, so also in print and by the colour-blind.
RANKED = ("#7c2d0a", "#c2410c", "#e57f45", "#f0ad84", "#f8d8c4")
UNREAD = "#dfe4ea"
BLUES = ((0.0, "#eef4f9"), (1.0, ACCENT))
ORANGES = ((0.0, "#fdf0e8"), (1.0, FAULT))

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


@cache
def style() -> str:
    """Return the CSS of rendered blocks, for elements inside one of class kseflow."""
    return Path(__file__).with_name("look.css").read_text(encoding="utf-8")
