"""Analysts read at every moment, and always one state."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from ksef_emulator import VirtualClock
from kseflow.errors import WarehouseError
from kseflow.marts.build import build
from kseflow.marts.publish import last_published, publish
from tests.sql.loaded import NOW, loading, make_world

if TYPE_CHECKING:
    from tests.sql.conftest import Built

READER = Path(__file__).with_name("reader.py")
LOADS = 10
NEWS_SQL = "update ksef_raw.sessions set status_description = 'changed'"


def test_readers_never_fail_and_never_see_a_mixed_state_through_ten_loads(
    tmp_path: Path,
) -> None:
    database, analysts, stop = (tmp_path / name for name in ("load.duckdb", "ksef.duckdb", "stop"))
    clock = VirtualClock(NOW)
    with loading(make_world(days=2, sessions_per_day=6), clock, database) as load_once:
        load_once()
        build(database, analysts)
        readers = [
            subprocess.Popen(
                [sys.executable, str(READER), str(analysts), str(stop)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        try:
            for n in range(LOADS):
                clock.sleep(3600)
                load_once()
                with duckdb.connect(str(database)) as connection:  # it may have found nothing new
                    connection.execute(f"{NEWS_SQL} || '{n}'")
                assert build(database, analysts).is_published
        finally:
            stop.touch()
            told = [json.loads(reader.communicate(timeout=60)[0]) for reader in readers]
    for reader in told:
        assert reader["failures"] == []
        assert reader["polls"] > 2 * LOADS
        assert len(reader["runs"]) > LOADS // 2  # it saw most states, each once and in order
        assert reader["runs"] == sorted(set(reader["runs"]))


def test_nothing_is_published_when_nothing_changed(built: "Built", tmp_path: Path) -> None:
    database, analysts = tmp_path / "load.duckdb", tmp_path / "ksef.duckdb"
    shutil.copy(built.database, database)
    first = publish(database, analysts)
    inode = analysts.stat().st_ino
    assert publish(database, analysts) == first
    assert analysts.stat().st_ino == inode
    with duckdb.connect(str(database)) as connection:
        connection.execute(NEWS_SQL)
    assert publish(database, analysts).fingerprint != first.fingerprint
    assert analysts.stat().st_ino != inode


def test_the_published_file_tells_when_it_was_made_and_of_what(built: "Built") -> None:
    published = last_published(built.analysts)
    assert published is not None
    assert published == built.summary.published
    with duckdb.connect(str(built.database), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        told = connection.sql("select max(run_id), max(read_at) from ksef_raw.sync_log").fetchall()
    (run_id, read_at) = told[0]
    assert published.run_id == run_id
    assert published.as_of is not None
    assert published.as_of <= read_at


def test_an_analyst_who_keeps_the_file_open_stops_neither_load_nor_publishing(
    built: "Built", tmp_path: Path
) -> None:
    database, analysts = tmp_path / "load.duckdb", tmp_path / "ksef.duckdb"
    shutil.copy(built.database, database)
    publish(database, analysts)
    visitor = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import duckdb, sys; c = duckdb.connect(sys.argv[1]); "
            "c.execute('create table mine as select 1'); print('open', flush=True); input()",
            str(analysts),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert visitor.stdout is not None
        assert visitor.stdout.readline() == "open\n"
        with duckdb.connect(str(database)) as connection:
            connection.execute(NEWS_SQL)
        published = publish(database, analysts)
        assert last_published(analysts) == published
    finally:
        visitor.communicate("\n")
    assert last_published(analysts) == published
    assert not list(tmp_path.glob("*.wal"))


def test_a_file_that_kseflow_did_not_publish_is_never_overwritten(
    built: "Built", tmp_path: Path
) -> None:
    precious = tmp_path / "precious.duckdb"
    with duckdb.connect(str(precious)) as connection:
        connection.execute("create table mine as select 1 as i")
    with pytest.raises(WarehouseError, match="was not published by kseflow"):
        build(built.database, precious)
    with pytest.raises(WarehouseError, match="the load's own file"):
        publish(built.database, built.database)


def test_a_broken_file_is_not_taken_for_a_locked_one_because_of_its_path(tmp_path: Path) -> None:
    precious = tmp_path / "clockwork" / "ksef.duckdb"
    precious.parent.mkdir()
    precious.write_text("not a database" * 1000)
    with pytest.raises(WarehouseError, match="cannot be read"):
        last_published(precious)


def test_a_publishing_that_breaks_off_leaves_the_last_file_and_no_other(
    built: "Built", tmp_path: Path
) -> None:
    database, analysts = tmp_path / "load.duckdb", tmp_path / "ksef.duckdb"
    shutil.copy(built.database, database)
    publish(database, analysts)
    before = analysts.read_bytes()
    with duckdb.connect(str(database)) as connection:
        connection.execute(NEWS_SQL)
        connection.execute("drop table ksef_raw.sync_log")  # a view of staging now fails
    with pytest.raises(WarehouseError, match="sync_log"):
        publish(database, analysts)
    assert analysts.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ksef.duckdb", "load.duckdb"]


def test_clients_of_duckdb_1_open_what_is_published(built: "Built") -> None:
    old_client = Path(sys.prefix) / "duckdb-1.2"
    assert old_client.exists(), "make .venv/duckdb-1.2 installs the old client that this runs"
    asked = (
        "import duckdb, sys; marts = duckdb.connect(sys.argv[1], read_only=True); "
        "print(duckdb.__version__, "
        "*marts.execute('select sum(decided_count) from marts.daily_outcomes').fetchone(), "
        "*marts.execute('select count(*) from staging.stg_session_invoices').fetchone())"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked, str(built.analysts)],
        env={"PYTHONPATH": str(old_client)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    version, decided, rows = done.stdout.split()
    assert version.startswith("1.2.")
    with duckdb.connect(str(built.analysts), read_only=True) as connection:
        assert connection.sql(
            "select (select sum(decided_count) from marts.daily_outcomes)::bigint, "
            "(select count(*) from staging.stg_session_invoices)"
        ).fetchall() == [(int(decided), int(rows))]


def told(analysts: Path) -> dict[str, list[tuple[int, int]]]:
    """Return of each mart without fractions how many rows it has, and a sum over all values."""
    with duckdb.connect(str(analysts), read_only=True) as connection:
        marts = connection.sql(
            "select table_name from duckdb_columns() where schema_name in ('marts', 'staging') "
            "group by 1 having not bool_or(data_type = 'DOUBLE') order by 1"
        ).fetchall()
        connection.execute("set search_path = 'marts,staging'")
        return {
            mart: connection.sql(f"select count(*), sum(hash({mart})) from {mart}").fetchall()
            for (mart,) in marts
        }


def test_what_is_too_much_for_memory_is_built_in_a_file_that_is_gone_afterwards(
    built: "Built", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, analysts = tmp_path / "load.duckdb", tmp_path / "ksef.duckdb"
    shutil.copy(built.database, database)
    monkeypatch.setattr("kseflow.marts.rounds.IN_MEMORY_BYTES", 0)
    build(database, analysts)
    assert told(analysts) == told(built.analysts)
    assert len(told(analysts)) > 15
    assert list((tmp_path / ".load-dbt").glob("*.duckdb*")) == []
