"""ksef_source as a plain dlt source, with a pipeline and a destination of one's own."""

from collections.abc import Callable
from pathlib import Path

import dlt
import duckdb
import pytest

from kseflow import ksef_source
from tests.conftest import Stage


@pytest.fixture
def pipeline(tmp_path: Path) -> dlt.Pipeline:
    return dlt.pipeline(
        "plain",
        destination=dlt.destinations.duckdb(str(tmp_path / "plain.duckdb")),
        dataset_name="ksef",
        pipelines_dir=str(tmp_path / "work"),
    )


def invoice_requests(made: Stage) -> int:
    return sum(request.group == "sessionInvoiceList" for request in made.app.requests)


def counts(pipeline: dlt.Pipeline) -> dict[str, int]:
    path = pipeline.destination.config_params["credentials"]
    with duckdb.connect(str(path), read_only=True) as connection:
        return {
            table: connection.sql(f"select count(*) from ksef.{table}").fetchall()[0][0]
            for table in ("sessions", "session_invoices", "failed_invoices", "sync_log")
        }


def test_one_run_loads_everything_and_the_next_only_what_changed(
    stage: Callable[..., Stage], pipeline: dlt.Pipeline
) -> None:
    made = stage(days=4, short_pages=False)
    with made.served() as base_url:
        pipeline.run(
            ksef_source(base_url, credentials=made.logins(), exports_per_hour=0, in_progress="all")
        )
        first = counts(pipeline)
        spent = invoice_requests(made)
        pipeline.run(
            ksef_source(base_url, credentials=made.logins(), exports_per_hour=0, in_progress="all")
        )
    assert first["session_invoices"] == sum(
        len(made.world.invoices(context.id, item["referenceNumber"], made.clock.now()))
        for context in made.contexts
        for item in made.world.sessions(context.id, made.clock.now())
    )
    assert first["sessions"] > 0
    again = counts(pipeline)
    assert again["sync_log"] == 2 * first["sync_log"]
    assert again | {"sync_log": 0} == first | {"sync_log": 0}
    assert invoice_requests(made) - spent < spent / 2


def test_selected_resources_alone_are_read(
    stage: Callable[..., Stage], pipeline: dlt.Pipeline
) -> None:
    made = stage(days=1)
    with made.served() as base_url:
        source = ksef_source(base_url, credentials=made.logins(), exports_per_hour=0)
        pipeline.run(source.with_resources("sessions"))
        assert "sessionInvoiceList" not in {request.group for request in made.app.requests}


def test_every_column_is_described_in_the_schema(
    stage: Callable[..., Stage], pipeline: dlt.Pipeline
) -> None:
    made = stage(days=1, taxpayers=1)
    with made.served() as base_url:
        pipeline.run(ksef_source(base_url, credentials=made.logins(), exports_per_hour=0))
    tables = pipeline.default_schema.data_tables()
    assert {table["name"] for table in tables} >= {"sessions", "session_invoices", "api_requests"}
    for table in tables:
        assert table["description"]
        for name, column in table["columns"].items():
            assert column.get("description") or name.startswith("_dlt"), (table["name"], name)
