"""Worlds of sessions whose truth is known: who sends how much, how often it fails, and why."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from math import log
from random import Random

import pyarrow as pa

from kseflow.trends import Inputs

TODAY = date(2026, 11, 22)  # a Sunday
REASONS = {"business_rule: NIP is wrong": 0.6, "schema: P_1 is missing": 0.4}
WEEKEND_SHARE = 0.15


@dataclass
class World:
    """Rows of sessions and reasons, as the marts have them."""

    days: list[dict[str, object]] = field(default_factory=list)
    reasons: list[dict[str, object]] = field(default_factory=list)
    times: list[dict[str, object]] = field(default_factory=list)

    def session(
        self,
        day: date,
        decided: int,
        reasons: Mapping[str, int],
        *,
        taxpayer: str = "7438939438",
        kind: str = "Online",
        counters: int = 0,
    ) -> str:
        """Add a closed session with its failed invoices by reason, `category: message`."""
        code = "SB" if kind == "Batch" else "SO"
        reference = f"{day:%Y%m%d}-{code}-{len(self.days):010X}"
        failed = sum(reasons.values())
        key = {"context_type": "Nip", "context_id": taxpayer}
        key["session_reference_number"] = reference
        self.days.append(
            {**key, "session_type": kind, "day": day, "accepted_count": decided - failed,
             "failed_count": failed, "from_counters_count": counters}
        )  # fmt: skip
        for reason, count in reasons.items():
            if count:
                category, _, message = reason.partition(": ")
                self.reasons.append(
                    {**key, "day": day, "category": category, "normalised_message": message or None,
                     "failed_count": count}
                )  # fmt: skip
        return reference

    def acceptance(self, day: date, seconds: float, *, taxpayer: str = "7438939438") -> None:
        """Add an Online session's median time to acceptance."""
        self.times.append(
            {"context_type": "Nip", "context_id": taxpayer, "day": day, "accepted_count": 3,
             "session_reference_number": f"T{len(self.times)}", "median_seconds": seconds}
        )  # fmt: skip

    def inputs(self, today: date = TODAY) -> Inputs:
        """Return the rows as the tables that trends are told from."""
        key = [("context_type", pa.string()), ("context_id", pa.string())]
        session = [*key, ("session_reference_number", pa.string()), ("day", pa.date32())]
        count = pa.int64()
        of_days = [*session, ("session_type", pa.string()), ("accepted_count", count)]
        of_days += [("failed_count", count), ("from_counters_count", count)]
        of_reasons = [*session, ("category", pa.string()), ("normalised_message", pa.string())]
        of_reasons += [("failed_count", count)]
        of_times = [*session, ("accepted_count", count), ("median_seconds", pa.float64())]
        taxpayers = sorted({str(row["context_id"]) for row in self.days})
        return Inputs(
            today,
            pa.Table.from_pylist(self.days, pa.schema(of_days)),
            pa.Table.from_pylist(self.reasons, pa.schema(of_reasons)),
            pa.Table.from_pylist(self.times, pa.schema(of_times)),
            pa.Table.from_pylist(
                [{"context_type": "Nip", "context_id": name} for name in taxpayers], pa.schema(key)
            ),
        )


def ago(days: int) -> date:
    """Return the day so many days before today."""
    return TODAY - timedelta(days=days)


def steady(rate: float) -> Callable[[int], float]:
    """Return a rate that never changes."""
    return lambda days_ago: rate


def stepped(before: float, after: float, since: int) -> Callable[[int], float]:
    """Return a rate that changed so many days ago, for good."""
    return lambda days_ago: after if days_ago < since else before


def fill(
    world: World,
    rate: Callable[[int], float],
    *,
    seed: int = 1,
    days: int = 90,
    per_week: int = 3000,
    size: float = 6.0,
    clustering: float = 0.05,
    batches: float = 0.0,
    taxpayer: str = "7438939438",
    mix: Callable[[int], Mapping[str, float]] = lambda days_ago: REASONS,
) -> World:
    """Send sessions of every day: few at weekends, their own failure rates scattered around `rate`.

    `clustering` is the correlation of two invoices of a session; `batches` the share of sessions
    that hold 100 to 500 invoices. A failed session's reasons are mostly one.
    """
    random = Random(seed)
    for day, count in _sessions(random, days, per_week, size, batches):
        share = rate(day)
        for _ in range(count):
            is_batch = random.random() < batches
            decided = random.randint(100, 500) if is_batch else _small(random, size)
            tendency = _tendency(random, share, clustering)
            failed = sum(random.random() < tendency for _ in range(decided))
            found = _drawn(random, failed, mix(day))
            kind = "Batch" if is_batch else "Online"
            world.session(ago(day), decided, found, taxpayer=taxpayer, kind=kind)
    return world


def _sessions(
    random: Random, days: int, per_week: int, size: float, batches: float
) -> Iterator[tuple[int, int]]:
    mean_size = (1 - batches) * size + batches * 300
    workday = per_week / mean_size / (5 + 2 * WEEKEND_SHARE)
    for day in reversed(range(days)):
        share = WEEKEND_SHARE if ago(day).weekday() >= 5 else random.uniform(0.75, 1.25)
        yield day, round(workday * share)


def _small(random: Random, size: float) -> int:
    """Draw a geometric number of invoices, at least one."""
    return 1 + int(log(1 - random.random()) / log(1 - 1 / size))


def _tendency(random: Random, share: float, clustering: float) -> float:
    if not 0 < share < 1 or not clustering:
        return share
    weight = 1 / clustering - 1
    return random.betavariate(share * weight, (1 - share) * weight)


def _drawn(random: Random, failed: int, mix: Mapping[str, float]) -> dict[str, int]:
    (main,) = random.choices(list(mix), list(mix.values()))
    return {main: failed} if failed else {}
