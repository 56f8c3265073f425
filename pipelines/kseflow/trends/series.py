"""Sessions as arrays: of all taxpayers or one, of some days, with or without one of them."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Days: TypeAlias = NDArray[np.int64]
"""Days since 1970-01-01, and other whole numbers."""

Chosen: TypeAlias = NDArray[np.bool_] | Days
"""Which rows: true or false for each, or their positions."""

EPOCH = date(1970, 1, 1)


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
    failed: NDArray[np.float64]
    decided: NDArray[np.float64]
    from_counters: NDArray[np.float64]
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


@dataclass(frozen=True, eq=False)
class Reasons:
    """Failed invoices by session and reason, beside a `Series` with the same numbers."""

    day: Days
    failed: NDArray[np.float64]
    session: Days
    taxpayer: Days
    reason: Days

    def where(self, chosen: Chosen) -> "Reasons":
        """Return some rows."""
        arrays = ("day", "failed", "session", "taxpayer", "reason")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})
