"""Load an emulated world as `kseflow load` would, on a virtual clock."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ksef_emulator import Emulator, ExportSettings, Quirks, VirtualClock, World, serve
from kseflow.api.client import make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.context import Context
from kseflow.loading.run import load_clients
from kseflow.options import Options, SubjectType

NOW = datetime(2026, 11, 17, 13, 0, tzinfo=UTC)  # a Tuesday, 14:00 in Warsaw


def make_world(seed: int = 7, *, days: int = 10, sessions_per_day: int = 10) -> World:
    since = NOW - timedelta(days=days)
    return World(seed=seed, since=since, sessions_per_day=sessions_per_day, largest_session=60)


@contextmanager
def loading(
    world: World,
    clock: VirtualClock,
    database: Path,
    *,
    only: Sequence[str] = (),
    exports_per_hour: int = 0,
    is_frozen: bool = False,
    subject_types: Sequence[SubjectType] = ("Subject1", "Subject2"),
) -> Iterator[Callable[[], None]]:
    """Give a function that loads what is new; packages hold 40 invoices, that some are full.

    The world stands still during a frozen load: only the client's time passes.
    """
    emulator = Emulator(
        world,
        clock,
        limits="off",
        quirks=Quirks(short_pages=False),
        exports=ExportSettings(cap=40),
    )
    logins = [
        TokenCredentials(Context("Nip", who.context_id), who.token) for who in world.taxpayers
    ]
    with serve(emulator) as base_url:

        def load_once() -> None:
            box = TimeBox(SimulatedClock(VirtualClock(clock.now()) if is_frozen else clock))
            options = Options(
                exports_per_hour=exports_per_hour,
                exports_from=None if database.exists() else world.since,
                subject_types=tuple(subject_types),
            )
            load_clients(make_clients(base_url, logins, box), database, box, options, only=only)

        yield load_once
