"""Sections in Jupyter, and in what nbconvert makes of a notebook."""

import os

import plotly.io as pio
from IPython.display import HTML, display

from kseflow.pages.blocks import Chart, Section
from kseflow.pages.render import heading, html, paragraph, style

# Left to itself plotly gives a kernel its own media type alone, which nbconvert cannot draw. The
# second renderer writes HTML with plotly.js in it, so that a page needs no network either.
RENDERERS = "plotly_mimetype+notebook"
LEVEL = 2  # of a section's heading; the notebook's title is the first


def show(section: Section) -> None:
    """Display a section under the cell that made it."""
    # Each time it is set, the next chart brings plotly.js along.
    if "PLOTLY_RENDERER" not in os.environ and pio.renderers.default != RENDERERS:
        pio.renderers.default = RENDERERS
    _show(heading(section.title, LEVEL) + paragraph(section.intro))
    for block in section.blocks:
        _show(html(block, LEVEL + 1))
        if isinstance(block, Chart):
            block.figure.show(config={"displayModeBar": False, "responsive": True})


def _show(markup: str) -> None:
    display(HTML(f'<style>{style()}</style><div class="kseflow">{markup}</div>'))
