"""Does one weekday fail more than the others? Said of four weeks or more, never of fewer."""

import numpy as np

from kseflow.trends.change import Change, WeekdayTurn
from kseflow.trends.rates import Floats, clustered_rate
from kseflow.trends.series import Days, Series

MIN_WEEKS = 4
"""Weeks in which a weekday must have had invoices, and the days looked at must span."""

WORSE_RATIO = 1.5
"""A weekday is told when its rate is half as high again as that of the others."""


def worst_weekday(series: Series) -> WeekdayTurn | None:
    """Find the weekday that fails most, with its chance, corrected for seven; None if too short.

    Days are the clusters here, because a weekday's sessions come in days.
    """
    if not len(series.day) or int(np.ptp(series.day)) < 7 * MIN_WEEKS - 1:
        return None
    days, at = np.unique(series.day, return_inverse=True)
    failed, decided = (
        np.bincount(at, n).astype(np.float64) for n in (series.failed, series.decided)
    )
    found = [
        (p_value, weekday)
        for weekday in range(7)
        if (p_value := _chance(days, failed, decided, weekday)) is not None
    ]
    if not found:
        return None
    p_value, weekday = min(found)
    return WeekdayTurn(weekday, _change(series, weekday), min(1.0, len(found) * p_value))


def _chance(days: Days, failed: Floats, decided: Floats, weekday: int) -> float | None:
    """Return how probable so high a rate of one weekday is by chance; None for too few weeks."""
    from scipy.special import stdtr

    is_of = (days + 3) % 7 == weekday
    if is_of.sum() < MIN_WEEKS or (~is_of).sum() < MIN_WEEKS:
        return None
    (own, own_variance), (rest, rest_variance) = (
        _level(failed[side], decided[side]) for side in (is_of, ~is_of)
    )
    if not own_variance + rest_variance:
        return 1.0
    t = (own - rest) / np.sqrt(own_variance + rest_variance)
    return float(stdtr(int(is_of.sum()) - 1, -t))


def _level(failed: Floats, decided: Floats) -> tuple[float, float]:
    """Return the rate of some days and its variance."""
    count, whole = len(decided), float(decided.sum())
    share = float(failed.sum()) / whole
    residuals = failed - share * decided
    return share, count / (count - 1) * float(residuals @ residuals) / whole**2


def _change(series: Series, weekday: int) -> Change:
    is_of = (series.day + 3) % 7 == weekday
    own, rest = series.where(is_of), series.where(~is_of)
    old, new = (clustered_rate(s.failed, s.decided) for s in (rest, own))
    return Change(rest, own, old, new)


def is_worth_telling(turn: WeekdayTurn) -> bool:
    """Whether the weekday fails so much more that somebody should know."""
    return turn.change.new.value >= WORSE_RATIO * turn.change.old.value
