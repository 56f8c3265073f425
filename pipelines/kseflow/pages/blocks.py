"""What a section is made of: words, numbers, rows and pictures, before anything is rendered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import plotly.graph_objects as go

State = Literal["good", "bad", "unknown"]


@dataclass(frozen=True)
class Text:
    """Markdown; several sentences become a list."""

    sentences: Sequence[str]


@dataclass(frozen=True)
class Answer:
    """The answer to a question, the section's title: a line of Markdown and a few more below."""

    state: State
    headline: str
    details: Sequence[str] = ()


@dataclass(frozen=True)
class Cards:
    """The most important numbers by their names, each with what it rests on."""

    numbers: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """Rows under what they say. Names of columns are headings, `numbers` those of written ones."""

    frame: pd.DataFrame
    claim: str = ""
    note: str = ""
    numbers: Sequence[str] = ()


@dataclass(frozen=True)
class Bar:
    """A line of `Bars`: a name, words beside it that are never cut, a length and its text."""

    name: str
    value: float
    text: str
    words: str = ""
    colour: str = ""


@dataclass(frozen=True)
class Bars:
    """Bars under what they say, the first on top, the longest as wide as the page."""

    bars: Sequence[Bar]
    claim: str
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A figure under what it says, with a note that tells how to read it; `height` in pixels."""

    figure: go.Figure
    claim: str
    note: str = ""
    height: int = 360


Block = Text | Answer | Cards | Table | Bars | Chart
