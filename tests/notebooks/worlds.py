"""A backfill that is half done, as `kseflow load` leaves it when its time is up."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ksef_emulator import Emulator, VirtualClock, World, serve
from kseflow.api.client import make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.context import Context
from kseflow.loading.run import load_clients
from kseflow.marts.build import build
from kseflow.options import Options

NOW = datetime(2026, 11, 17, 8, 0, tzinfo=UTC)  # a Tuesday, 9:00 in Warsaw


def half_done(folder: Path, *, days: int = 14, max_time_s: float = 4) -> Path:
    """Load a backlog of two weeks under KSeF's limits for a few seconds, and publish it."""
    since = NOW - timedelta(days=days)
    world = World(seed=7, taxpayers=2, since=since, sessions_per_day=8, largest_session=120)
    clock = VirtualClock(NOW)
    logins = [
        TokenCredentials(Context("Nip", who.context_id), who.token) for who in world.taxpayers
    ]
    database = folder / "ksef-load.duckdb"
    with serve(Emulator(world, clock, limits="production")) as base_url:
        box = TimeBox(SimulatedClock(clock), max_time_s)
        load_clients(
            make_clients(base_url, logins, box), database, box, Options(exports_per_hour=0)
        )
    published = folder / "ksef.duckdb"
    build(database, published)
    return published
