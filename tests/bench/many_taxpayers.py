"""Part 3: loads of many taxpayers when KSeF has nothing new, on virtual time, answers in 100 ms.

Virtual seconds beside the same requests one after the other; CPU without the emulator's beside a
bare httpx client that sends as many requests and parses the answers; memory beside one taxpayer's.
"""

import asyncio
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import orjson

from ksef_emulator import World
from kseflow.clock import SimulatedClock
from tests.bench.emulated import AT, BASE_URL, LATENCY_S, Emulated
from tests.bench.figures import Bound, Figure, Scale
from tests.bench.measured import Cost, measured
from tests.simulation import Wire

TITLE = "3. Many taxpayers, nothing new"
AT_ONCE = 32
SIZES = {Scale.QUICK: (50,), Scale.DEFAULT: (1, 50, 500), Scale.WHOLE: (1, 50, 500, 5000)}


@dataclass(frozen=True)
class Cycle:
    """One load: virtual seconds, requests, answers 429, and CPU seconds, ours and bare httpx's."""

    seconds: float
    request_count: int
    refused_count: int
    cpu_s: float
    bare_cpu_s: float


def emulated(taxpayers: int) -> Emulated:
    """Return small taxpayers: two days of three sessions of up to five invoices."""
    since = AT - timedelta(days=2)
    world = World(seed=3, taxpayers=taxpayers, since=since, sessions_per_day=3, largest_session=5)
    return Emulated(world, AT, "production", LATENCY_S)


def cycle(taxpayers: int) -> Cycle:
    """Load all taxpayers, then measure the load after it."""
    ksef = emulated(taxpayers)
    with TemporaryDirectory() as folder:
        database = Path(folder) / "ksef-load.duckdb"
        ksef.load(database)
        ksef.clock.sleep(3600)
        own_cpu_s, emulator_cpu_s = _own_cpu_s(), ksef.app.cpu_s
        summary = ksef.load(database)
        cpu_s = _own_cpu_s() - own_cpu_s - (ksef.app.cpu_s - emulator_cpu_s)
    assert summary.failed_taxpayers == []
    seconds = (summary.ended_at - summary.started_at).total_seconds()
    count = sum(ksef.asked().values())
    return Cycle(seconds, count, ksef.refused_count(), cpu_s, _bare_cpu_s(ksef, count))


@cache
def cycle_cost(taxpayers: int) -> Cost:
    """Return what `cycle` costs in a process of its own."""
    return measured(cycle, taxpayers)


def _bare_cpu_s(ksef: Emulated, count: int) -> float:
    """Return what httpx alone takes for so many requests at the same emulator, its own not."""
    free = Emulated(ksef.world, ksef.clock.now(), "off", LATENCY_S)
    wire = Wire(free.app, LATENCY_S)

    async def ask(client: httpx.AsyncClient, places: asyncio.Semaphore) -> None:
        async with places:
            answer = await client.get(f"{BASE_URL}/security/public-key-certificates")
            orjson.loads(answer.content)

    async def ask_all() -> None:
        places = asyncio.Semaphore(AT_ONCE)
        async with httpx.AsyncClient(transport=wire) as client:
            await asyncio.gather(*(ask(client, places) for _ in range(count)))

    own_cpu_s = _own_cpu_s()
    with SimulatedClock(free.clock).loop() as loop:
        loop.run(ask_all())
    return _own_cpu_s() - own_cpu_s - free.app.cpu_s


def _own_cpu_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


def figures(scale: Scale) -> Iterator[Figure]:
    """Yield what a load of nothing new takes, by how many taxpayers it is for."""
    one_mb = cycle_cost(1).peak_mb
    for taxpayers in SIZES[scale]:
        cost = cycle_cost(taxpayers)
        told: Cycle = cost.answer
        name = f"{taxpayers:,}"
        in_turn_s = told.request_count * LATENCY_S
        # Of few, a login decides, which has its own order and waits for KSeF a second or more.
        bounds = (Bound("in turn", most=0.125),) if taxpayers >= 500 else ()
        yield Figure(f"{name}: virtual time", told.seconds, "s", {"in turn": in_turn_s}, bounds)
        bare = {"bare httpx": told.bare_cpu_s * 1000 / taxpayers}
        yield Figure(f"{name}: CPU a taxpayer", told.cpu_s * 1000 / taxpayers, "ms", bare)
        yield Figure(f"{name}: memory", cost.peak_mb, "MB", {"one taxpayer": one_mb})
        requests = {"a taxpayer": taxpayers}
        yield Figure(f"{name}: requests", told.request_count, "", requests, is_count=True)
        yield Figure(f"{name}: answers 429", told.refused_count, "", is_count=True)
