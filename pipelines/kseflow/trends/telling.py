"""From sessions to what is told of them: scan, correct for being many, judge, explain."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from kseflow.trends.anomaly import Anomaly
from kseflow.trends.causes import began_or_ended, called
from kseflow.trends.change import Judgement, LeftOut, WeekdayTurn
from kseflow.trends.inputs import Inputs
from kseflow.trends.prepared import Share, prepared
from kseflow.trends.rates import Measure, adjusted, clustered_rate, typical_time
from kseflow.trends.rows import Names, Teller, is_told
from kseflow.trends.sample import Sample
from kseflow.trends.scan import Turn, scan
from kseflow.trends.series import Series
from kseflow.trends.verdicts import (
    ALPHA,
    gone_back,
    judged,
    standing_alone,
    stretches,
    turn_of,
    without,
    worst_day,
)
from kseflow.trends.weekdays import is_worth_telling, worst_weekday

SEED = 20260201
"""Two builds of the same data tell the same."""

PERMUTATIONS = 999
"""Exchanges of sessions at most, at first; those that decide among many taxpayers get more."""

SLOWER_RATIO, SLOWER_S = 1.5, 5.0
"""Slower is said of a median by half longer and five seconds at least."""


@dataclass(frozen=True, eq=False)
class Scanned:
    """A share with its turning point, without what stands alone in it."""

    share: Share
    series: Series
    left_out: LeftOut | None
    turn: Turn | None


def anomalies(inputs: Inputs, names: Names | None = None) -> list[Anomaly]:
    """Tell what changed, of all taxpayers together (first, without a context) and of each.

    The first row of each is its headline, whatever it says. What is told of taxpayers is corrected
    for their number: few of those called are false alarms. `names` are what taxpayers are called.
    """
    made = prepared(inputs)
    shares = made.shares()
    teller = Teller(made, made.everything, is_all=True, names=names or {})
    rows = _rows_of([teller])[0]
    tellers = [Teller(made, share, is_all=False, names=names or {}) for share in shares]
    for found in _rows_of(tellers):
        rows += found
    return rows


def _rows_of(tellers: Sequence[Teller]) -> list[list[Anomaly]]:
    """Tell of several that are looked at together, so that being many is allowed for."""
    judgements = _judgements(tellers)
    slower, weekdays = _slower(tellers), _weekdays(tellers)
    turns = [began_or_ended(t.share.series, t.share.reasons, t.prepared.unread) for t in tellers]
    flat = [turn for found in turns for turn in found]
    p_values = {id(turn): p for turn, p in called(flat, ALPHA)}
    everyone = _Totals.of([t.share for t in tellers])
    rows = []
    for number, (teller, judgement) in enumerate(zip(tellers, judgements, strict=True)):
        found = [teller.headline(judgement), *teller.changed(judgement)]
        if len(tellers) > 1 and is_told(judgement.verdict):
            found += everyone.apart(teller, judgement)
        if judgement.left_out is not None:
            found.append(teller.stands_alone(judgement.left_out))
        told = [t for t in turns[number] if id(t) in p_values]
        found += [teller.reason(turn, p_values[id(turn)]) for turn in told]
        found += [row for row in (slower.get(number), weekdays.get(number)) if row is not None]
        rows.append([replace(row, anomaly_number=n) for n, row in enumerate(found, 1)])
    return rows


def _seed(teller: Teller, *more: int) -> list[int]:
    """Return a seed of the taxpayers alone, so that no neighbour changes what is drawn."""
    text = ",".join("/".join(teller.prepared.taxpayers[n]) for n in teller.share.taxpayers)
    return [SEED, crc32(text.encode()), *more]


def _judgements(tellers: Sequence[Teller]) -> list[Judgement]:
    scanned = [_scanned(teller, PERMUTATIONS) for teller in tellers]
    p_values = _corrected([s.turn for s in scanned])
    for number, permutations in _undecided(scanned, p_values).items():
        scanned[number] = _scanned(tellers[number], permutations)
    p_values = _corrected([s.turn for s in scanned])
    return [
        judged(found.series, found.turn, p_values[number], found.left_out)
        for number, found in enumerate(scanned)
    ]


def _undecided(scanned: Sequence[Scanned], p_values: dict[int, float]) -> dict[int, int]:
    """Return how many exchanges it takes to tell of those that no exchange came near."""
    least = 2 / (PERMUTATIONS + 1)
    clear = [n for n, found in enumerate(scanned) if found.turn and found.turn.p_value <= least]
    enough = int(2 * len(scanned) / (ALPHA * max(1, len(clear))))
    return {number: enough for number in clear if p_values[number] > ALPHA}


def _scanned(teller: Teller, permutations: int) -> Scanned:
    left_out = standing_alone(teller.share.series)
    series = without(teller.share.series, left_out)
    turn = turn_of(series, seed=_seed(teller), permutations=permutations)
    return Scanned(teller.share, series, left_out, turn)


def _corrected(turns: Sequence[Turn | WeekdayTurn | None]) -> dict[int, float]:
    """Return p-values corrected for all that could be scanned; 1 where nothing could."""
    tested = [number for number, turn in enumerate(turns) if turn is not None]
    p_values = adjusted(np.asarray([t.p_value for t in turns if t is not None], dtype=np.float64))
    found = dict.fromkeys(range(len(turns)), 1.0)
    return found | {n: float(p) for n, p in zip(tested, p_values, strict=True)}


def _slower(tellers: Sequence[Teller]) -> dict[int, Anomaly]:
    """Tell of which tellers KSeF's acceptance became slower."""
    turns = [_slowed(teller) for teller in tellers]
    p_values = _corrected(turns)
    found = {}
    for number, (teller, turn) in enumerate(zip(tellers, turns, strict=True)):
        if turn is None or p_values[number] > ALPHA or turn.z < 0:
            continue
        row = _slower_row(teller, turn, p_values[number])
        if row is not None:
            found[number] = row
    return found


