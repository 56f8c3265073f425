"""The inputs as arrays: within the window, numbered alike, sliced by taxpayer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kseflow.trends.inputs import WINDOW_DAYS, Inputs
from kseflow.trends.rates import Floats
from kseflow.trends.series import Days, Reasons, Series, number_of

SEPARATOR = "\x1f"  # of texts that are numbered together; no text has it
SESSION_KEY = ("context_type", "context_id", "session_reference_number")
TAXPAYER_KEY = ("context_type", "context_id")


@dataclass(frozen=True, eq=False)
class Times:
    """Online sessions' median seconds to acceptance, by day."""

    day: Days
    seconds: Floats


@dataclass(frozen=True, eq=False)
class Share:
    """What there is of one taxpayer, or of all together; `taxpayers` are their numbers."""

    series: Series
    reasons: Reasons
    times: Times
    taxpayers: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Prepared:
    """All there is, with names by number: of taxpayers (type and id), sessions and reasons."""

    everything: Share
    taxpayer_texts: list[str]
    session_texts: list[str]
    reason_texts: list[str]
    time_taxpayer: Days

    @cached_property
    def taxpayers(self) -> list[tuple[str, ...]]:
        """Context type and id of each taxpayer."""
        return [tuple(text.split(SEPARATOR)) for text in self.taxpayer_texts]

    @cached_property
    def reasons(self) -> list[tuple[str, ...]]:
        """Category and message of each reason."""
        return [tuple(text.split(SEPARATOR)) for text in self.reason_texts]

    def session(self, number: int) -> tuple[str, ...]:
        """Return context type, context id and reference number of a session."""
        return tuple(self.session_texts[number].split(SEPARATOR))

    @cached_property
    def unread(self) -> int:
        """The number of failures that are not read yet; -1 when there are none."""
        names = [name[0] for name in self.reasons]
        return names.index("not_read_yet") if "not_read_yet" in names else -1

    def shares(self) -> list[Share]:
        """Return what there is of each taxpayer, in order of their numbers."""
        count, whole = len(self.taxpayers), self.everything
        of_series = _grouped(whole.series.taxpayer, count)
        of_reasons = _grouped(whole.reasons.taxpayer, count)
        of_times = _grouped(self.time_taxpayer, count)
        return [
            Share(
                whole.series.where(series),
                whole.reasons.where(reasons),
                Times(whole.times.day[times], whole.times.seconds[times]),
                (number,),
            )
            for number, (series, reasons, times) in enumerate(
                zip(of_series, of_reasons, of_times, strict=True)
            )
        ]


def prepared(inputs: Inputs) -> Prepared:
    """Number and sort what is within the window; one reason for all that is not read yet."""
    last = number_of(inputs.as_of_day)
    first = last - WINDOW_DAYS + 1
    days, reasons, times = (
        _within(table, first, last)
        for table in (inputs.session_days, inputs.session_reasons, inputs.acceptance)
    )
    of_taxpayer, taxpayers = _coded([days, reasons, times, inputs.taxpayers], TAXPAYER_KEY)
    of_session, sessions = _coded([days, reasons], SESSION_KEY)
    (reason,), names = _coded([reasons], ("category", "normalised_message"))
    series = _series(days, first, last, of_session[0], of_taxpayer[0])
    found = _reasons(reasons, of_session[1], of_taxpayer[1], reason)
    seconds = _numbers_in(times, "median_seconds")
    order = np.lexsort((seconds, _days_in(times), of_taxpayer[2]))
    share = Share(
        series,
        found,
        Times(_days_in(times)[order], seconds[order]),
        tuple(range(len(taxpayers))),
    )
    return _with_one_unread(Prepared(share, taxpayers, sessions, names, of_taxpayer[2][order]))


def _series(table: pa.Table, first: int, last: int, session: Days, taxpayer: Days) -> Series:
    """Return the sessions in an order of their own, whatever that of the rows."""
    day, failed = _days_in(table), _numbers_in(table, "failed_count")
    decided = _numbers_in(table, "accepted_count") + failed
    counters = _numbers_in(table, "from_counters_count")
    order = np.lexsort((day, session))
    made = Series(first, last, day, failed, decided, counters, session, taxpayer)
    return made.where(order[decided[order] > 0])


def _reasons(table: pa.Table, session: Days, taxpayer: Days, reason: Days) -> Reasons:
    day, failed = _days_in(table), _numbers_in(table, "failed_count")
    made = Reasons(day, failed, session, taxpayer, reason)
    return made.where(np.lexsort((reason, day, session)))


def _within(table: pa.Table, first: int, last: int) -> pa.Table:
    day = _days_in(table)
    return table.filter(pa.array((day >= first) & (day <= last)))


def _with_one_unread(made: Prepared) -> Prepared:
    """Give all that is not read yet one number, whatever its message."""
    unread = [n for n, name in enumerate(made.reasons) if name[0] == "not_read_yet"]
    if len(unread) < 2:
        return made
    found = made.everything.reasons
    one = replace(found, reason=np.where(np.isin(found.reason, unread), unread[0], found.reason))
    return replace(made, everything=replace(made.everything, reasons=one))


def _days_in(table: pa.Table) -> Days:
    """Return the column `day` as days since 1970-01-01."""
    return np.asarray(table["day"].cast(pa.date32()).cast(pa.int32()), dtype=np.int64)


def _numbers_in(table: pa.Table, name: str) -> Floats:
    """Return a column of numbers; null counts as 0."""
    return np.asarray(table[name].cast(pa.float64()).fill_null(0.0))


def _coded(tables: list[pa.Table], columns: tuple[str, ...]) -> tuple[list[Days], list[str]]:
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


def _grouped(keys: Days, count: int) -> Iterator[Days]:
    """Give the rows of each number from 0 to `count`, none left out."""
    order = np.argsort(keys, kind="stable")
    edges = np.searchsorted(keys[order], np.arange(count + 1))
    for begin, end in pairwise(edges):
        yield order[begin:end]
