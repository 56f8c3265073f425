"""From a turning point to a verdict: worse, better, unchanged, or that nobody can tell."""

from dataclasses import replace
from typing import Literal

import numpy as np

from kseflow.trends.change import Change, Judgement, LeftOut, Verdict
from kseflow.trends.rates import difference
from kseflow.trends.sample import MIN_DAYS, MIN_SESSIONS, Sample
from kseflow.trends.scan import Turn, scan, statistic_of
from kseflow.trends.series import Days, Series

ALPHA = 0.05
"""How often something that did not happen may be told."""

RECENT_DAYS = 7
"""What is compared with all days before when there is no turning point: each weekday once."""

SLOW_DAYS = 14
"""How many days at the beginning and at the end tell how far a drift went."""

SMALLEST_SHARE = 0.1
"""A change of less than a tenth of the rate is none that anybody must know of."""

RELEVANT_SHARE, RELEVANT_POINTS = 0.5, 0.002
"""Unchanged is said when a change by half of the rate, or 0.2 points if more, can be excluded."""

LONE_SHARE, LONE_FAILED = 0.5, 10
"""A session or day stands alone with more than half of all variance and so many failures."""

CLEAR_Z = 1.96
PASSED_ALPHA = 0.01
"""How improbable a second turn must be, and that it undoes half of the first, to count."""

RETURN_PERMUTATIONS = 999


def standing_alone(series: Series) -> LeftOut | None:
    """Find a session, or a day, so unlike all others that it alone would decide; it may not."""
    return _lone(series, series.session, "one_session") or _lone(series, series.day, "one_day")


def _lone(series: Series, group: Days, kind: Literal["one_session", "one_day"]) -> LeftOut | None:
    """Find the sessions with more than half of all squared excess, and none half as bad."""
    if not series.failed.sum():
        return None
    names, at = np.unique(group, return_inverse=True)
    failed, decided = np.bincount(at, series.failed), np.bincount(at, series.decided)
    if len(names) < 2 * MIN_SESSIONS:
        return None
    excess = failed - failed.sum() / decided.sum() * decided
    worst = int(np.argmax(excess))
    is_alone = excess[worst] ** 2 > LONE_SHARE * float(excess @ excess)
    is_alone &= np.sort(excess)[-2] < excess[worst] / 2
    if not is_alone or failed[worst] < LONE_FAILED:
        return None
    return LeftOut(kind, series.where(at == worst))


def without(series: Series, left_out: LeftOut | None) -> Series:
    """Return the series without what stands alone."""
    if left_out is None:
        return series
    return series.where(~np.isin(series.session, left_out.sessions.session))


def turn_of(series: Series, *, seed: list[int], permutations: int) -> Turn | None:
    """Find since when a series differs; None when there is too little."""
    return scan(Sample.of(series), first=series.first, seed=seed, permutations=permutations)


def judged(
    series: Series, turn: Turn | None, p_value: float, left_out: LeftOut | None
) -> Judgement:
    """Turn a turning point, with its p-value corrected for what else was looked at, into a verdict.

    `series` is what is left without `left_out`.
    """
    if not series.decided.sum() and left_out is None:
        return Judgement("nothing_decided", recent(series), None, None)
    known = p_value if turn else None
    if turn is None or p_value > ALPHA:
        return _no_trend(series, known, left_out)
    day = worst_day(Sample.of(series), turn)
    if day is not None:
        worst = LeftOut("one_day", series.where(series.day == day))
        return _no_trend(without(series, worst), known, left_out or worst)
    if turn.is_drift:
        return _told(series, _drift(series, turn), turn.day, known, left_out)
    return _step(series, turn, p_value, left_out)


def recent(series: Series) -> Change:
    """Compare the last seven days with all before."""
    begin = max(series.first, series.last - RECENT_DAYS + 1)
    return Change.at(series.between(series.first, begin - 1), series.between(begin, series.last))


def _no_trend(
    series: Series,
    p_value: float | None,
    left_out: LeftOut | None,
    passed: Change | None = None,
) -> Judgement:
    """Say unchanged if a relevant change can be excluded, else that nobody can tell."""
    quiet = series if passed is None else _outside(series, passed)
    change = recent(quiet)
    if not _is_excluded(change):
        return Judgement("cannot_tell", change, None, p_value, left_out, passed)
    is_fresh = left_out is not None and _is_fresh(left_out, series)
    verdict: Verdict = "cannot_tell" if is_fresh else "unchanged"
    return Judgement(verdict, change, None, p_value, left_out, passed, is_fresh)


