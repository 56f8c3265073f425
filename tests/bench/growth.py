"""Part 6: how costs grow with invoices and with taxpayers.

The exponent is the slope of log(cost) over log(size), by least squares; the steepest step is that
between two neighbours, for a fixed part at small sizes hides growth at large ones. n log n has
1.09 over these sizes; a tenth is left for noise.
"""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import linear_regression
from tempfile import TemporaryDirectory

from kseflow.loading.warehouse import Warehouse
from tests.bench import load_path, many_taxpayers, nothing_to_do
from tests.bench.figures import Bound, Figure, Scale
from tests.bench.many_taxpayers import Cycle, cycle_cost
from tests.bench.measured import Cost, measured
from tests.bench.nothing_to_do import builds, full_build
from tests.bench.raw_tables import write_raw_tables

TITLE = "6. Growth: exponents"
NOISE = 0.1


def exponent(costs: Mapping[int, float]) -> float:
    """Return the slope of log(cost) over log(size)."""
    return linear_regression(*zip(*_logs(costs), strict=True)).slope


def steepest(costs: Mapping[int, float]) -> float:
    """Return the largest slope between two neighbouring sizes."""
    return max((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairwise(_logs(costs)))


def n_log_n(costs: Mapping[int, float]) -> float:
    """Return the slope of n log n between the smallest and the largest size."""
    return exponent({size: size * math.log(size) for size in (min(costs), max(costs))})


def _logs(costs: Mapping[int, float]) -> list[tuple[float, float]]:
    return [(math.log(size), math.log(cost)) for size, cost in sorted(costs.items())]


@cache
def worklist_cost(invoices: int) -> Cost:
    """Return what a load's question costs what it lacks, of raw tables of that size."""
    with TemporaryDirectory() as folder:
        database = Path(folder) / "ksef-load.duckdb"
        write_raw_tables(database, sessions=invoices // 3, invoices=invoices)
        return measured(ask_worklist, database)


def ask_worklist(database: Path) -> int:
    """Ask what all taxpayers lack, as at the beginning of a load; return of how many sessions."""
    return int(Warehouse.of_file(database).worklist().lacking(receipts=True).num_rows)


def figures(scale: Scale) -> Iterator[Figure]:
    """Yield exponents, the largest sizes being those of other parts; nothing in a minute."""
    if scale is Scale.QUICK:
        return
    largest = nothing_to_do.SIZES[scale]
    sizes = [size for size in (10_000, 100_000, 1_000_000, 10_000_000) if size <= largest]
    built = {size: full_build(size) for size in sizes[:-1]}
    built[largest] = builds(largest).full
    yield from _grown("build, CPU", "invoices", {n: cost.cpu_s for n, cost in built.items()})
    yield from _grown("build, memory", "invoices", {n: cost.peak_mb for n, cost in built.items()})
    yield from _grown(
        "build, written", "invoices", {n: cost.written_mb for n, cost in built.items()}
    )
    asked = {size: worklist_cost(size).cpu_s for size in sizes}
    yield from _grown("worklist, CPU", "invoices", asked)
    rows = (10_000, 50_000, load_path.SIZES[scale])
    loaded = {size: load_path.cost_of(load_path.by_kseflow, size, size) for size in rows}
    yield from _grown("load, CPU", "invoices", {n: cost.cpu_s for n, cost in loaded.items()})
    cycles: dict[int, Cycle] = {n: cycle_cost(n).answer for n in many_taxpayers.SIZES[scale]}
    yield from _grown("many, CPU", "taxpayers", {n: told.cpu_s for n, told in cycles.items()})


def _grown(what: str, of: str, costs: Mapping[int, float]) -> Iterator[Figure]:
    name = f"{what} by {of}, {min(costs):,} to {max(costs):,}"
    bound = (Bound("n log n", most=round((n_log_n(costs) + NOISE) / n_log_n(costs), 2)),)
    yield Figure(name, exponent(costs), "", {"n log n": n_log_n(costs)}, bound)
    yield Figure("its steepest step", steepest(costs), "", {"n log n": n_log_n(costs)}, bound)
