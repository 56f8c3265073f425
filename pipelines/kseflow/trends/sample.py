"""What is exchanged, and which changes are tried: sessions by day, steps and drifts."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kseflow.trends.rates import Floats
from kseflow.trends.series import Days, Series

MIN_SESSIONS = 6
"""Sessions needed on either side of a change; the interval of a median needs as many."""

MIN_DAYS = 2
"""Days with sessions needed on either side: one day alone is none."""

DRIFT_DAYS = 28
"""Days needed to tell a drift from a step; it must have lasted half of them."""

MAX_CLUSTERS = 20_000
"""With more sessions, those of a taxpayer and day count as one: coarser, never too bold."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One value for each session: failed of decided invoices, or a rank of decided 1."""

    day: Days
    part: Floats
    whole: Floats

    @classmethod
    def of(cls, series: Series) -> "Sample":
        """Take sessions, or with very many, a taxpayer's sessions of a day as one."""
        if len(series.day) <= MAX_CLUSTERS:
            return cls(series.day, series.failed, series.decided)
        keys = series.taxpayer * 1_000_000 + series.day
        _, rows, groups = np.unique(keys, return_index=True, return_inverse=True)
        part, whole = (
            np.bincount(groups, n).astype(np.float64) for n in (series.failed, series.decided)
        )
        return cls(series.day[rows], part, whole)

    @cached_property
    def order(self) -> Days:
        """By weekday, day and value, so that the order of rows changes nothing."""
        return np.lexsort((self.part, self.whole, self.day, _weekday(self.day)))

    @cached_property
    def sorted_day(self) -> Days:
        return self.day[self.order]

    @cached_property
    def size(self) -> Floats:
        return self.whole[self.order]

    @cached_property
    def strata(self) -> list[slice]:
        """Sessions of one weekday each."""
        weekdays = _weekday(self.sorted_day)
        edges = [0, *(np.flatnonzero(np.diff(weekdays)) + 1), len(weekdays)]
        return [slice(a, b) for a, b in pairwise(edges) if b > a]

    @cached_property
    def excess(self) -> Floats:
        """Failed invoices less those expected at the weekday's rate; sums to 0 by weekday."""
        found, size = self.part[self.order], self.size
        for stratum in self.strata:
            share = found[stratum].sum() / size[stratum].sum()
            found[stratum] = found[stratum] - share * size[stratum]
        return found

    @cached_property
    def starts(self) -> Days:
        """Where each day begins in the sorted sessions."""
        return np.flatnonzero(np.diff(self.sorted_day, prepend=-1)).astype(np.int64)

    @cached_property
    def days(self) -> Days:
        """The days with sessions, sorted by weekday and day."""
        return self.sorted_day[self.starts]

    @cached_property
    def counts(self) -> Floats:
        """Sessions of each of `days`."""
        edges = np.append(self.starts, len(self.sorted_day))
        return np.asarray(np.diff(edges), dtype=np.float64)

    @cached_property
    def is_weekday(self) -> Floats:
        """1 where a day (row) is of a weekday (column)."""
        found = _weekday(self.days)[:, None] == np.arange(7)
        return np.asarray(found, dtype=np.float64)

    def by_day(self, values: Floats) -> Floats:
        """Return the sums of sorted sessions' values for each of `days`."""
        return np.asarray(np.add.reduceat(values, self.starts, axis=-1))

    def without(self, left_out: NDArray[np.bool_]) -> "Sample":
        """Return the sample without some sessions."""
        return Sample(self.day[~left_out], self.part[~left_out], self.whole[~left_out])


def _weekday(day: Days) -> Days:
    return (day + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0


@dataclass(frozen=True, eq=False)
class Candidates:
    """The changes that are tried: a weight for each of the sample's days, one row a change."""

    day: Days
    is_drift: NDArray[np.bool_]
    weights: Floats
    spread: Floats  # of the weighted excess, if sessions are exchanged

    @classmethod
    def of(cls, sample: Sample, *, first: int, min_before_days: int) -> "Candidates":
        """List the days on which there is enough before and after, and where drifts may begin."""
        steps = np.unique(sample.days)
        steps = steps[steps >= first + min_before_days]
        weights = (sample.days >= steps[:, None]).astype(np.float64)
        is_enough = (_least(weights) >= MIN_DAYS) & (_least(weights, sample.counts) >= MIN_SESSIONS)
        steps, weights = steps[is_enough], weights[is_enough]
        bends = _bends(sample, first)
        drifts = np.maximum(0.0, sample.days - bends[:, None])
        weights = np.concatenate([weights, drifts])
        spread = spread_of(sample, weights)
        is_drift = np.arange(len(weights)) >= len(steps)
        usable = spread > 1e-9
        day = np.concatenate([steps, bends])
        return cls(day[usable], is_drift[usable], weights[usable], spread[usable])


def _least(weights: Floats, counts: Floats | None = None) -> Floats:
    """Return the days or sessions of that side which has fewer."""
    sizes = np.ones(weights.shape[1]) if counts is None else counts
    after = weights @ sizes
    return np.asarray(np.minimum(after, sizes.sum() - after))


def _bends(sample: Sample, first: int) -> Days:
    last = int(sample.days.max(initial=first))
    if last - first + 1 < DRIFT_DAYS or len(sample.day) < 2 * MIN_SESSIONS:
        return np.empty(0, dtype=np.int64)
    # One a week: a slow change has no exact day.
    return np.arange(first, last - DRIFT_DAYS // 2 + 1, 7, dtype=np.int64)


def spread_of(sample: Sample, weights: Floats) -> Floats:
    """Return the standard deviation of the weighted excess over all exchanges, by change."""
    squares = sample.by_day(sample.excess**2) @ sample.is_weekday
    counts = sample.counts @ sample.is_weekday
    means = (weights * sample.counts) @ sample.is_weekday / np.maximum(counts, 1)
    around = (weights**2 * sample.counts) @ sample.is_weekday - counts * means**2
    return np.sqrt(np.maximum(0, around) @ (squares / np.maximum(counts - 1, 1)))
