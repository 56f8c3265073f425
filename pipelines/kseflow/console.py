"""Consoles that the words of others do not command: what is printed holds KSeF's and sellers'."""

from typing import Any

from rich.console import Console
from rich.text import Text

from kseflow.errors import without_controls


class PlainConsole(Console):
    """A console on which a taxpayer's `:a:` stays what it is."""

    def __init__(self, **how: Any) -> None:
        super().__init__(highlight=False, emoji=False, **how)

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(without_controls(text), **how)


def report_console() -> Console:
    """Return stdout as wide as the terminal, or wide enough for the tables in a file."""
    console = PlainConsole()
    return console if console.is_terminal else PlainConsole(width=120)
