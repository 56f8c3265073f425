"""HTML and charts in Jupyter, and in what nbconvert makes of a notebook."""

import os

import plotly.graph_objects as go
import plotly.io as pio
from IPython.display import HTML, display

from kseflow.pages.look import style

# Left to itself plotly gives a kernel its own media type alone, which nbconvert cannot draw. The
# second renderer writes HTML with plotly.js in it, so that a page needs no network either.
RENDERERS = "plotly_mimetype+notebook"


def show(above: str, figure: go.Figure | None) -> None:
    """Display HTML under the cell that made it, and a chart below that."""
    # Each time it is set, the next chart brings plotly.js along.
    if "PLOTLY_RENDERER" not in os.environ and pio.renderers.default != RENDERERS:
        pio.renderers.default = RENDERERS
    display(HTML(f'<style>{style()}</style><div class="kseflow">{above}</div>'))
    if figure is not None:
        figure.show(config={"displayModeBar": False, "responsive": True})
