"""The SQL that asks the marts, in a real DuckDB with tables of their shape."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest
import yaml

from kseflow.trends import WINDOW_DAYS, Anomaly, anomalies, as_table, read_inputs

TODAY = date(2026, 11, 22)
SHAPE = """
create schema marts;
create table marts.as_of (as_of timestamptz, as_of_day date);
create table marts.sessions (
    context_type varchar, context_id varchar, session_reference_number varchar, created_day date
);
create table marts.session_days (
    context_type varchar, context_id varchar, session_type varchar,
    session_reference_number varchar, day date, accepted_count bigint, failed_count bigint,
    decided_count bigint, from_counters_count bigint
);
create table marts.session_reasons (
    context_type varchar, context_id varchar, session_reference_number varchar, day date,
    category varchar, normalised_message varchar, failed_count bigint, open_failed_count bigint
);
create table marts.invoices (
    context_type varchar, context_id varchar, session_type varchar,
    session_reference_number varchar, submitted_day date, is_settled boolean,
    seconds_to_acceptance double
);
"""


@pytest.fixture
def marts() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(SHAPE)
        yield connection


def load(marts: duckdb.DuckDBPyConnection) -> None:
    """Two taxpayers with two sessions each, one long ago; one session still open."""
    marts.execute("insert into marts.as_of values ('2026-11-22 12:00+01', '2026-11-22')")
    days = {"N": date(2026, 11, 20), "O": TODAY - timedelta(days=WINDOW_DAYS)}
    for taxpayer in "AB":
        for name, day in days.items():
            marts.execute("insert into marts.sessions values ('Nip', $1, $2, $3)",
                          [taxpayer, name, day])  # fmt: skip
            marts.execute(
                "insert into marts.session_days values ('Nip', $1, 'Online', $2, $3, 8, 2, 10, 4)",
                [taxpayer, name, day],
            )
            marts.execute(
                "insert into marts.session_reasons values ('Nip', $1, $2, $3, 'file', 'm', 2, 0), "
                "('Nip', $1, $2, $3, 'open', 'm', 0, 5)",
                [taxpayer, name, day],
            )
            marts.execute(
                "insert into marts.invoices values "
                "('Nip', $1, 'Online', $2, $3, true, 10), ('Nip', $1, 'Online', $2, $3, true, 30), "
                "('Nip', $1, 'Online', $2, $3, true, -5), ('Nip', $1, 'Online', $2, $3, false, 99),"
                "('Nip', $1, 'Online', $2, $3, true, null), ('Nip', $1, 'Batch', $2, $3, true, 9)",
                [taxpayer, name, day],
            )
    marts.execute(
        "insert into marts.session_days "
        "values ('Nip', 'A', 'Online', 'E', '2026-11-20', 0, 0, 0, 0)"
    )


def test_before_the_first_load_there_is_nothing_to_tell(marts: duckdb.DuckDBPyConnection) -> None:
    assert read_inputs(marts) is None
    assert as_table([]).num_rows == 0


def test_the_last_ninety_days_of_closed_sessions_are_read(
    marts: duckdb.DuckDBPyConnection,
) -> None:
    load(marts)
    found = read_inputs(marts)
    assert found is not None
    assert found.as_of_day == TODAY
    assert [
        (row["context_id"], row["session_reference_number"], row["failed_count"])
        for row in sorted(found.session_days.to_pylist(), key=lambda row: row["context_id"])
    ] == [("A", "N", 2), ("B", "N", 2)]
    reasons = sorted(found.session_reasons.to_pylist(), key=lambda row: row["context_id"])
    assert [(row["context_id"], row["category"]) for row in reasons] == [
        ("A", "file"),
        ("B", "file"),
    ]
    assert sorted(row["context_id"] for row in found.taxpayers.to_pylist()) == ["A", "B"]


def test_acceptance_is_that_of_settled_online_invoices_and_never_negative(
    marts: duckdb.DuckDBPyConnection,
) -> None:
    load(marts)
    found = read_inputs(marts)
    assert found is not None
    assert [(r["accepted_count"], r["median_seconds"]) for r in found.acceptance.to_pylist()] == [
        (2, 20.0),
        (2, 20.0),
    ]


def test_a_notebook_chooses_taxpayers_and_days_with_its_own_macro(
    marts: duckdb.DuckDBPyConnection,
) -> None:
    load(marts)
    marts.execute(
        "create temp macro chosen(taxpayer, day) as taxpayer = 'B' and day >= date '2026-11-01'"
    )
    found = read_inputs(marts, "chosen(context_id, day)")
    assert found is not None
    for table in (found.session_days, found.session_reasons, found.acceptance, found.taxpayers):
        assert {row["context_id"] for row in table.to_pylist()} == {"B"}
    earlier = read_inputs(marts, as_of_day=TODAY - timedelta(days=1))
    assert earlier is not None
    assert earlier.session_days.num_rows == 4


def test_rows_come_back_from_duckdb_as_they_went_in(marts: duckdb.DuckDBPyConnection) -> None:
    load(marts)
    found = read_inputs(marts)
    assert found is not None
    rows = anomalies(found)
    assert [(row.context_id, row.kind, row.anomaly_number) for row in rows] == [
        (None, "headline", 1),
        ("A", "headline", 1),
        ("B", "headline", 1),
    ]
    table = as_table(rows)
    marts.register("told", table)
    assert marts.sql("from told").fetchall() == [tuple(vars(row).values()) for row in rows]


def test_the_mart_describes_each_column_and_each_kind() -> None:
    models = Path(__file__).parents[2] / "sql/models/marts"
    (model,) = yaml.safe_load((models / "anomalies.yml").read_text())["models"]
    assert [column["name"] for column in model["columns"]] == list(Anomaly.__dataclass_fields__)
    described = {column["name"]: column["data_type"] for column in model["columns"]}
    names = {"string": "varchar", "int64": "bigint", "double": "float8", "bool": "boolean"}
    found = {field.name: names.get(str(field.type), "date") for field in as_table([]).schema}
    assert found == described
