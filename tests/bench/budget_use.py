"""Part 2: how much of KSeF's budget a backlog uses, on virtual time, and when its end is known.

A taxpayer with 100,000 sessions has more to read than the hours allow. What KSeF answered of a
group of endpoints, from our first request of it to our last, is compared with the most that its
sliding windows let through in that time: each request at the earliest moment that fits, with no
time for answers. Rows are counted and thrown away.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import httpx

from ksef_emulator import Backlog, World
from ksef_emulator.api.errors import TooManyRequests
from ksef_emulator.api.limits import PRODUCTION, WINDOWS
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.loading.extraction import Extraction
from kseflow.loading.taxpayer import load_share
from kseflow.loading.warehouse import Warehouse
from kseflow.options import Options
from kseflow.raw.tables import TABLES
from tests.bench.emulated import AT, LATENCY_S, Emulated
from tests.bench.figures import Bound, Figure, Scale
from tests.simulation import Wire

TITLE = "2. Use of KSeF's budget"
DAYS = 30
GROUPS = ("sessionList", "sessionInvoiceList", "sessionMisc")
NAMES = {
    "sessionList": "lists of sessions",
    "sessionInvoiceList": "lists of invoices",
    "sessionMisc": "receipts",
}
ADDRESS = "127.0.0.1"  # whose requests the emulator counts
Values = dict[str, int]
Tables = list[tuple[float, dict[str, Values]]]  # from which second on which limits hold


Kind = Literal["Online", "Batch"]
Detail = Literal["auto", "invoices"]
DETAILS: tuple[Detail, ...] = ("auto", "invoices")
QUICK_BACKLOGS: list[tuple[Kind, int, int]] = []
BACKLOGS: list[tuple[Kind, int, int]] = [("Online", 1_000, 3)]
WHOLE_BACKLOGS: list[tuple[Kind, int, int]] = [("Online", 100_000, 3), ("Batch", 200, 10_000)]


def one_taxpayer(kind: Kind, sessions: int, size: int) -> World:
    """Return what one taxpayer sent in a month: alike sessions, 2 % of the invoices refused."""
    backlog = Backlog(kind, sessions, size, 0.02, DAYS)
    return World(seed=7, taxpayers=1, since=AT - timedelta(DAYS + 2), backlog=backlog)


def small_sessions(count: int) -> World:
    """Return sessions of three invoices."""
    return one_taxpayer("Online", count, 3)


class Disturbed(Wire):
    """A wire that lets something else go on at KSeF while the load runs."""

    def __init__(self, wire: Wire, meanwhile: Callable[[], Any]) -> None:
        self.__dict__ = wire.__dict__
        self._meanwhile = meanwhile
        self._task: asyncio.Task[None] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._task is None:
            self._task = asyncio.create_task(self._meanwhile())
        return await super().handle_async_request(request)


@dataclass
class Use:
    """What a run did with its time: seconds of KSeF's answers by group, ours and others'."""

    ksef: Emulated
    ours: dict[str, list[float]]
    others: dict[str, list[float]]
    limits: Tables
    refused_count: int
    seconds: float

    def possible_count(self, group: str, begin: float | None = None) -> int:
        """Return the most requests from our first to our last one, or from a second on."""
        times = self.ours[group]
        return len(most(self.limits, group, times[0] if begin is None else begin, times[-1]))

    def used_count(self, group: str) -> int:
        """Return how many of these were answered, to anybody."""
        first, last = self.ours[group][0], self.ours[group][-1]
        between = [time for time in self.others.get(group, []) if first <= time <= last]
        return len(self.ours[group]) + len(between)


def most(limits: Tables, group: str, begin: float, end: float) -> list[float]:
    """Return when requests could be made at the earliest, from one moment to another (seconds)."""
    starts = [start for start, _ in limits]
    made: list[float] = []
    now = begin
    while now <= end:
        place = bisect_right(starts, now) - 1
        values = limits[max(place, 0)][1][group]
        free = max((_free_at(made, values[name], span_s) for name, span_s, _ in WINDOWS))
        changes = starts[place + 1] if place + 1 < len(starts) else float("inf")
        if free <= now:
            made.append(now)
        else:
            now = min(free, changes)
    return made


def _free_at(made: Sequence[float], limit: int, span_s: float) -> float:
    return made[-limit] + span_s if 0 < limit <= len(made) else 0.0


def run(
    world: World,
    hours: float | None,
    *,
    detail: Detail = "auto",
    changes: Sequence[tuple[float, float]] = (),
    others_share: float = 0.0,
) -> Use:
    """Extract for so many virtual hours, or to the end.

    `changes` are hours and the factor by which the limits of production then hold. Another program
    of the same taxpayer spends `others_share` of the budget, evenly.
    """
    ksef = Emulated(world, AT, "production", LATENCY_S)
    ksef.app.requests.clear()
    meanwhile = Meanwhile(ksef, changes, others_share)
    box = TimeBox(SimulatedClock(ksef.clock), hours and hours * 3600)
    ksef.wire = Disturbed(ksef.wire, meanwhile.go_on)
    served: dict[str, list[float]] = {group: [] for group in GROUPS}
    refused_count = _extract(ksef, box, Options(detail=detail, exports_per_hour=0), served)
    seconds = (ksef.clock.now() - AT).total_seconds()
    ours = {group: times for group, times in served.items() if times}
    return Use(ksef, ours, meanwhile.spent, meanwhile.limits, refused_count, seconds)


def _extract(ksef: Emulated, box: TimeBox, options: Options, served: dict[str, list[float]]) -> int:
    """Run to the end of the box; note when each group was answered, and count what was not."""
    extraction = Extraction(ksef.clients(box), box, options, load_share)
    tables = frozenset(table.name for table in TABLES)
    extraction.begin(Warehouse(lambda sql: None, str), lambda name: {}, tables)
    refused_count = 0
    while not extraction.is_done:
        extraction.take()
        for request in ksef.app.requests:
            if request.status == 429:
                refused_count += 1
            elif request.group in served:
                served[request.group].append((request.at - AT).total_seconds())
        ksef.app.requests.clear()  # it remembers the last 100,000 alone
    return refused_count


class Meanwhile:
    """What else happens at KSeF: limits that change, and another program's requests."""

    def __init__(
        self, ksef: Emulated, changes: Sequence[tuple[float, float]], others_share: float
    ) -> None:
        self._ksef = ksef
        self._nip = ksef.world.taxpayers[0].context_id
        self._others_share = others_share
        self.limits: Tables = [(0.0, PRODUCTION)]
        self.limits += [(hour * 3600, times(factor)) for hour, factor in changes]
        self.spent: dict[str, list[float]] = {group: [] for group in GROUPS}

    async def go_on(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._change())
            if self._others_share:
                for group in GROUPS:
                    tasks.create_task(self._spend(group))

    async def _change(self) -> None:
        for second, values in self.limits[1:]:
            await asyncio.sleep(second - self._now())
            self._ksef.app.limits.override(self._nip, values)

    async def _spend(self, group: str) -> None:
        every_s = 3600 / (PRODUCTION[group]["perHour"] * self._others_share)
        while True:
            at = self._ksef.clock.now()
            try:
                self._ksef.app.limits.count(self._nip, ADDRESS, group, at=at)
            except TooManyRequests as refused:
                await asyncio.sleep(refused.retry_after_s + 1)
            else:
                self.spent[group].append(self._now())
                await asyncio.sleep(every_s)

    def _now(self) -> float:
        return (self._ksef.clock.now() - AT).total_seconds()


