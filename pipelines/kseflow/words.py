"""How counts, shares, times and days are written, wherever a person reads them."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple


class Rate(NamedTuple):
    """A share with what it rests on; never averaged, only made anew of summed counts."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        """0 to 1; not a number when there is nothing to divide by."""
        return self.part / self.whole if self.whole else float("nan")

    def __str__(self) -> str:
        return percent(self.value)

    @property
    def counts(self) -> str:
        """What it rests on: 4 of 1,204."""
        return f"{self.part:,} of {self.whole:,}"

    @property
    def counted(self) -> str:
        """The share and its counts: 0.3% (4 of 1,204)."""
        return f"{self} ({self.counts})"


def percent(share: float) -> str:
    """Write a share of 0 to 1; a dash for none. What is not all is never written as 100%."""
    if _is_missing(share):
        return "–"
    if 0 < share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{share:.1%}"


def _is_missing(value: object) -> bool:
    """Whether it is none, no number or no time; the latter alone differ from themselves."""
    return value is None or value != value


def counted(count: int, noun: str, many: str = "") -> str:
    """Write a count with its noun: 1 invoice, 1,204 invoices; `many` for nouns without -s."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def duration(seconds: float, *, space: str = "\N{NO-BREAK SPACE}") -> str:
    """Write seconds in the unit a person would use, `space` before it; a dash for none."""
    if _is_missing(seconds):
        return "–"
    for unit, length in {"days": 86400, "h": 3600, "min": 60}.items():
        if seconds >= 2 * length:
            return f"{seconds / length:.1f}{space}{unit}"
    return f"{seconds:.0f}{space}s"


def size_text(size_bytes: float) -> str:
    """Write bytes in the unit a person would use, of thousands; a dash for none."""
    if _is_missing(size_bytes):
        return "–"
    for unit, length in {"MB": 1e6, "kB": 1e3}.items():
        if size_bytes >= 0.1 * length:
            return f"{size_bytes / length:,.1f}\N{NO-BREAK SPACE}{unit}"
    return f"{size_bytes:.0f}\N{NO-BREAK SPACE}bytes"


def day_text(day: date | None) -> str:
    """Write a day: 17 Nov 2026; a dash for none."""
    return "–" if day is None or _is_missing(day) else f"{day.day} {day:%b %Y}"


def days_text(days: Sequence[date]) -> str:
    """Write the days from the first to the last of `days`: 9 Nov to 17 Nov 2026."""
    first, last = day_text(days[0]), day_text(days[-1])
    same_year = first[-5:] == last[-5:]
    return last if first == last else f"{first[:-5] if same_year else first} to {last}"


def moment_text(moment: datetime) -> str:
    """Write a moment that is in Warsaw time already: 17 Nov 2026 15:03; a dash for none."""
    return "–" if _is_missing(moment) else f"{day_text(moment)} {moment:%H:%M}"


def short_moment(moment: datetime) -> str:
    """Write a moment that is in Warsaw time already without its year: 17 Nov 15:03."""
    return "–" if _is_missing(moment) else f"{moment.day} {moment:%b %H:%M}"


def literal(text: str) -> str:
    """Write the words of others in Markdown as they are: no sign of theirs is markup."""
    return re.sub(r"([\\`*_{}\[\]<>()#+\-.!|~&])", r"\\\1", text)
