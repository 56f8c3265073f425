"""Since when is it otherwise: every day is tried, and chance is asked what it would have found.

Sessions are exchanged among the days of their own weekday, which is what they could be if nothing
had changed, whatever their sizes and however a weekday differs from others. The largest statistic
over all days tried is compared with the largest of each exchange, so that looking at many days is
paid for. A statistic counts for no more than what the variance between sessions on either side
allows, because exchanged sessions know nothing of sizes that changed.
Sources: Good, Permutation, Parametric and Bootstrap Tests (2005), 3.7 and 6; Besag and Clifford,
Biometrika 78 (1991), for when to stop; Cochran, Biometrics 10 (1954), for the strata.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kseflow.trends.rates import Floats
from kseflow.trends.sample import MIN_SESSIONS, Candidates, Sample, spread_of

DRIFT_LEAD = 6.0
"""How much better, in z squared, a drift must fit than a step: twenty times as likely."""

ENOUGH_EXCEEDED = 20
"""Exchanges beyond the statistic after which its p-value is known well enough."""

FIRST_PERMUTATIONS = 99
CHUNK = 2_000_000  # numbers exchanged at once: 16 MB


@dataclass(frozen=True)
class Turn:
    """Where sessions before and after differ most, and how probable that is by chance alone.

    `day` (days since 1970-01-01) is the first of the new level, or where a drift began;
    `z` is positive for a rise.
    """

    day: int
    is_drift: bool
    z: float
    p_value: float


def scan(
    sample: Sample,
    *,
    first: int,
    seed: list[int],
    permutations: int,
    min_before_days: int = 7,
) -> Turn | None:
    """Find the day since which sessions differ most; None when there is too little to compare.

    `first` is the first day looked at. The same sessions and seed give the same answer.
    """
    if len(sample.day) < 2 * MIN_SESSIONS:
        return None
    tried = Candidates.of(sample, first=first, min_before_days=min_before_days)
    if not len(tried.day):
        return None
    z = statistics(sample, tried)
    clearest = float(np.abs(z).max())
    p_value = _p_value(sample, tried, clearest, np.random.default_rng(seed), permutations)
    best = _best(z, exchanged(sample, tried), tried.is_drift)
    return Turn(int(tried.day[best]), bool(tried.is_drift[best]), float(z[best]), p_value)


def _best(z: Floats, fit: Floats, is_drift: NDArray[np.bool_]) -> int:
    """Return the clearest step, or the clearest drift if that fits better."""
    step, drift = (int(np.argmax(np.where(kind, np.abs(z), -1))) for kind in (~is_drift, is_drift))
    if is_drift.all() or not is_drift.any():
        return int(np.argmax(np.abs(z)))
    is_better = fit[drift] ** 2 > fit[step] ** 2 + DRIFT_LEAD and z[step] * z[drift] > 0
    return drift if is_better else step


def exchanged(sample: Sample, tried: Candidates) -> Floats:
    """Return each change over its spread among exchanged sessions."""
    return np.asarray(tried.weights @ sample.by_day(sample.excess) / tried.spread)


def statistics(sample: Sample, tried: Candidates) -> Floats:
    """Return for each change how many standard errors it is: the fewer of two ways to count."""
    by_exchange = exchanged(sample, tried)
    clustered = np.where(tried.is_drift, _of_drifts(sample, tried), _of_steps(sample, tried))
    size: Floats = np.minimum(np.abs(by_exchange), np.abs(clustered))
    return np.sign(by_exchange) * size


def _of_drifts(sample: Sample, tried: Candidates) -> Floats:
    """Return drifts over their cluster-robust standard errors."""
    counts = np.maximum(sample.counts @ sample.is_weekday, 1)
    means = (tried.weights * sample.counts) @ sample.is_weekday / counts
    centred = tried.weights - means @ sample.is_weekday.T
    own = centred**2 @ sample.by_day(sample.excess**2)
    variance = np.maximum(own, centred**2 @ _expected(sample))
    unrest = _unrest(sample, tried).min(initial=np.inf, where=~tried.is_drift)
    factor = unrest if np.isfinite(unrest) else 1.0
    errors = np.sqrt(factor * variance + 1e-12)
    return np.asarray(tried.weights @ sample.by_day(sample.excess) / errors)


def _of_steps(sample: Sample, tried: Candidates) -> Floats:
    """Return steps over their standard errors, each side with its own variance and few sessions.

    As normal deviates of the same probability as Student's t.
    """
    from scipy.special import ndtri, stdtr

    after = (tried.weights > 0).astype(np.float64)
    sides = (after, 1 - after)
    sizes = [side * sample.by_day(sample.size) @ sample.is_weekday for side in sides]
    whole = np.maximum(sizes[0] + sizes[1], 1e-12)
    variances, freedoms = [], []
    for side, others in zip(sides, (sizes[1], sizes[0]), strict=True):
        variance, effective = _side(sample, side, others / whole)
        variances.append(variance)
        freedoms.append(np.maximum(effective - 1, 1e-3))
    variance = variances[0] + variances[1] + 1e-12
    spent = sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    freedom = variance**2 / np.maximum(spent, 1e-300)
    errors = np.sqrt(variance * _unrest(sample, tried))
    t = tried.weights @ sample.by_day(sample.excess) / errors
    tail = stdtr(np.maximum(1.0, freedom), -np.abs(t))
    return np.asarray(-ndtri(np.maximum(tail, 1e-300)))


def _unrest(sample: Sample, tried: Candidates) -> Floats:
    """Return for each change how much more days vary than their sessions would make them; 1 at
    least, because a day's sessions share what went wrong that day."""
    after = (tried.weights > 0).astype(np.float64)
    excess, size = sample.by_day(sample.excess), sample.by_day(sample.size)
    squares = [sample.by_day(v) for v in (sample.excess**2, sample.excess * sample.size)]
    of_size = sample.by_day(sample.size**2)
    of_days, of_sessions = np.zeros(len(after)), np.zeros(len(after))
    for side in (after, 1 - after):
        level = ((side @ excess) / np.maximum(side @ size, 1e-12))[:, None]
        of_days += (side * (excess - level * size) ** 2).sum(axis=1)
        around = squares[0] - 2 * level * squares[1] + level**2 * of_size
        of_sessions += (side * around).sum(axis=1)
    return np.asarray(np.maximum(1.0, of_days / np.maximum(of_sessions, 1e-12)))


