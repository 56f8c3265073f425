"""The database is the only memory: whatever else an earlier load left counts for nothing."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dlt.common.versioned_state import compress_state, decompress_state

from ksef_emulator import ExportSettings
from kseflow.constants import KSEF_BEGINS
from kseflow.database import working_folder
from kseflow.errors import ConfigurationError
from tests.conftest import Stage

Make = Callable[..., Stage]
REFERENCES = "select reference_number from ksef_raw.sessions"
INVOICES = "select reference_number from ksef_raw.session_invoices"
NUMBERS = "select ksef_number from ksef_raw.invoice_metadata where subject_type = 'Subject1'"


def everything(made: Stage) -> dict[str, set[object]]:
    found = {}
    for sql in (REFERENCES, INVOICES, NUMBERS):
        found[sql] = {value for row in made.rows(sql) for value in row.values()}
    return found


def test_an_older_database_beside_a_newer_working_folder_gets_everything_again(
    stage: Make, tmp_path: Path
) -> None:
    made = stage(taxpayers=1, days=2, exports_per_hour=4, exports=ExportSettings())
    options: dict[str, Any] = {
        "exports_from": made.world.since,
        "subject_types": ("Subject1",),
    }
    made.load(**options)
    older = shutil.copy(made.database, tmp_path / "older.duckdb")
    made.clock.sleep(timedelta(days=2).total_seconds())
    made.load(**options)
    newer = everything(made)
    shutil.copy(older, made.database)
    assert everything(made) != newer
    made.clock.sleep(timedelta(hours=1).total_seconds())
    made.load(**options)
    assert all(newer[sql] <= found for sql, found in everything(made).items())
    true = {s["referenceNumber"] for s in made.world.sessions(made.contexts[0].id, made.at)}
    assert everything(made)[REFERENCES] >= true


@pytest.mark.parametrize("left", ["normalize/extracted", "load/normalized", "load/new", ""])
def test_nothing_in_a_working_folder_stops_a_load(stage: Make, left: str) -> None:
    made = stage(taxpayers=1, days=1)
    made.load()
    folder = working_folder(made.database)
    folders = [path for path in folder.rglob("*") if path.is_dir()] or [folder]
    for place in folders if left else [folder]:
        if not left or left.split("/")[0] in place.parts:
            odd = place / "1789000000.123" / "odd.parquet"
            odd.parent.mkdir(parents=True, exist_ok=True)
            odd.write_bytes(b"cut")
    for path in folder.rglob("*.json"):
        path.write_text("{")
    made.clock.sleep(3600)
    assert made.load().failed_taxpayers == []


def test_a_late_start_is_told_and_filled_in_by_the_next_load(stage: Make) -> None:
    made = stage(taxpayers=1, days=6)
    late = made.at - timedelta(days=1)
    made.load(since=late, only=["sessions"])
    (state,) = made.status()
    assert state.reaches_back_to == late
    reached = "select max(reaches_back_to) from ksef_raw.sync_log where resource like 'sessions%'"
    assert made.value(reached) == late
    made.clock.sleep(3600)
    made.load(only=["sessions"])
    (state,) = made.status()
    assert state.reaches_back_to == KSEF_BEGINS
    stored = {row["reference_number"] for row in made.rows(REFERENCES)}
    true = made.world.sessions(made.contexts[0].id, made.at)
    assert stored >= {session["referenceNumber"] for session in true}
    made.clock.sleep(3600)
    made.load(only=["sessions"])
    assert made.value("select max(modified_from) from ksef_raw.sync_log") > made.at - timedelta(
        hours=6
    )


def test_exports_walk_back_when_they_are_to_begin_earlier(stage: Make) -> None:
    made = stage(taxpayers=1, days=6, exports_per_hour=20)
    options: dict[str, Any] = {"subject_types": ("Subject1",)}
    made.load(**options, exports_from=made.at - timedelta(days=1))
    few = len(made.rows(NUMBERS))
    made.clock.sleep(3600)
    made.load(**options, exports_from=made.world.since)
    context_id, now = made.contexts[0].id, made.clock.now()
    true = {row["ksefNumber"] for row in made.world.exported(context_id, "Subject1", made.at)}
    stored = {row["ksef_number"] for row in made.rows(NUMBERS)}
    assert stored >= true
    assert len(stored) > few
    asked = made.value("select count(*) from ksef_raw.export_packages")
    made.clock.sleep(3600)
    made.load(**options)
    again = made.rows("from ksef_raw.export_packages order by requested_at")[asked:]
    assert [row["requested_from"] > now - timedelta(days=1) for row in again] == [True]


@pytest.mark.parametrize("name", ["since", "exports_from"])
def test_a_beginning_in_the_future_is_refused(stage: Make, name: str) -> None:
    made = stage(taxpayers=1)
    with pytest.raises(ConfigurationError, match=f"{name} is 2099-01-01.*not come yet"):
        made.load(**{name: datetime(2099, 1, 1, tzinfo=UTC)})  # type: ignore[arg-type]


def test_cursors_after_now_are_not_believed(stage: Make) -> None:
    """A clock that was a month ahead in one load hid everything until then."""
    made = stage(taxpayers=1, days=3, exports_per_hour=20)
    options: dict[str, Any] = {"subject_types": ("Subject1",), "exports_from": made.world.since}
    made.load(**options)
    # As a version that believed such a clock has kept them.
    with duckdb.connect(str(made.database)) as connection:
        found = connection.execute(
            "select state from ksef_raw._dlt_pipeline_state order by version desc limit 1"
        ).fetchall()[0][0]
        state: Any = decompress_state(found)
        resources = state["sources"]["ksef"]["resources"]
        for key, cursor in resources["sessions"].items():
            resources["sessions"][key] = cursor | {"cursor": "2026-12-24T10:00:00.000000+00:00"}
        for key, cursor in resources["export_packages"].items():
            resources["export_packages"][key] = cursor | {"next_from": "2026-12-24T10:00:00+00:00"}
        connection.execute(
            "update ksef_raw._dlt_pipeline_state set state = ?", [compress_state(state)]
        )
    made.clock.sleep(timedelta(hours=7).total_seconds())
    now = made.clock.now()
    summary = made.load(**options)
    assert {log["outcome"] for log in summary.logs} == {"ok"}
    context_id = made.contexts[0].id
    stored = {row["reference_number"] for row in made.rows(REFERENCES)}
    true = made.world.sessions(context_id, now)
    assert stored >= {session["referenceNumber"] for session in true}
    numbers = {row["ksef_number"] for row in made.rows(NUMBERS)}
    exported = made.world.exported(context_id, "Subject1", now - timedelta(hours=1))
    assert numbers >= {row["ksefNumber"] for row in exported}
    assert made.value("select max(cursor_text) from ksef_raw.sync_log") < "2026-12"


@pytest.mark.parametrize("some", [True, False])
def test_failures_that_only_one_of_two_tables_has_are_read_again(stage: Make, some: bool) -> None:
    """Each table is committed on its own, and a load may be cut off in between."""
    made = stage(taxpayers=1, days=2)
    made.load(in_progress="all")
    sql = "select reference_number from ksef_raw.failed_invoices"
    before = {row["reference_number"] for row in made.rows(sql)}
    with duckdb.connect(str(made.database)) as connection:
        one = "(select min(session_reference_number) from ksef_raw.failed_invoices)"
        where = f"where session_reference_number = {one}" if some else ""
        connection.execute(f"delete from ksef_raw.failed_invoices {where}")
    assert {row["reference_number"] for row in made.rows(sql)} < before
    made.clock.sleep(60)
    made.load(in_progress="all")
    assert {row["reference_number"] for row in made.rows(sql)} >= before
