"""Blocks as HTML, the same in the report and in Jupyter; only charts are drawn by plotly.js."""

from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from typing import TYPE_CHECKING

import pandas as pd
from pandas.api.types import is_numeric_dtype

from kseflow.pages.blocks import Answer, Bar, Bars, Block, Cards, Chart, Table, Text
from kseflow.pages.look import FAULT

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

FEW = 6  # rows


def heading(text: str, level: int, anchor: str = "") -> str:
    """Render a heading of Markdown words."""
    name = f' id="{anchor}"' if anchor else ""
    return f"<h{level}{name}>{inline(text)}</h{level}>" if text else ""


def paragraph(text: str) -> str:
    """Render a paragraph of Markdown words; nothing for none."""
    return f"<p>{inline(text)}</p>" if text else ""


def inline(text: str) -> str:
    """Render Markdown words without a paragraph around them; HTML in them is text."""
    return str(_markdown().renderInline(text))


@cache
def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False})


def markup(block: Block, level: int) -> str:
    """Render a block, its claim as a heading of that level; of a chart what stands above it."""
    match block:
        case Text():
            return _sentences(block.sentences)
        case Answer():
            return _answer(block)
        case Cards():
            return _cards(block)
        case Table():
            return _above(block, level) + _table(block)
        case Bars():
            return _above(block, level) + _bars(block.bars)
        case Chart():
            return _above(block, level)


def _above(block: Table | Bars | Chart, level: int) -> str:
    return heading(block.claim, level) + paragraph(block.note)


def _sentences(sentences: Iterable[str]) -> str:
    first, *others = sentences
    if not others:
        return paragraph(first)
    return "<ul>" + "".join(f"<li>{inline(text)}</li>" for text in (first, *others)) + "</ul>"


def _answer(answer: Answer) -> str:
    details = "".join(f"<li>{inline(text)}</li>" for text in answer.details)
    return (
        f'<div class="answer {answer.state}"><p class="headline">{inline(answer.headline)}</p>'
        + (f"<ul>{details}</ul>" if details else "")
        + "</div>"
    )


def _cards(cards: Cards) -> str:
    made = (
        f'<div class="card"><div>{escape(name)}</div><strong>{escape(number)}</strong>'
        f"<div>{escape(rest)}</div></div>"
        for name, (number, rest) in cards.numbers.items()
    )
    return f'<div class="cards">{"".join(made)}</div>'


def _bars(bars: Iterable[Bar]) -> str:
    longest = max((bar.value for bar in bars), default=0) or 1
    return f'<ul class="bars">{"".join(_bar(bar, longest) for bar in bars)}</ul>'


def _bar(bar: Bar, longest: float) -> str:
    """Render a bar; 78% of the width is the longest, so that its number has room beside it."""
    words = f" {escape(bar.words)}" if bar.words else ""
    length = f"width: {78 * bar.value / longest:.2f}%; background: {bar.colour or FAULT}"
    return (
        f"<li><div><b>{escape(bar.name)}</b>{words}</div>"
        f'<div class="bar"><span style="{length}"></span>{escape(bar.text)}</div></li>'
    )


def _table(table: Table) -> str:
    """Render rows; each cell carries its column's name, for phones, which show a row as a card."""
    frame = table.frame
    numeric = [name in table.numbers or is_numeric_dtype(frame[name]) for name in frame]
    head = "".join(
        f'<th scope="col"{_kind(is_number)}>{escape(name)}</th>'
        for name, is_number in zip(frame, numeric, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(_cells(frame.columns, row, numeric))}</tr>"
        for row in frame.itertuples(index=False)
    )
    few = ' class="few"' if len(frame) <= FEW else ""  # is not torn apart on paper
    return f"<table{few}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _kind(is_number: bool) -> str:
    return ' class="number"' if is_number else ""


def _cells(names: Iterable[str], row: Iterable[object], numeric: Iterable[bool]) -> Iterator[str]:
    for name, value, is_number in zip(names, row, numeric, strict=True):
        is_count = is_number and not isinstance(value, str)
        text = "–" if pd.isna(value) else f"{value:,}" if is_count else str(value)
        kind = "number" if is_number else "short" if len(text) < 22 else "long"
        yield f'<td data-label="{escape(name)}" class="{kind}">{escape(text)}</td>'
