"""Sessions as arrays: of all taxpayers or one, of some days, with or without one of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kseflow.trends.rates import Days, Floats, Measure, clustered_rate, design_effect
from kseflow.trends.sample import Sample

Chosen: TypeAlias = NDArray[np.bool_] | Days
"""Which rows: true or false for each, or their positions."""

EPOCH = date(1970, 1, 1)
MAX_CLUSTERS = 20_000
"""With more sessions, those of a taxpayer and day count as one: coarser, never too bold."""

SEPARATOR = "\x1f"  # of texts that are numbered together; no text has it
SESSION_KEY = ("context_type", "context_id", "session_reference_number")


def day_of(number: int) -> date:
    """Return the day that is so many days after 1970-01-01."""
    return EPOCH + timedelta(days=int(number))


def number_of(day: date) -> int:
    """Return how many days after 1970-01-01 a day is."""
    return (day - EPOCH).days


@dataclass(frozen=True, eq=False)
class Series:
    """Sessions with decided invoices, `first` to `last` being the days looked at.

    Days are counted from 1970-01-01; `session` and `taxpayer` are numbers with names elsewhere.
    """

    first: int
    last: int
    day: Days
    failed: Floats
    decided: Floats
    from_counters: Floats
    session: Days
    taxpayer: Days

    def where(self, chosen: Chosen) -> "Series":
        """Return some sessions, of the same days."""
        arrays = ("day", "failed", "decided", "from_counters", "session", "taxpayer")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})

    def between(self, first: int, last: int) -> "Series":
        """Return the sessions of some days, both included."""
        found = self.where((self.day >= first) & (self.day <= last))
        return replace(found, first=max(first, self.first), last=min(last, self.last))

    def rate(self, usual_effect: float = 1.0) -> Measure:
        """Return the failure rate with its clustered interval."""
        return clustered_rate(self.failed, self.decided, usual_effect=usual_effect)

    @property
    def usual_effect(self) -> float:
        """How much more sessions vary than independent invoices would."""
        return max(1.0, design_effect(self.failed, self.decided))

    def sample(self) -> Sample:
        """Return what is exchanged: sessions, or with very many, a taxpayer's sessions of a day."""
        if len(self.day) <= MAX_CLUSTERS:
            return Sample(self.day, self.failed, self.decided)
        keys = self.taxpayer * 1_000_000 + self.day
        _, rows, groups = np.unique(keys, return_index=True, return_inverse=True)
        part, whole = (
            np.bincount(groups, n).astype(np.float64) for n in (self.failed, self.decided)
        )
        return Sample(self.day[rows], part, whole)


@dataclass(frozen=True, eq=False)
class Reasons:
    """Failed invoices by session and reason, beside a `Series` with the same numbers."""

    day: Days
    failed: Floats
    session: Days
    taxpayer: Days
    reason: Days

    def where(self, chosen: Chosen) -> "Reasons":
        """Return some rows."""
        return Reasons(
            self.day[chosen],
            self.failed[chosen],
            self.session[chosen],
            self.taxpayer[chosen],
            self.reason[chosen],
        )


def days_in(table: pa.Table) -> Days:
    """Return the column `day` as days since 1970-01-01."""
    return np.asarray(table["day"].cast(pa.date32()).cast(pa.int32()), dtype=np.int64)


def numbers_in(table: pa.Table, name: str) -> Floats:
    """Return a column of numbers; null counts as 0."""
    return np.asarray(table[name].cast(pa.float64()).fill_null(0.0))


def coded(tables: list[pa.Table], columns: tuple[str, ...]) -> tuple[list[Days], list[str]]:
    """Number the combinations of columns over several tables alike, in order of their texts.

    Return the numbers of each table's rows, and the combinations by number, separated.
    """
    joined = [
        pc.binary_join_element_wise(
            *(t[c].cast(pa.string()) for c in columns), SEPARATOR, null_handling="replace"
        )
        for t in tables
    ]
    chunks = [chunk for column in joined for chunk in column.chunks]
    texts = pa.chunked_array(chunks, type=pa.string())
    encoded = texts.combine_chunks().dictionary_encode()
    order = np.asarray(pc.sort_indices(encoded.dictionary), dtype=np.int64)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    numbers = rank[np.asarray(encoded.indices, dtype=np.int64)] if len(order) else rank
    edges = np.cumsum([0, *(len(t) for t in tables)])
    parts = [numbers[a:b] for a, b in pairwise(edges)]
    return parts, encoded.dictionary.take(pa.array(order)).to_pylist()


def grouped(keys: Days, count: int) -> Iterator[NDArray[np.int64]]:
    """Give the rows of each number from 0 to `count`, none left out."""
    order = np.argsort(keys, kind="stable")
    edges = np.searchsorted(keys[order], np.arange(count + 1))
    for begin, end in pairwise(edges):
        yield order[begin:end]
