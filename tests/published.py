"""One emulated world, loaded, built and published once a run; tests read or change copies."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from ksef_emulator import Emulator, VirtualClock, World, serve
from kseflow.api.client import make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.context import Context
from kseflow.database import load_file
from kseflow.loading.run import load_clients
from kseflow.marts.build import build
from kseflow.options import Options
from tests.once import once

LOADED_AT = datetime(2026, 11, 17, 13, 0, tzinfo=UTC)  # a Tuesday
WORLD = World(seed=7, since=LOADED_AT - timedelta(days=4), sessions_per_day=8, largest_session=40)
NIPS = [taxpayer.context_id for taxpayer in WORLD.taxpayers]

# Nothing is wrong any more, and no number changes by that which a check reports as fine.
HEAL_SQL = """
update marts.daily_outcomes set failed_count = 0, decided_count = 100,
    first_pass_count = 100, first_attempt_count = 100, first_pass_unknown_count = 0,
    unread_attempt_count = 0, doubtful_failure_count = 0;
update marts.anomalies set verdict = 'unchanged' where verdict = 'worse';
delete from marts.unresolved_failures;
update marts.sessions set is_failed_as_whole = false, is_stuck = false;
delete from marts.session_reconciliation;
"""


def _load_and_build(folder: Path) -> Path:
    """Publish in `folder` a file that says that it was published at the load's end."""
    clock = VirtualClock(LOADED_AT)
    logins = [
        TokenCredentials(Context("Nip", who.context_id), who.token) for who in WORLD.taxpayers
    ]
    analysts = folder / "ksef.duckdb"
    with serve(Emulator(WORLD, clock, limits="off")) as base_url:
        box = TimeBox(SimulatedClock(clock))
        options = Options(
            exports_per_hour=4, exports_from=WORLD.since, subject_types=("Subject1", "Subject2")
        )
        load_clients(make_clients(base_url, logins, box), load_file(analysts), box, options)
    build(load_file(analysts), analysts)
    change(analysts, f"update published set published_at = '{LOADED_AT.isoformat()}'")
    return folder


def copy_published(folder: Path, *, healthy: bool = False) -> Path:
    """Copy both files into `folder`; the analysts' one without problems, if `healthy`."""
    for path in once("published", _load_and_build).glob("*.duckdb"):
        shutil.copy(path, folder)
    analysts = folder / "ksef.duckdb"
    if healthy:
        change(analysts, HEAL_SQL)
    return analysts


def change(database: Path, sql: str) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(sql)
