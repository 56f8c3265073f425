"""What can be found: two stretches that differ, and what is judged of them; no judging here."""

from dataclasses import dataclass
from typing import Literal

from kseflow.trends.rates import Measure, clustered_rate, design_effect
from kseflow.trends.series import Series

Verdict = Literal["worse", "better", "unchanged", "cannot_tell", "nothing_decided"]


@dataclass(frozen=True, eq=False)
class Change:
    """Two stretches of days that differ; `since` to `until` is the later one."""

    before: Series
    after: Series
    old: Measure
    new: Measure
    is_drift: bool = False

    @classmethod
    def at(cls, before: Series, after: Series, *, is_drift: bool = False) -> "Change":
        """Measure both stretches."""
        counts = [(side.failed, side.decided) for side in (before, after)]
        usual = max(design_effect(*both) for both in counts)
        old, new = (clustered_rate(*both, usual_effect=usual) for both in counts)
        return cls(before, after, old, new, is_drift)

    @property
    def since(self) -> int:
        """The first day of the later stretch."""
        return self.after.first

    @property
    def until(self) -> int:
        """The last day of the later stretch."""
        return self.after.last

    @property
    def is_rise(self) -> bool:
        return self.new.value > self.old.value


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What stands alone and is no trend: one session, or all sessions of one day."""

    kind: Literal["one_session", "one_day"]
    sessions: Series


@dataclass(frozen=True, eq=False)
class Judgement:
    """What is said of a series: a verdict, the change it rests on, what has passed.

    `since` is where a trend began; None where there is none. `is_fresh` means that without the day
    left out it is as before, but that day is so late that nobody can tell whether it will last.
    """

    verdict: Verdict
    change: Change
    since: int | None
    p_value: float | None
    left_out: LeftOut | None = None
    passed: Change | None = None
    is_fresh: bool = False


@dataclass(frozen=True)
class Cause:
    """One part of a change, by the caller's number; `share` of it is 0 to 1 and may exceed 1.

    `points` are the percentage points that it adds to the rate.
    """

    number: int
    before_failed: int
    after_failed: int
    points: float
    share: float


@dataclass(frozen=True, eq=False)
class ReasonTurn:
    """A reason that began or ended; `day` is the first with it, or the first without it."""

    reason: int
    is_new: bool
    day: int
    p_value: float
    session_count: int


@dataclass(frozen=True, eq=False)
class WeekdayTurn:
    """The weekday (Monday is 0) that fails most, beside all others."""

    weekday: int
    change: Change
    p_value: float
