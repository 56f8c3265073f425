"""The models in PostgreSQL: the rows that DuckDB makes of the same loads, to six decimals."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from kseflow.errors import ConfigurationError, WarehouseError
from kseflow.marts.build import BuildFailed, BuildSummary, build_marts
from tests.postgres import PASSWORD, Server, running_postgres
from tests.sql.elsewhere import assert_same, load_into_postgres, marts_of

if TYPE_CHECKING:
    from tests.sql.conftest import Built

CREDENTIALS = "DESTINATION__POSTGRES__CREDENTIALS"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def summary(
    server: Server, built: "Built", tmp_path_factory: pytest.TempPathFactory
) -> BuildSummary:
    work = tmp_path_factory.mktemp("postgres")
    load_into_postgres(built.database, server.url, work)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CREDENTIALS, server.url)
        return build_marts(destination="postgres")


@pytest.fixture
def ask(server: Server, summary: BuildSummary) -> Iterator[Callable[[str], list[Any]]]:
    connection = psycopg2.connect(server.url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("set timezone = 'UTC'")

            def rows(sql: str) -> list[Any]:
                cursor.execute(sql)
                return list(cursor.fetchall())

            yield rows
    finally:
        connection.close()


def test_every_mart_has_duckdbs_rows(built: "Built", ask: Callable[[str], list[Any]]) -> None:
    marts = list(marts_of(built.analysts))
    assert {"anomalies", "invoices", "daily_outcomes"} <= {mart for mart, _, _ in marts}
    for mart, columns, rows in marts:
        assert_same(mart, columns, rows, ask(f"select {', '.join(columns)} from marts.{mart}"))


def test_every_test_of_the_models_passes_there(built: "Built", summary: BuildSummary) -> None:
    assert summary.node_counts == built.summary.node_counts
    assert summary.warnings == []


def test_descriptions_are_comments_there(ask: Callable[[str], list[Any]]) -> None:
    without = ask(
        "select relname, attname from pg_attribute join pg_class on attrelid = pg_class.oid "
        "join pg_namespace on relnamespace = pg_namespace.oid "
        "where nspname = 'marts' and attnum > 0 and not attisdropped "
        "and col_description(attrelid, attnum) is null and relkind in ('r', 'v')"
    )
    assert without == []


def test_a_broken_promise_is_named_with_rows_and_without_the_password(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "odd.sql").write_text("select 'Ż' as who, 3 as fault_count")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "nobody_is_odd.sql").write_text("select * from {{ ref('odd') }}")
    (tmp_path / "dbt_project.yml").write_text(
        "name: own\nversion: 1.0.0\nprofile: kseflow\nflags: {send_anonymous_usage_stats: false}\n"
    )
    monkeypatch.setenv(CREDENTIALS, server.url)
    monkeypatch.setattr("kseflow.marts.elsewhere.project_folder", lambda: tmp_path)
    with pytest.raises(BuildFailed, match=r"1 of 2 steps failed") as caught:
        build_marts(destination="postgres")
    assert "nobody_is_odd" in str(caught.value)
    assert "{'who': 'Ż', 'fault_count': '3'}" in str(caught.value)
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    told = [*written, str(caught.value).encode()]
    assert all(PASSWORD.encode() not in content for content in told)


def test_a_destination_that_cannot_be_reached_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=CREDENTIALS):
        build_marts(destination="postgres")
    with pytest.raises(ConfigurationError, match="did you mean postgres"):
        build_marts(destination="postgress")
    monkeypatch.setenv(CREDENTIALS, "postgresql://loader:s3cret-word@127.0.0.1:1/ksef")
    with pytest.raises(WarehouseError, match=r"^postgres: .*refused") as caught:
        build_marts(destination="postgres")
    assert "s3cret-word" not in str(caught.value)