def _weekdays(tellers: Sequence[Teller]) -> dict[int, Anomaly]:
    """Tell of which tellers one weekday fails more."""
    turns = [worst_weekday(teller.share.series) for teller in tellers]
    p_values = _corrected(turns)
    return {
        number: teller.weekday(turn, p_values[number])
        for number, (teller, turn) in enumerate(zip(tellers, turns, strict=True))
        if turn is not None and p_values[number] <= ALPHA and is_worth_telling(turn)
    }


def _slowed(teller: Teller) -> Turn | None:
    sample = _ranked(teller)
    first = teller.share.series.first
    return scan(sample, first=first, seed=_seed(teller, 1), permutations=PERMUTATIONS)


def _ranked(teller: Teller) -> Sample:
    """Return sessions with the rank of their time, so that no single one decides."""
    times = teller.share.times
    _, ranks = np.unique(times.seconds, return_inverse=True)
    return Sample(times.day, ranks.astype(np.float64), np.ones(len(ranks)))


def _slower_row(teller: Teller, turn: Turn, p_value: float) -> Anomaly | None:
    """Make the row, unless one day decides, it has passed, or it is too little to matter."""
    times, series, sample = teller.share.times, teller.share.series, _ranked(teller)
    if worst_day(sample, turn) is not None:
        return None
    since = sample.without(sample.day < turn.day)
    if not turn.is_drift and gone_back(since, turn.day, turn) is not None:
        return None
    calm, end = stretches(series.first, series.last, turn)
    old = typical_time(times.seconds[times.day <= calm])
    new = typical_time(times.seconds[times.day >= end])
    if new.value < max(SLOWER_RATIO * old.value, old.value + SLOWER_S):
        return None
    return teller.slower(turn.day, old, new, p_value)


@dataclass(frozen=True, eq=False)
class _Totals:
    """Failed and decided invoices of all taxpayers by day, to compare one with the others."""

    first: int
    failed: np.ndarray[tuple[int], np.dtype[np.float64]]
    decided: np.ndarray[tuple[int], np.dtype[np.float64]]

    @classmethod
    def of(cls, shares: Sequence[Share]) -> "_Totals":
        """Sum up by day."""
        first = shares[0].series.first if shares else 0
        days = shares[0].series.last - first + 1 if shares else 0
        sums = [np.zeros(days), np.zeros(days)]
        for share in shares:
            at = share.series.day - first
            sums[0] += np.bincount(at, share.series.failed, minlength=days)
            sums[1] += np.bincount(at, share.series.decided, minlength=days)
        return cls(first, sums[0], sums[1])

    def apart(self, teller: Teller, judgement: Judgement) -> list[Anomaly]:
        """Make the row of a taxpayer unless the others changed at least half as much."""
        change = judgement.change
        old, new = (self._others(side) for side in (change.before, change.after))
        if not old.whole_count or not new.whole_count:
            return []
        own = np.log((change.new.value + 1e-4) / (change.old.value + 1e-4))
        theirs = np.log((new.value + 1e-4) / (old.value + 1e-4))
        return [] if 2 * theirs * np.sign(own) > abs(own) else [teller.apart(judgement, new)]

    def _others(self, side: Series) -> Measure:
        """Return the rate of all others on the same days."""
        days = slice(side.first - self.first, side.last - self.first + 1)
        own = [float(values.sum()) for values in (side.failed, side.decided)]
        failed, decided = self.failed[days].sum() - own[0], self.decided[days].sum() - own[1]
        return clustered_rate(np.asarray([failed]), np.asarray([decided]))
