"""How often trends tell what did not happen, how often they miss what did, and what they cost.

python tests/trends/alarms.py                # all three
python tests/trends/alarms.py alarms 200     # so many permuted worlds of each kind
python tests/trends/alarms.py power 100      # so many worlds of each size
python tests/trends/alarms.py scale

False alarms: worlds in which nothing changed, whose sessions are dealt out anew to the days, and
harder ones; the share that is told worse or better, which is to be 5 % at most.
Power: the failure rate of 3 % doubles; the share that is told worse, and how many days beside the
truth its day is, at the median. Two invoices of a session fail together with correlation 0.05.
The last column is the variance of the rate over that of independent invoices.
"""

import resource
import sys
import time
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from kseflow.trends import Inputs, anomalies
from kseflow.trends.rates import design_effect

World = dict[str, Any]  # arrays, one number a session

TODAY = date(2026, 11, 22)
WINDOW = 90
WEEKEND = 0.15
RATE = 0.03

KINDS: dict[str, dict[str, Any]] = {
    "small sessions": {},
    "batches": {"batches": 0.03},
    "wild sessions": {"correlation": 0.3},
    "few sessions": {"per_week": 60},
    "every taxpayer its own rate": {"taxpayers": 20, "rates": 0.8},
}
HARDER: dict[str, dict[str, Any]] = {
    "batches since 20 days": {"batches": 0.05, "batches_since": 20},
    "days that differ": {"day_effect": 0.5},
    "weekends three times as bad": {"weekend_factor": 3.0},
}


def sessions(
    rng: np.random.Generator,
    *,
    per_week: int = 1000,
    size: float = 6.0,
    batches: float = 0.0,
    correlation: float = 0.05,
    since: int = 0,
    factor: float = 2.0,
    taxpayers: int = 1,
    rates: float = 0.0,
    batches_since: int = WINDOW,
    day_effect: float = 0.0,
    weekend_factor: float = 1.0,
) -> World:
    """Draw 90 days of sessions; the rate is `factor` times as high on the last `since` days."""
    mean = (1 - batches) * size + batches * 300
    ago = np.arange(WINDOW)
    weekday = np.array([(TODAY - timedelta(days=int(n))).weekday() for n in ago])
    per_day = per_week / mean / (5 + 2 * WEEKEND) * np.where(weekday >= 5, WEEKEND, 1.0)
    days_ago = np.repeat(ago, rng.poisson(per_day))
    count = len(days_ago)
    decided = np.minimum(rng.geometric(1 / size, count), 60)
    is_batch = (rng.random(count) < batches) & (days_ago < batches_since)
    decided = np.where(is_batch, rng.integers(100, 500, count), decided)
    taxpayer = rng.integers(0, taxpayers, count)
    usual = RATE * np.exp(rates * rng.normal(size=taxpayers))[taxpayer]
    usual *= np.where(weekday >= 5, weekend_factor, 1.0)[days_ago]
    usual *= np.exp(day_effect * rng.normal(size=WINDOW) - day_effect**2 / 2)[days_ago]
    share = np.minimum(0.9, usual * np.where(days_ago < since, factor, 1.0))
    weight = 1 / correlation - 1
    failed = rng.binomial(decided, rng.beta(share * weight, (1 - share) * weight))
    return {"ago": days_ago, "decided": decided, "failed": failed, "taxpayer": taxpayer}


def dealt_anew(rng: np.random.Generator, world: World) -> World:
    """Give the sessions' days to other sessions."""
    return {**world, "ago": rng.permutation(world["ago"])}


def inputs(world: World) -> Inputs:
    """Return the tables that trends are told from."""
    count = len(world["ago"])
    today = np.datetime64(TODAY)
    key = {
        "context_type": pa.array(["Nip"] * count),
        "context_id": pa.array([f"{n:010d}" for n in world["taxpayer"]]),
        "session_reference_number": pa.array([f"S{n}" for n in range(count)]),
        "day": pa.array((today - world["ago"]).astype("datetime64[D]")),
    }
    failed = pa.array(world["failed"].astype(np.int64))
    days = pa.table(
        {
            **key,
            "accepted_count": pa.array((world["decided"] - world["failed"]).astype(np.int64)),
            "failed_count": failed,
            "from_counters_count": pa.array(np.zeros(count, dtype=np.int64)),
        }
    )
    message = pa.array([("one", "another", "third")[n % 3] for n in range(count)])
    kinds = {"category": pa.array(["schema"] * count), "normalised_message": message}
    reasons = pa.table({**key, **kinds, "failed_count": failed})
    reasons = reasons.filter(pa.array(world["failed"] > 0))
    times = pa.table({**key, "median_seconds": pa.array(np.ones(count))}).slice(0, 0)
    taxpayers = days.select(["context_type", "context_id"])
    return Inputs(TODAY, days, reasons, times, taxpayers)


