"""Load an emulated world as `kseflow load` would, on a virtual clock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ksef_emulator import Emulator, VirtualClock, World, serve
from ksef_emulator.app import Quirks
from kseflow.clock import TimeBox
from kseflow.credentials import Context, TokenCredentials
from kseflow.load import load
from kseflow.source import make_clients

NOW = datetime(2026, 11, 17, 13, 0, tzinfo=UTC)  # a Tuesday, 14:00 in Warsaw


def make_world(seed: int = 7, *, days: int = 10, sessions_per_day: int = 10) -> World:
    since = NOW - timedelta(days=days)
    return World(seed=seed, since=since, sessions_per_day=sessions_per_day, largest_session=60)


@contextmanager
def loading(world: World, clock: VirtualClock, database: Path) -> Iterator[Callable[[], None]]:
    """Give a function that loads what is new."""
    emulator = Emulator(world, clock, limits="off", quirks=Quirks(short_pages=False))
    logins = [
        TokenCredentials(Context("Nip", who.context_id), who.token) for who in world.taxpayers
    ]
    with serve(emulator) as base_url:

        def load_once() -> None:
            box = TimeBox(clock)
            load(make_clients(base_url, logins, box), database, box)

        yield load_once
