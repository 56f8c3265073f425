"""One taxpayer's odd row keeps nobody else's figures old."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from kseflow.marts.build import BuildFailed, build
from kseflow.watch.check import check

if TYPE_CHECKING:
    from tests.sql.conftest import Built

# Each breaks a promise, or a model itself, by rows of the first taxpayer alone.
ODD_ROWS = {
    "a session twice": (
        "insert into ksef_raw.sessions from ksef_raw.sessions where context_id = '{nip}' limit 1"
    ),
    "an invoice without a day": (
        "alter table ksef_raw.session_invoices alter invoicing_date drop not null; "
        "update ksef_raw.session_invoices set invoicing_date = null where context_id = '{nip}'"
    ),
    "a field that is no JSON": (
        "update ksef_raw.session_invoices set status_extensions = '{{broken' "
        "where context_id = '{nip}' and status_extensions is not null"
    ),
}


@pytest.fixture
def copied(built: "Built", tmp_path: Path) -> tuple[Path, Path]:
    database, analysts = tmp_path / "load.duckdb", tmp_path / "ksef.duckdb"
    shutil.copy(built.database, database)
    shutil.copy(built.analysts, analysts)
    return database, analysts


def change(database: Path, sql: str) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(sql)


def value(database: Path, sql: str) -> Any:
    with duckdb.connect(str(database), read_only=True) as connection:
        (row,) = connection.execute(sql).fetchall()
        return row[0]


@pytest.mark.parametrize("oddity", ODD_ROWS)
def test_the_others_are_published_without_it_and_it_is_named(
    built: "Built", copied: tuple[Path, Path], oddity: str
) -> None:
    database, analysts = copied
    odd, other = sorted(who.context_id for who in built.world.taxpayers)
    before = value(analysts, f"select count(*) from marts.invoices where context_id = '{other}'")
    change(database, ODD_ROWS[oddity].format(nip=odd))
    change(
        database,
        f"update ksef_raw.sync_log set message = 'looked again' where context_id = '{other}'",
    )
    summary = build(database, analysts)
    assert summary.is_published
    assert [taxpayer.context_id for taxpayer in summary.left_out] == [odd]
    assert value(analysts, f"select count(*) from marts.invoices where context_id = '{other}'") == (
        before
    )
    assert value(analysts, "select count(distinct message) from staging.stg_sync_log") == 1
    for table in (
        "marts.invoices",
        "marts.sessions",
        "marts.daily_outcomes",
        "staging.stg_sessions",
    ):
        assert value(analysts, f"select count(*) from {table} where context_id = '{odd}'") == 0
    (named,) = json.loads(value(analysts, "select left_out from published"))
    assert (named["context_type"], named["context_id"]) == ("Nip", odd)
    assert named["reason"]
    verdict = check(analysts)
    found = [f for f in verdict.findings if f.topic == "left_out"]
    assert {(f.taxpayer.id, f.state.name) for f in found if f.taxpayer} == {
        (odd, "CRITICAL"),
        (other, "OK"),
    }


def test_it_is_taken_in_again_by_the_next_build_once_its_rows_are_right(
    built: "Built", copied: tuple[Path, Path]
) -> None:
    database, analysts = copied
    odd, _ = sorted(who.context_id for who in built.world.taxpayers)
    change(database, f"create table twice as from ksef_raw.sessions where context_id = '{odd}'")
    change(database, "insert into ksef_raw.sessions from twice")
    assert build(database, analysts).left_out != []
    change(database, f"delete from ksef_raw.sessions where context_id = '{odd}'")
    change(database, "insert into ksef_raw.sessions from twice; drop table twice")
    summary = build(database, analysts)
    assert summary.left_out == []
    assert summary.is_published
    assert value(analysts, "select left_out from published") == "[]"
    assert value(analysts, f"select count(*) > 0 from marts.sessions where context_id = '{odd}'")


def test_when_everybodys_rows_are_odd_nothing_is_published(copied: tuple[Path, Path]) -> None:
    database, analysts = copied
    before = analysts.read_bytes()
    change(database, "insert into ksef_raw.sessions from ksef_raw.sessions")
    with pytest.raises(BuildFailed, match="unique_combination_stg_sessions"):
        build(database, analysts)
    assert analysts.read_bytes() == before
