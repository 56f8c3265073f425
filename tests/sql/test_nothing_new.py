"""What a build does when nothing changed, and that neither loads nor builds wait for each other."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from ksef_emulator import VirtualClock
from kseflow.database import locked
from kseflow.errors import WarehouseError
from kseflow.marts.build import build
from kseflow.marts.fingerprint import fingerprint
from kseflow.marts.publish import last_published
from kseflow.marts.snapshot import copy_between_commits
from kseflow.watch.check import check
from tests.sql.loaded import NOW, loading, make_world

if TYPE_CHECKING:
    from tests.sql.conftest import Built

HOUR = timedelta(hours=1)
# A later load that was told nothing new: it lists a session again, and writes its logs.
NOTHING_NEW_SQL = """
insert into ksef_raw.sync_log by name
select * replace (
    '99990101T000000Z' as run_id, ended_at + interval {hours} hours as ended_at,
    started_at + interval {hours} hours as started_at
)
from ksef_raw.sync_log
qualify row_number() over (partition by context_id, resource order by run_id desc) = 1;
update ksef_raw.sessions set read_at = read_at + interval 1 second
where reference_number = (select max(reference_number) from ksef_raw.sessions);
insert into ksef_raw.export_packages by name
select * replace (
    'later' as reference_number, requested_at + interval 1 hour as requested_at,
    0 as metadata_count, 0 as invoice_count, read_at + interval 1 minute as read_at
)
from ksef_raw.export_packages
where status_code = 200 and error is null and not is_effectively_truncated and requested_to is null
qualify row_number() over (order by requested_at desc) = 1;
insert into ksef_raw._dlt_loads from ksef_raw._dlt_loads limit 1;
"""


@pytest.fixture
def copied(built: "Built", tmp_path: Path) -> tuple[Path, Path]:
    """The load's file and the analysts' one, published from it."""
    database, analysts = tmp_path / "load.duckdb", tmp_path / "ksef.duckdb"
    shutil.copy(built.database, database)
    shutil.copy(built.analysts, analysts)
    return database, analysts


def execute(database: Path, sql: str) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(sql)


def made_of(database: Path) -> str:
    with duckdb.connect(str(database), read_only=True) as connection:
        return fingerprint(connection)


def as_of(analysts: Path) -> datetime:
    published = last_published(analysts)
    assert published is not None
    assert published.as_of is not None
    return published.as_of


def test_a_load_that_finds_nothing_new_is_noted_and_nothing_is_built(
    copied: tuple[Path, Path],
) -> None:
    database, analysts = copied
    before, contents = last_published(analysts), analysts.read_bytes()
    execute(database, NOTHING_NEW_SQL.format(hours=2))
    summary = build(database, analysts)
    assert (summary.node_counts, summary.is_published) == ({}, False)
    assert analysts.read_bytes() == contents
    after = last_published(analysts)
    assert before is not None
    assert after is not None
    assert (after.fingerprint, after.published_at) == (before.fingerprint, before.published_at)
    assert before.looked_at is None
    assert after.looked_at is not None
    assert after.run_id == "99990101T000000Z"
    assert as_of(analysts) > NOW + 5 * HOUR
    assert list((database.parent / ".load-dbt").glob("*.duckdb*")) == []


def test_a_world_that_stands_still_is_built_once_and_its_age_goes_on(tmp_path: Path) -> None:
    database, analysts = tmp_path / "load.duckdb", tmp_path / "ksef.duckdb"
    clock = VirtualClock(NOW)
    with loading(make_world(days=2, sessions_per_day=3), clock, database) as load_once:
        load_once()
        first = build(database, analysts)
    with loading(
        make_world(days=2, sessions_per_day=3), clock, database, is_frozen=True
    ) as load_once:
        load_once()  # a receipt or an outcome may have come
        build(database, analysts)
        seen, told = as_of(analysts), made_of(database)
        load_once()
    assert first.node_counts
    assert made_of(database) == told
    second = build(database, analysts)
    assert second.node_counts == {}
    assert as_of(analysts) >= seen
    noted = as_of(analysts)
    full = build(database, analysts, full=True)
    assert full.node_counts
    assert as_of(analysts) == noted


@pytest.mark.parametrize(
    "change",
    [
        "update ksef_raw.sessions set failed_invoice_count = failed_invoice_count + 1",
        "update ksef_raw.session_invoices set status_code = 499 where status_code = 410",
        "update ksef_raw.session_invoices set status_extensions = '{}' where status_code = 440",
        "delete from ksef_raw.failed_invoices where ordinal_number = 1",
        "update ksef_raw.invoice_metadata set read_at = read_at + interval 1 microsecond",
        "alter table ksef_raw.sessions add column more integer",
        "drop table ksef_raw.upo_reads",
        "update ksef_raw.sync_log set taxpayer_name = 'ACME'",
        "update ksef_raw.sync_log set outcome = 'failed'",
        "update ksef_raw.sync_log set credential_ends_at = '2026-12-31'",
        "insert into ksef_raw.api_warnings by name "
        "select context_type, context_id, 'r' as run_id, 'sessionList' as api_group, 'a text' "
        "as message, 1 as answer_count, read_at, read_at as first_seen_at, read_at as last_seen_at "
        "from ksef_raw.sync_log",
    ],
)
def test_whatever_is_loaded_changes_what_a_file_is_made_of(
    copied: tuple[Path, Path], change: str
) -> None:
    database, _ = copied
    before = made_of(database)
    execute(database, change)
    assert made_of(database) != before


def test_logs_alone_do_not_change_what_a_file_is_made_of(copied: tuple[Path, Path]) -> None:
    database, _ = copied
    before = made_of(database)
    execute(database, NOTHING_NEW_SQL.format(hours=2))
    execute(database, "update ksef_raw.api_requests set request_count = request_count + 1")
    assert made_of(database) == before


@pytest.mark.parametrize(
    ("hours", "sql"),
    [
        (24, "select 1"),  # a new day
        (
            1,
            "update marts.sessions set is_stuck = false, stuck_at = (select as_of from published) "
            "+ interval 1 minute where session_reference_number = "
            "(select max(session_reference_number) from marts.sessions)",
        ),
    ],
)
def test_time_alone_makes_a_build_due(copied: tuple[Path, Path], hours: int, sql: str) -> None:
    database, analysts = copied
    execute(analysts, sql)
    execute(database, NOTHING_NEW_SQL.format(hours=hours))
    assert build(database, analysts).is_published
    assert as_of(analysts) > NOW


def test_a_check_counts_from_the_last_look_and_tells_the_last_trouble(
    copied: tuple[Path, Path],
) -> None:
    database, analysts = copied
    execute(analysts, "update published set published_at = published_at - interval 3 days")
    execute(database, NOTHING_NEW_SQL.format(hours=2))
    execute(
        database,
        "update ksef_raw.sync_log set message = 'the newest trouble' "
        "where run_id = '99990101T000000Z' and outcome = 'failed'",
    )
    assert build(database, analysts).node_counts == {}
    listed = as_of(analysts)
    verdict = check(analysts, now=listed + HOUR)
    ages = {f.topic: f.measure and f.measure.value for f in verdict.findings}
    assert verdict.as_of == listed
    assert ages["load_age_hours"] == pytest.approx(1, abs=0.2)
    looked = last_published(analysts)
    assert looked is not None
    assert looked.looked_at is not None
    verdict = check(analysts, now=looked.looked_at + HOUR)
    ages = {f.topic: f.measure and f.measure.value for f in verdict.findings}
    assert ages["published_age_hours"] == pytest.approx(1)


@pytest.mark.parametrize("noted", ["", "{", "[]", '{"fingerprint": 1}', '{"log": [{}]}'])
def test_a_note_that_cannot_be_read_is_none(copied: tuple[Path, Path], noted: str) -> None:
    _, analysts = copied
    before = last_published(analysts)
    (analysts.parent / ".ksef.duckdb.looked.json").write_text(noted)
    assert last_published(analysts) == before
    assert check(analysts, now=NOW).published_at == (before and before.published_at)


@contextmanager
def loads_meanwhile(database: Path) -> Iterator[list[int]]:
    """Hold the lock and commit now and then, as a load does; give the rows committed."""
    rows: list[int] = []
    end = threading.Event()

    def commit() -> None:
        with locked(database, 3):
            while not end.is_set():
                execute(database, f"insert into ksef_raw.later values ({len(rows)})")
                rows.append(len(rows))
                end.wait(2)

    execute(database, "create table ksef_raw.later (i integer)")
    thread = threading.Thread(target=commit)
    thread.start()
    try:
        yield rows
    finally:
        end.set()
        thread.join()


def test_loads_commit_while_the_marts_are_built_and_lose_nothing(
    copied: tuple[Path, Path],
) -> None:
    database, analysts = copied
    with loads_meanwhile(database) as rows:
        assert build(database, analysts).is_published
    assert len(rows) > 1
    with duckdb.connect(str(database), read_only=True) as connection:
        assert connection.sql("select i from ksef_raw.later order by i").fetchall() == [
            (row,) for row in rows
        ]


def test_a_build_does_not_wait_for_a_load_that_runs(copied: tuple[Path, Path]) -> None:
    database, analysts = copied
    execute(database, NOTHING_NEW_SQL.format(hours=2))
    with locked(database, 0):
        assert build(database, analysts, lock_wait_s=30).node_counts == {}


def test_a_file_that_is_written_all_the_time_is_named(tmp_path: Path) -> None:
    database = tmp_path / "load.duckdb"
    execute(database, "create table t (i integer)")
    with pytest.raises(WarehouseError, match="is being written without a pause"):
        copy_between_commits(database, tmp_path / "copy.duckdb", wait_s=0, quiet_s=3600)


def test_what_a_commit_left_in_the_log_is_in_the_copy(tmp_path: Path) -> None:
    database, copy = tmp_path / "load.duckdb", tmp_path / "apart" / "load.duckdb"
    copy.parent.mkdir()
    with duckdb.connect(str(database)) as connection:
        connection.execute("set checkpoint_threshold = '1GB'")
        connection.execute("create table t as select 7 as i")
        copy_between_commits(database, copy, wait_s=0, quiet_s=0)
    with duckdb.connect(str(copy)) as connection:
        assert connection.sql("from t").fetchall() == [(7,)]
