"""A stage for end-to-end tests: an emulated KSeF on a real socket, and a database to load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ksef_emulator import (
    Emulator,
    ExportSettings,
    Fault,
    Oddities,
    Quirks,
    VirtualClock,
    World,
    serve,
)
from ksef_emulator.world.oddities import CountedFailures
from kseflow.api.client import KsefClient, make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.context import Context
from kseflow.loading.run import load_clients
from kseflow.loading.summary import LoadSummary
from kseflow.loading.warehouse import Warehouse
from kseflow.options import Options
from kseflow.watch.status import TaxpayerStatus, status
from tests.copies import rows_of
from tests.once import keep_in_run

# Files whose tests build marts or load many times, and the fixtures that stand for built marts.
SLOW_FILES = {
    "test_a_walk_through_the_readme.py",
    "test_amounts.py",
    "test_check.py",
    "test_cli.py",
    "test_discover.py",
    "test_drain.py",
    "test_load.py",
    "test_load_equals_world.py",
    "test_marts_equal_an_invented_company.py",
    "test_marts_equal_the_world.py",
    "test_packages.py",
    "test_publish.py",
    "test_rates_at_any_moment.py",
    "test_reasons.py",
    "test_whatever_ksef_is.py",
}
SLOW_FIXTURES = {"built", "database", "backfill", "browser"}

TUESDAY = datetime(2026, 11, 17, 13, 0, tzinfo=UTC)


@dataclass
class Stage:
    """One world, one database; each load talks to a fresh emulator of the world over HTTP.

    With `counted_failures="never"` every invoice that KSeF counts is listed, so that a copy can
    be complete.
    """

    database: Path
    seed: int = 7
    at: datetime = TUESDAY
    days: int = 3
    taxpayers: int = 2
    sessions_per_day: int = 8
    largest_session: int = 300
    limits: Any = "off"
    faults: list[Fault] = field(default_factory=list)
    short_pages: bool = True
    storage_updates: bool = False
    lag_s: float = 3.0
    counted_failures: CountedFailures = "mixed"
    exports_per_hour: int = 0  # most tests are about sessions
    exports: ExportSettings = field(default_factory=ExportSettings)
    world_options: dict[str, Any] = field(default_factory=dict)
    quirks: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = VirtualClock(self.at)
        self.world = World(
            seed=self.seed,
            taxpayers=self.taxpayers,
            since=self.at - timedelta(days=self.days),
            sessions_per_day=self.sessions_per_day,
            largest_session=self.largest_session,
            storage_updates=self.storage_updates,
            lag_s=self.lag_s,
            oddities=Oddities(counted_failures=self.counted_failures),
            **self.world_options,
        )
        self.contexts = [Context("Nip", taxpayer.context_id) for taxpayer in self.world.taxpayers]
        self.tokens = {
            context: taxpayer.token
            for context, taxpayer in zip(self.contexts, self.world.taxpayers, strict=True)
        }

    @contextmanager
    def served(self, clock: Any = None) -> Iterator[str]:
        self.app = Emulator(
            self.world,
            clock or self.clock,
            self.limits,
            faults=self.faults,
            quirks=Quirks(short_pages=self.short_pages, **self.quirks),
            exports=self.exports,
        )
        with serve(self.app, keeps_connections=True) as base_url:
            yield base_url

    def logins(self) -> list[TokenCredentials]:
        return [TokenCredentials(context, self.tokens[context]) for context in self.contexts]

    def box(self, max_time_s: float | None = None, clock: Any = None) -> TimeBox:
        return TimeBox(SimulatedClock(clock or self.clock), max_time_s)

    def load(
        self,
        *,
        max_time_s: float | None = None,
        client_clock: Any = None,
        around: Callable[[list[KsefClient], TimeBox], None] | None = None,
        **options: Any,
    ) -> LoadSummary:
        """Load once; `client_clock` lets the client's time run while the emulator's stands."""
        box = self.box(max_time_s, client_clock)
        with self.served() as base_url:
            clients = make_clients(base_url, self.logins(), box)
            if around:
                around(clients, box)
            return self.load_with(clients, box, **options)

    def load_with(
        self, clients: list[KsefClient], box: TimeBox, only: Sequence[str] = (), **options: Any
    ) -> LoadSummary:
        options = {"exports_per_hour": self.exports_per_hour, **options}
        return load_clients(
            clients, self.database, box, Options(**options), only=only, lock_wait_s=5
        )

    def load_frozen(self, **options: Any) -> LoadSummary:
        """Load while the emulated world stands still."""
        return self.load(client_clock=VirtualClock(self.clock.now()), **options)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return rows_of(self.database, sql)

    def value(self, sql: str) -> Any:
        (row,) = self.rows(sql)
        (value,) = row.values()
        return value

    def status(self, **options: Any) -> list[TaxpayerStatus]:
        return status(Warehouse.of_file(self.database), self.clock.now(), **options)


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Stage]:
    """Make a stage of any shape in a folder of its own."""
    return lambda **shape: Stage(tmp_path / "ksef.duckdb", **shape)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make quick` leaves out."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & SLOW_FIXTURES or item.path.name in SLOW_FILES:
            item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def _folder_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    keep_in_run(tmp_path_factory)