def _is_fresh(left_out: LeftOut, rest: Series) -> bool:
    """Whether too few days have followed a bad one to say that it was one day alone."""
    later = rest.day[rest.day > left_out.sessions.day.max()]
    return left_out.kind == "one_day" and len(np.unique(later)) < MIN_DAYS


def _outside(series: Series, passed: Change) -> Series:
    return series.where((series.day < passed.since) | (series.day > passed.until))


def _is_excluded(change: Change) -> bool:
    """Whether the interval of the difference leaves no room for a relevant change."""
    for side in (change.before, change.after):
        if len(side.day) < MIN_SESSIONS or len(np.unique(side.day)) < MIN_DAYS:
            return False
    if change.before.last - change.before.first + 1 < RECENT_DAYS:
        return False
    low, high = difference(change.old, change.new)
    room = max(RELEVANT_SHARE * change.old.value, RELEVANT_POINTS)
    return -room <= low and high <= room


def worst_day(sample: Sample, turn: Turn) -> int | None:
    """Return the day without which the change is not clear any more; None if it stays clear."""
    is_later = sample.days >= turn.day
    suspects = np.where(is_later == (turn.z > 0), sample.by_day(sample.excess), -np.inf)
    worst = int(sample.days[np.argmax(suspects)])
    rest = sample.without(sample.day == worst)
    return worst if statistic_of(rest, turn) * np.sign(turn.z) < CLEAR_Z else None


def stretches(first: int, last: int, turn: Turn) -> tuple[int, int]:
    """Return the last day before a change and the first after it; between them a drift goes on."""
    if not turn.is_drift:
        return turn.day - 1, turn.day
    calm = max(turn.day - 1, first + SLOW_DAYS - 1)
    return calm, max(calm + 1, last - SLOW_DAYS + 1)


def _drift(series: Series, turn: Turn) -> Change:
    calm, end = stretches(series.first, series.last, turn)
    before, after = series.between(series.first, calm), series.between(end, series.last)
    return Change.at(before, after, is_drift=True)


def _told(
    series: Series, change: Change, since: int, p_value: float | None, left_out: LeftOut | None
) -> Judgement:
    """Say worse or better of a change that is large enough to matter."""
    if abs(change.new.value - change.old.value) <= SMALLEST_SHARE * change.old.value:
        return _no_trend(series, p_value, left_out)
    verdict: Verdict = "worse" if change.is_rise else "better"
    return Judgement(verdict, change, since, p_value, left_out)


def _step(series: Series, turn: Turn, p_value: float, left_out: LeftOut | None) -> Judgement:
    """Judge a step: what came and has gone is no trend, and the latest of two steps counts."""
    before = series.between(series.first, turn.day - 1)
    after = series.between(turn.day, series.last)
    step = Change.at(before, after)
    if step.is_rise != (turn.z > 0):
        return _no_trend(series, p_value, left_out)
    back = gone_back(Sample.of(after), after.first, turn)
    if back is not None:
        bump = Change.at(before, after.between(turn.day, back - 1))
        if _undoes(Change.at(bump.after, after.between(back, series.last)), step):
            return _after_a_bump(series, bump, back, p_value, left_out)
    earlier = gone_back(Sample.of(before), before.first, turn)
    if earlier is not None:
        bump = Change.at(
            before.between(series.first, earlier - 1), before.between(earlier, turn.day - 1)
        )
        if _undoes(bump, step):
            return _after_a_bump(series, bump, turn.day, p_value, left_out)
    return _told(series, step, turn.day, p_value, left_out)


def _undoes(other: Change, step: Change) -> bool:
    """Whether a change the other way is at least half as large as the step."""
    size = step.new.value - step.old.value
    return abs(other.new.value - other.old.value) >= 0.5 * abs(size)


def gone_back(sample: Sample, first: int, turn: Turn) -> int | None:
    """Return the day since which part of a stretch goes the other way; None when it does not."""
    found = scan(
        sample,
        first=first,
        seed=[turn.day],
        permutations=RETURN_PERMUTATIONS,
        min_before_days=MIN_DAYS,
    )
    if found is None or found.p_value > PASSED_ALPHA or (found.z > 0) == (turn.z > 0):
        return None
    return found.day if not found.is_drift else None


def _after_a_bump(
    series: Series, bump: Change, back: int, p_value: float, left_out: LeftOut | None
) -> Judgement:
    """Compare what came after a bump with what was before it; if it differs, with the bump."""
    quiet = _outside(series, bump)
    now = replace(quiet.between(back, series.last), first=back)
    turn = Turn(back, False, 0.0, p_value)
    if abs(statistic_of(Sample.of(quiet), turn)) < CLEAR_Z:
        return _no_trend(series, p_value, left_out, passed=bump)
    return _told(series, Change.at(bump.after, now), back, p_value, left_out)
