"""A database that an earlier release loaded goes on with today's code, and nothing is lost."""

import lzma
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from kseflow.marts.build import build
from kseflow.watch.check import check
from kseflow.watch.finding import State
from tests.older_databases import FOLDER, LOADED_AT, WORLD, load

RELEASES = sorted(FOLDER.glob("*.duckdb.xz"))


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name.partition(".")[0])
def test_a_released_database_loads_builds_and_checks(release: Path, tmp_path: Path) -> None:
    database, analysts = tmp_path / "ksef-load.duckdb", tmp_path / "ksef.duckdb"
    database.write_bytes(lzma.decompress(release.read_bytes()))
    now = LOADED_AT + timedelta(hours=20)
    assert load(database, now).failed_taxpayers == []
    assert build(database, analysts).warnings == []
    verdict = check(analysts, now=now + timedelta(minutes=30))
    assert not [f for f in verdict.findings if f.state is State.UNKNOWN]
    with duckdb.connect(str(database), read_only=True) as connection:
        for taxpayer in WORLD.taxpayers:
            stored = connection.execute(
                "select reference_number from ksef_raw.sessions where context_id = ?",
                [taxpayer.context_id],
            ).fetchall()
            true = WORLD.sessions(taxpayer.context_id, now)
            assert {row[0] for row in stored} == {item["referenceNumber"] for item in true}
            assert len(stored) == len(true) >= 10
