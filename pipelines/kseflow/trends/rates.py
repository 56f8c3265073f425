"""A share of invoices with an honest interval: invoices fail by the session, not one by one."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measure:
    """A failure rate (0 to 1), or a typical time (seconds), with its 95 % interval.

    `part_count` of `whole_count` invoices in `session_count` sessions; a time has no part.
    """

    part_count: int
    whole_count: int
    session_count: int
    value: float
    low: float
    high: float


def clustered_rate(failed: Floats, decided: Floats, *, usual_effect: float = 1.0) -> Measure:
    """Return the rate of sessions' invoices with the interval of Korn and Graubard.

    Clopper and Pearson's interval of as many independent invoices as the sessions are worth: the
    design effect is the variance between sessions over the binomial one, Student's t allows for
    few sessions. Where none or all failed, the sessions tell no variance and `usual_effect` counts.
    An interval without invoices is 0 to 1. Source: Korn and Graubard, Survey Methodology 24 (1998).
    """
    from scipy.special import betaincinv

    part, whole = float(failed.sum()), float(decided.sum())
    if not whole:
        return Measure(0, 0, 0, float("nan"), 0.0, 1.0)
    share = part / whole
    worth = _worth(failed, decided, usual_effect)
    tail = (1 - CONFIDENCE) / 2
    hits, misses = share * worth, (1 - share) * worth
    low = float(betaincinv(hits, misses + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, misses, 1 - tail)) if misses > 0 else 1.0
    return Measure(round(part), round(whole), len(decided), share, low, high)


def _worth(failed: Floats, decided: Floats, usual_effect: float) -> float:
    """Return how many independent invoices the sessions are worth."""
    from scipy.special import ndtri, stdtrit

    whole = float(decided.sum())
    if not 0 < failed.sum() < whole or len(decided) < 2:
        effect = max(1.0, usual_effect)
    else:
        effect = max(1.0, design_effect(failed, decided))
    freedom = max(1.0, effective_count(decided) - 1)
    normal = float(ndtri(0.5 + CONFIDENCE / 2))
    student = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))
    return min(whole, whole / effect * (normal / student) ** 2)


def design_effect(failed: Floats, decided: Floats) -> float:
    """Return the variance of the rate between sessions over that of independent invoices."""
    count, whole = len(decided), float(decided.sum())
    share = float(failed.sum()) / whole if whole else 0.0
    if count < 2 or not 0 < share < 1:
        return 1.0
    residuals = failed - share * decided
    variance = count / (count - 1) * float(residuals @ residuals) / whole**2
    return variance / (share * (1 - share) / whole)


def effective_count(sizes: Floats) -> float:
    """Return how many equal sessions these are worth: one large beside many small is about one."""
    squares = float(sizes @ sizes)
    return float(sizes.sum()) ** 2 / squares if squares else 0.0


def difference(before: Measure, after: Measure) -> tuple[float, float]:
    """Return the interval of `after` less `before`, of their own intervals.

    Source: Zou and Donner, Statistics in Medicine 27 (2008), square and add.
    """
    change = after.value - before.value
    down = np.hypot(after.value - after.low, before.high - before.value)
    up = np.hypot(after.high - after.value, before.value - before.low)
    return change - float(down), change + float(up)


def typical_time(seconds: Floats) -> Measure:
    """Return the median of sessions' times, its interval from the order of them.

    Source: Conover, Practical Nonparametric Statistics, the sign test inverted.
    """
    from scipy.special import bdtr

    ordered = np.sort(seconds)
    count = len(ordered)
    if not count:
        return Measure(0, 0, 0, float("nan"), 0.0, float("inf"))
    below = bdtr(np.arange(count), count, 0.5)
    rank = int(np.searchsorted(below, (1 - CONFIDENCE) / 2, side="right"))
    low, high = (ordered[rank - 1], ordered[count - rank]) if rank else (0.0, np.inf)
    return Measure(0, 0, count, float(np.median(ordered)), float(low), float(high))


def adjusted(p_values: Floats) -> Floats:
    """Return p-values corrected for being many, so that few of those called are false alarms.

    Source: Benjamini and Hochberg, J. R. Stat. Soc. B 57 (1995).
    """
    count = len(p_values)
    order = np.argsort(p_values)[::-1]
    factors = count / np.arange(count, 0, -1)
    found = np.empty(count)
    found[order] = np.minimum(1, np.minimum.accumulate(p_values[order] * factors))
    return found
