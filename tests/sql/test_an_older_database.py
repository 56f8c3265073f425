"""A database that an older version loaded: newer models build on it, and say what it lacks."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from ksef_emulator import VirtualClock
from kseflow.marts.build import build
from kseflow.raw.arrow import Table
from kseflow.raw.tables import TABLES
from tests.sql.loaded import NOW, loading, make_world

if TYPE_CHECKING:
    from tests.sql.conftest import Built


def newest(table: Table) -> str:
    """Return the last column that an older version may have lacked: a nullable one, if any."""
    old = {*table.key, "context_type", "context_id", "unrecognised", "read_at"}
    columns = [column for column in table.columns if column.name not in old]
    return ([c.name for c in columns if not c.is_required] or [c.name for c in columns])[-1]


NEWEST = {table.name: newest(table) for table in TABLES}


def drop_newest(database: Path, *, but: str = "") -> None:
    """Leave what an older version would: tables with fewer columns, and no schema of this one."""
    with duckdb.connect(str(database)) as connection:
        for table, column in NEWEST.items():
            if table == but:
                continue
            connection.execute(f"alter table ksef_raw.{table} drop column {column}")
        connection.execute("delete from ksef_raw._dlt_version")


def test_a_column_that_an_older_load_lacks_is_null_and_the_build_says_to_load(
    built: "Built", tmp_path: Path
) -> None:
    database = tmp_path / "load.duckdb"
    shutil.copy(built.database, database)
    drop_newest(database)
    summary = build(database, tmp_path / "ksef.duckdb")
    assert set(summary.node_counts) == {"success", "pass", "warn"}
    (warning,) = summary.warnings
    assert "every_raw_column_is_loaded" in warning
    assert "run kseflow load" in warning
    told = "select count(*), sum(accepted_count) from marts.daily_outcomes"
    with duckdb.connect(str(built.analysts), read_only=True) as connection:
        before = connection.sql(told).fetchall()
    with duckdb.connect(str(tmp_path / "ksef.duckdb"), read_only=True) as connection:
        assert connection.sql(told).fetchall() == before
        for table in TABLES:
            (column,) = (c for c in table.columns if c.name == NEWEST[table.name])
            filled = (
                f"select count({column.staged_as or column.name}) from staging.stg_{table.name}"
            )
            assert connection.sql(filled).fetchall() == [(0,)], table.name


def test_the_next_load_adds_what_an_older_one_lacked(tmp_path: Path) -> None:
    database = tmp_path / "load.duckdb"
    with loading(make_world(days=1, sessions_per_day=1), VirtualClock(NOW), database) as load_once:
        load_once()
        drop_newest(database, but="api_requests")  # the budget is counted by its last column
        load_once()
    with duckdb.connect(str(database), read_only=True) as connection:
        for table in TABLES:
            there = connection.sql(f"from ksef_raw.{table.name}").columns
            assert set(table.schema.names) <= set(there), table.name
