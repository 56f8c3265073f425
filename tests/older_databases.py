"""Databases that released versions loaded, all from one world; each release adds one.

`python -m tests.older_databases 2026-12-24` writes tests/data/databases/2026-12-24.duckdb.xz.
"""

import lzma
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from ksef_emulator import Emulator, VirtualClock, World, serve
from kseflow.api.client import make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.context import Context
from kseflow.loading.run import load_clients
from kseflow.loading.summary import LoadSummary
from kseflow.options import Options

FOLDER = Path(__file__).parent / "data" / "databases"
LOADED_AT = datetime(2026, 11, 17, 13, 0, tzinfo=UTC)
WORLD = World(
    seed=7, taxpayers=2, since=LOADED_AT - timedelta(days=2), sessions_per_day=4, largest_session=10
)


def load(database: Path, at: datetime) -> LoadSummary:
    """Load that world as it is at a moment, the seller's packages included."""
    clock = VirtualClock(at)
    logins = [
        TokenCredentials(Context("Nip", who.context_id), who.token) for who in WORLD.taxpayers
    ]
    with serve(Emulator(WORLD, clock, limits="off")) as base_url:
        box = TimeBox(SimulatedClock(clock))
        options = Options(exports_from=WORLD.since, subject_types=("Subject1",))
        return load_clients(make_clients(base_url, logins, box), database, box, options)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        made = Path(folder) / "ksef-load.duckdb"
        load(made, LOADED_AT)
        packed = lzma.compress(made.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
        (FOLDER / f"{sys.argv[1]}.duckdb.xz").write_bytes(packed)
