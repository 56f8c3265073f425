"""The database is the only memory: whatever else an earlier load left counts for nothing."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ksef_emulator import ExportSettings
from kseflow.database import working_folder
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
    options = {"exports_from": made.world.since, "subject_types": ("Subject1",)}
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
