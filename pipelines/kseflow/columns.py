"""Tables as wide as the terminal: text gives way first, numbers never."""

from collections.abc import Iterator
from textwrap import fill

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

WORD_WIDTH = 28  # characters; the longest identifier. Longer words may be broken
ANY_WIDTH = 10_000


def table(title: str, first: str, *numbers: str) -> Table:
    """Make a plain table: one column of names, the others right-aligned numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    made.add_column(first, overflow="fold")
    for name in numbers:
        made.add_column(name, justify="right", no_wrap=True)
    return made


def print_table(console: Console, made: Table) -> None:
    """Print a table that fits: with words wrapped, then with headers wrapped, else as a list."""
    if _width(console, made).maximum > console.width:
        for column in made.columns:
            if column.no_wrap:
                column.header = _wrapped_header(column)
    for column in made.columns:
        column.min_width = _least_width(column)
    if _width(console, made).minimum <= console.width:
        console.print(made)
        return
    for line in _as_list(made):
        console.print(line, soft_wrap=True)


def _width(console: Console, made: Table) -> Measurement:
    return Measurement.get(console, console.options.update(width=ANY_WIDTH), made)


def _texts(column: Column) -> list[str]:
    return [Text.from_markup(str(cell), emoji=False).plain for cell in column.cells]


def _least_width(column: Column) -> int:
    """Return what a column needs: numbers their lines, text its words."""
    lines = "\n".join([str(column.header), *_texts(column)])
    if column.no_wrap:
        return max(map(len, lines.splitlines()), default=1)
    return min(max(map(len, lines.split()), default=1), WORD_WIDTH)


def _wrapped_header(column: Column) -> str:
    """Break a header at its words, to be no wider than its numbers where that can be."""
    header = str(column.header)
    widest = max(map(len, [*header.split(), *_texts(column)]), default=1)
    return fill(header, widest, break_long_words=False, break_on_hyphens=False)


def _as_list(made: Table) -> Iterator[str]:
    """Write what is too wide for the terminal: a line for each number, under its row's name."""
    yield f"[bold]{made.title}[/]"
    _, *headers = (" ".join(str(column.header).split()) for column in made.columns)
    for name, *values in zip(*(column.cells for column in made.columns), strict=True):
        yield str(name)
        for header, value in zip(headers, values, strict=True):
            yield f"  {header}: {value}"
