"""A section: a heading and blocks, which the report and Jupyter show in the same words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go

from kseflow.pages.blocks import Block, Chart, Text
from kseflow.pages.render import heading, markup, paragraph

IN_JUPYTER = 2  # level of a section's heading; the notebook's title is the first


@dataclass(frozen=True)
class Section:
    """A heading and what is below it."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list)
    intro: str = ""

    def rendered(self, level: int, anchor: str = "") -> Iterator[tuple[str, go.Figure | None]]:
        """Give HTML from top to bottom, with the figure that belongs below it, if any.

        `level` is that of the section's own heading, `anchor` its id on the page.
        """
        yield heading(self.title, level, anchor) + paragraph(self.intro), None
        for block in self.blocks:
            yield markup(block, level + 1), block.figure if isinstance(block, Chart) else None

    def _ipython_display_(self) -> None:
        """Show it in Jupyter; charts are drawn there and by nbconvert without a network."""
        from kseflow.pages.jupyter import show

        for above, figure in self.rendered(IN_JUPYTER):
            show(above, figure)


def say(title: str, *sentences: str, intro: str = "") -> Section:
    """Make a section of words alone."""
    return Section(title, [Text(sentences)], intro)