def _expected(sample: Sample) -> Floats:
    """Return the variance of each day's excess if large sessions are clustered as small ones are.

    A few large sessions that happen to be alike tell too little about how much they vary.
    """
    part, size = sample.part[sample.order], sample.size
    share = part.sum() / size.sum()
    binomial = share * (1 - share)
    if binomial <= 0 or size.max() <= 1:
        return np.zeros(len(sample.days))
    clustering = (sample.excess**2 / (binomial * size) - 1).sum() / (size - 1).sum()
    variance = binomial * size * (1 + max(0.0, float(clustering)) * (size - 1))
    return sample.by_day(variance)


def _side(sample: Sample, side: Floats, factor: Floats) -> tuple[Floats, Floats]:
    """Return the variance that one side of each change adds, and its effective sessions."""

    def sums(values: Floats) -> Floats:
        return np.asarray((side * sample.by_day(values)) @ sample.is_weekday)

    excess, size = sample.excess, sample.size
    squares = sums(size**2)
    whole = np.maximum(sums(size).sum(axis=1), 1e-12)
    level = (sums(excess).sum(axis=1) / whole)[:, None]
    around = sums(excess**2) - 2 * level * sums(excess * size) + level**2 * squares
    counts = side @ sample.counts
    own = (factor**2 * np.maximum(0, around)).sum(axis=1) * counts / np.maximum(counts - 1, 1)
    expected = (factor**2 * ((side * _expected(sample)) @ sample.is_weekday)).sum(axis=1)
    variance = np.maximum(own, expected)
    return variance, whole**2 / np.maximum(squares.sum(axis=1), 1e-12)


def _p_value(
    sample: Sample, tried: Candidates, found: float, rng: np.random.Generator, permutations: int
) -> float:
    """Return how often exchanged sessions look at least as clear; stop when that is plain."""
    exceeded, done = 0, 0
    draw = _drawing(sample, tried, rng)
    while done < permutations and exceeded < ENOUGH_EXCEEDED:
        count = min(FIRST_PERMUTATIONS if not done else 4 * done, permutations - done)
        exceeded += int((draw(count) >= found - 1e-9).sum())
        done += count
    return (1 + exceeded) / (1 + done)


def _drawing(
    sample: Sample, tried: Candidates, rng: np.random.Generator
) -> Callable[[int], Floats]:
    """Give a function that exchanges sessions so many times: the clearest change of each time."""
    calendar = np.argsort(sample.days)
    steps = np.searchsorted(sample.days[calendar], tried.day[~tried.is_drift])
    spread = tried.spread[~tried.is_drift]
    drifts = (tried.weights[tried.is_drift] / tried.spread[tried.is_drift, None]).T
    rows = max(1, CHUNK // len(sample.day))

    def draw(count: int) -> Floats:
        found = [draw_once(min(rows, count - done)) for done in range(0, count, rows)]
        return np.concatenate(found)

    def draw_once(count: int) -> Floats:
        exchanged = np.empty((count, len(sample.day)))
        for stratum in sample.strata:
            values = np.broadcast_to(sample.excess[stratum], (count, stratum.stop - stratum.start))
            exchanged[:, stratum] = rng.permuted(values, axis=1)
        sums = sample.by_day(exchanged)
        before = np.cumsum(sums[:, calendar], axis=1)[:, steps - 1]  # all sum to 0
        of_steps = np.abs(before / spread).max(axis=1, initial=0)
        of_drifts = np.abs(sums @ drifts).max(axis=1, initial=0)
        return np.asarray(np.maximum(of_steps, of_drifts))

    return draw


def statistic_of(sample: Sample, turn: Turn) -> float:
    """Return how clear a change at a known place is in these sessions, in standard errors."""
    if len(sample.day) < 2:
        return 0.0
    ramp = np.maximum(0.0, sample.days - turn.day)
    weights = (ramp if turn.is_drift else (sample.days >= turn.day).astype(np.float64))[None, :]
    spread = spread_of(sample, weights)
    if spread[0] < 1e-9:
        return 0.0
    return float(
        statistics(
            sample, Candidates(np.array([turn.day]), np.array([turn.is_drift]), weights, spread)
        )[0]
    )