def times(factor: float) -> dict[str, Values]:
    """Return production's limits, so many times as high for what a backlog asks."""
    return {
        group: {name: int(limit * factor) for name, limit in values.items()}
        if group in GROUPS
        else values
        for group, values in PRODUCTION.items()
    }


def figures(scale: Scale) -> Iterator[Figure]:
    """Yield the use of each group in each disturbance, and how long a backlog takes."""
    hours = scale.of(1.0, 6.0, 24.0)
    world = small_sessions(100_000 if scale is not Scale.QUICK else 4_000)
    cases: dict[str, dict[str, Any]] = {
        "alone": {},
        "limits doubled, then halved": {"changes": [(hours / 3, 2.0), (hours * 2 / 3, 0.5)]},
        "another takes a third": {"others_share": 1 / 3},
    }
    for name, case in list(cases.items())[: scale.of(1, 3)]:
        use = run(world, hours, **case)
        for group, times in use.ours.items():
            # Fewer say nothing: the last seconds of a burst would decide.
            if len(times) >= PRODUCTION[group]["perHour"]:
                yield _share(f"{NAMES[group]}, {name}", use, group)
        yield Figure(f"answers 429, {name}", use.refused_count, "", is_count=True)
    yield from _backlog(scale)


def _share(what: str, use: Use, group: str) -> Figure:
    return Figure(
        what,
        use.used_count(group),
        "requests",
        {"possible": use.possible_count(group)},
        (Bound("possible", least=0.99),),
        is_count=True,
    )


def _backlog(scale: Scale) -> Iterator[Figure]:
    """Yield how long it takes until every outcome is known, beside lists of invoices alone."""
    for kind, count, size in scale.of(QUICK_BACKLOGS, BACKLOGS, WHOLE_BACKLOGS):
        world = one_taxpayer(kind, count, size)
        hours = {d: run(world, None, detail=d).seconds / 3600 for d in DETAILS}
        yield Figure(
            f"{count:,} × {size:,}: until all is known",
            hours["auto"],
            "hours",
            {"lists alone": hours["invoices"]},
            is_count=True,
        )