def alarms(count: int) -> None:
    """Print how often nothing is called something."""
    head = f"{'all':>7} {'any taxpayer':>13} {'new or gone':>12} {'variance x':>11}"
    print(f"Worse or better in {count} worlds each where nothing changed (at most 5 %)")
    print(f"{'sessions dealt out anew':32} {head}")
    for name, options in KINDS.items():
        rng = np.random.default_rng(1)
        world = sessions(rng, **options)
        _print_alarms(name, [dealt_anew(rng, world) for _ in range(count)])
    print(f"{'drawn anew, sessions unlike':32} {head}")
    for name, options in HARDER.items():
        rng = np.random.default_rng(4)
        _print_alarms(name, [sessions(rng, **options) for _ in range(count)])


def _print_alarms(name: str, worlds: list[World]) -> None:
    told = np.zeros(3)
    effect = design_effect(*(worlds[0][n].astype(float) for n in ("failed", "decided")))
    for world in worlds:
        rows = anomalies(inputs(world))
        called = [r.verdict in ("worse", "better") for r in rows if r.kind == "headline"]
        others = [r for r in rows if r.kind in ("new_reason", "reason_gone")]
        told += [called[0], any(called[1:]), bool(others)]
    rates = [f"{100 * share:.1f} %" for share in told / len(worlds)]
    print(f"{name:32} {rates[0]:>7} {rates[1]:>13} {rates[2]:>12} {effect:>11.1f}", flush=True)


def power(count: int) -> None:
    """Print how often a doubling is told, and how exactly since when."""
    print(
        f"Doubling of {RATE:.0%}, told worse in {count} worlds each (median days beside the truth)"
    )
    print(f"{'invoices a week':>16} {'sessions':>15} {'7 days ago':>16} {'25 days ago':>16}")
    for per_week in (50, 200, 1000, 10_000):
        for name, batches in (("small", 0.0), ("with batches", 0.03)):
            texts = [
                _told(range(count), per_week=per_week, batches=batches, since=since)
                for since in (7, 25)
            ]
            print(f"{per_week:>16,} {name:>15} {texts[0]:>16} {texts[1]:>16}", flush=True)


def _told(seeds: Iterable[int], *, since: int, **options: Any) -> str:
    beside, count = [], 0
    for seed in seeds:
        world = sessions(np.random.default_rng([2, seed]), since=since, **options)
        headline = anomalies(inputs(world))[0]
        count += 1
        if headline.verdict == "worse" and headline.since_day is not None:
            truth = TODAY - timedelta(days=since - 1)
            beside.append(abs((headline.since_day - truth).days))
    found = f"{100 * len(beside) / count:.0f} %"
    return f"{found} ({np.median(beside):.0f})" if beside else found


def scale() -> None:
    """Print what 500 taxpayers with 300,000 sessions cost."""
    rng = np.random.default_rng(3)
    for name, since in (("nothing changed", 0), ("doubled for all 20 days ago", 20)):
        world = sessions(rng, per_week=140_000, taxpayers=500, since=since)
        given = inputs(world)
        started = time.process_time()
        rows = anomalies(given)
        used = time.process_time() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"{len(world['ago']):,} sessions of 500 taxpayers, {name}: {used:.1f} CPU s, "
            f"{len(rows):,} rows, peak {peak:.2f} GB; {rows[0].verdict}",
            flush=True,
        )


if __name__ == "__main__":
    what, *rest = sys.argv[1:] or ["all"]
    times = int(rest[0]) if rest else 100
    if what in ("all", "alarms"):
        alarms(times)
    if what in ("all", "power"):
        power(times)
    if what in ("all", "scale"):
        scale()
