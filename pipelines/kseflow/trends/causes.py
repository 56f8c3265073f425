"""Because of what: the reasons, taxpayers and sessions of a change; reasons new or gone."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kseflow.trends.change import Cause, Change, ReasonTurn
from kseflow.trends.rates import Floats, adjusted
from kseflow.trends.sample import MIN_SESSIONS
from kseflow.trends.series import Days, Reasons, Series

TOP = 3
"""How many reasons, taxpayers or sessions explain a change."""

SMALLEST_PART = 0.1
"""What makes less than a tenth of the change does not explain it."""

MIN_REASON_SESSIONS = 3
"""Sessions in which a reason must occur before it can be called new or gone."""

QUIET_DAYS = 7
"""Days with sessions and without a reason before it can be called new, or since it is gone."""


def parts_of(
    change: Change,
    numbers: tuple[Days, Days],
    failed: tuple[Floats, Floats],
) -> list[Cause]:
    """Return what adds most to a change, in its direction: failed per decided invoice."""
    count = int(max((int(n.max(initial=-1)) for n in numbers), default=-1)) + 1
    total = change.new.value - change.old.value
    if not count or not total or not np.isfinite(total):
        return []
    sums = [np.bincount(n, f, minlength=count) for n, f in zip(numbers, failed, strict=True)]
    rates = [s / max(1, m.whole_count) for s, m in zip(sums, (change.old, change.new), strict=True)]
    shares = (rates[1] - rates[0]) / total
    order = np.argsort(-shares, kind="stable")[:TOP]
    return [
        Cause(
            int(n), round(sums[0][n]), round(sums[1][n]), 100 * total * shares[n], float(shares[n])
        )
        for n in order
        if shares[n] >= SMALLEST_PART
    ]


def reasons_of(change: Change, reasons: Reasons, left_out: Days) -> list[Cause]:
    """Return the reasons that explain a change most."""
    kept = reasons.where(~np.isin(reasons.session, left_out))
    old, new = (
        kept.where((kept.day >= side.first) & (kept.day <= side.last))
        for side in (change.before, change.after)
    )
    return parts_of(change, (old.reason, new.reason), (old.failed, new.failed))


def taxpayers_of(change: Change) -> list[Cause]:
    """Return the taxpayers that explain a change most."""
    sides = (change.before, change.after)
    return parts_of(
        change, (sides[0].taxpayer, sides[1].taxpayer), (sides[0].failed, sides[1].failed)
    )


def sessions_of(change: Change) -> list[Cause]:
    """Return the sessions with most failures too many: of the later days, or if it got better the
    earlier ones."""
    side, usual = (
        (change.after, change.old.value) if change.is_rise else (change.before, change.new.value)
    )
    whole = float(side.decided.sum())
    total = abs(change.new.value - change.old.value)
    if not whole or not total or not np.isfinite(usual):
        return []
    excess = side.failed - usual * side.decided
    found = []
    for row in np.argsort(-excess, kind="stable")[:TOP]:
        points = excess[row] / whole
        if points >= SMALLEST_PART * total:
            counts = (0, int(side.failed[row])) if change.is_rise else (int(side.failed[row]), 0)
            sign = 1 if change.is_rise else -1
            cause = Cause(int(side.session[row]), *counts, 100 * sign * points, points / total)
            found.append(cause)
    return found


def began_or_ended(series: Series, reasons: Reasons, unread: int) -> list[ReasonTurn]:
    """Find reasons that occur only late, or only early, with how probable that is by chance.

    The chance that all sessions with a reason lie after its first is exact if sessions could have
    come in any order, so no correction for the day is needed. Sessions with failures not read yet
    (the reason numbered `unread`) may hide any reason, so they prove no absence.
    """
    is_hidden = np.isin(series.session, reasons.session[reasons.reason == unread])
    found = []
    for reason in np.unique(reasons.reason[reasons.reason != unread]):
        rows = reasons.where(reasons.reason == reason)
        found += _turns_of(int(reason), rows, series, is_hidden)
    return found


def _turns_of(
    reason: int, rows: Reasons, series: Series, is_hidden: NDArray[np.bool_]
) -> list[ReasonTurn]:
    count = len(np.unique(rows.session))
    if count < MIN_REASON_SESSIONS:
        return []
    found = []
    for is_new in (True, False):
        day = int(rows.day.min()) if is_new else int(rows.day.max()) + 1
        is_in = series.day >= day if is_new else series.day < day
        is_seen = _shows(series, is_in, is_hidden)
        quiet = series.day[is_seen & ~is_in]
        is_long = len(np.unique(quiet)) >= QUIET_DAYS and len(quiet) >= MIN_SESSIONS
        # Asked in vain counts as asked: leaving it out would correct for too few.
        chance = _all_within(is_in[is_seen], series.decided[is_seen], count) if is_long else 1.0
        found.append(ReasonTurn(reason, is_new, day, chance, count))
    return found


def _shows(
    series: Series, is_in: NDArray[np.bool_], is_hidden: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the sessions that can show a reason or its absence.

    Where failures are not read yet, those that are read are not the ones that did not fail: then
    only sessions with failures that are read can show that a reason is absent.
    """
    if not (is_hidden & ~is_in).any():
        return ~is_hidden
    return ~is_hidden & (is_in | (series.failed > 0))


def change_of(turn: ReasonTurn, series: Series, reasons: Reasons) -> Change:
    """Return the rates of one reason's failures before and after it began or ended."""
    rows = reasons.where(reasons.reason == turn.reason)
    sessions, first = np.unique(series.session, return_index=True)
    place = np.searchsorted(sessions, rows.session)
    known = (place < len(sessions)) & (
        sessions[np.minimum(place, len(sessions) - 1)] == rows.session
    )
    found = np.bincount(first[place[known]], rows.failed[known], minlength=len(series.day))
    only = replace(series, failed=found.astype(np.float64))
    return Change.at(only.between(series.first, turn.day - 1), only.between(turn.day, series.last))


def _all_within(is_in: NDArray[np.bool_], decided: Floats, count: int) -> float:
    """Return the chance that `count` sessions drawn all lie within; larger ones oftener drawn."""
    from scipy.special import gammaln

    inside, every = int(is_in.sum()), len(is_in)
    if inside < count:
        return 1.0  # the others are hidden: nothing can be said
    logs = gammaln([inside + 1, every - count + 1, inside - count + 1, every + 1])
    by_number = float(np.exp(logs[0] + logs[1] - logs[2] - logs[3]))
    by_size = float(decided[is_in].sum() / decided.sum()) ** count
    return max(by_number, by_size)


def called(found: list[ReasonTurn], alpha: float) -> list[tuple[ReasonTurn, float]]:
    """Return those that hold when corrected for being many, with their corrected p-values."""
    p_values = adjusted(np.asarray([turn.p_value for turn in found], dtype=np.float64))
    return [(t, float(p)) for t, p in zip(found, p_values, strict=True) if p <= alpha]
