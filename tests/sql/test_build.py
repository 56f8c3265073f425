"""The dbt project: it builds, its tests bite, and its documentation is true."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import yaml

from ksef_emulator import VirtualClock
from ksef_emulator.api.exports.routes import DESCRIPTIONS as EXPORT_DESCRIPTIONS
from ksef_emulator.world.texts import INVOICE_DESCRIPTIONS, SESSION_DESCRIPTIONS
from kseflow.errors import WarehouseError
from kseflow.marts.build import BuildFailed, build
from kseflow.marts.fingerprint import project_folder
from kseflow.raw.tables import TABLES
from tests.sql.loaded import NOW, loading, make_world

if TYPE_CHECKING:
    from tests.sql.conftest import Built

PROJECT = project_folder()
ROOT = Path(__file__).parents[2]
ONE_ROW = {"copy_moment"}  # has a row or none
READERS = {
    "check": ["pipelines/kseflow/watch/*.py"],
    "notebooks": ["pipelines/kseflow/pages/**/*.py", "pipelines/kseflow/trends/*.py"],
    "report": ["pipelines/kseflow/pages/**/*.py", "pipelines/kseflow/trends/*.py"],
}
DBT = [str(Path(sys.executable).with_name("dbt"))]


def run_dbt(
    *arguments: str, work: Path, database: Path, project: Path = PROJECT
) -> subprocess.CompletedProcess[str]:
    """Run dbt as a person would, with its files kept out of the source tree."""
    return subprocess.run(
        [*DBT, *arguments, "--project-dir", str(project), "--profiles-dir", str(PROJECT)],
        env={
            "KSEFLOW_DATABASE": str(database),
            "DBT_TARGET_PATH": str(work / "target"),
            "DBT_LOG_PATH": str(work / "logs"),
            "PATH": "/usr/bin:/bin",
            "HOME": str(work),
        },
        capture_output=True,
        text=True,
        check=False,
        cwd=work,
    )


def described(folder: str, kind: str) -> dict[str, Any]:
    files = sorted((PROJECT / "models" / folder).glob("*.yml"))
    parts = [yaml.safe_load(file.read_text()) for file in files]
    return {item["name"]: item for part in parts for item in part.get(kind, ())}


def test_a_build_passes_without_warnings_on_a_world_with_every_status_code(built: "Built") -> None:
    assert set(built.summary.node_counts) == {"success", "pass"}
    assert built.summary.warnings == []
    with duckdb.connect(str(built.analysts), read_only=True) as connection:
        sessions = connection.sql("select distinct session_type, status_code from marts.sessions")
        invoices = connection.sql("select distinct status_code from marts.invoices")
        settled = {key for key in SESSION_DESCRIPTIONS if key[1] not in (100, 150, 170)}
        assert settled <= set(sessions.fetchall())
        assert {(code,) for code in INVOICE_DESCRIPTIONS if code >= 200} <= set(invoices.fetchall())


def test_dbt_build_works_directly_and_every_definition_holds(
    built: "Built", tmp_path: Path
) -> None:
    database = tmp_path / "load.duckdb"
    shutil.copy(built.database, database)
    done = run_dbt("build", work=tmp_path, database=database)
    assert done.returncode == 0, done.stdout
    results = json.loads((tmp_path / "target" / "run_results.json").read_text())["results"]
    definitions = [r for r in results if r["unique_id"].startswith("unit_test.")]
    assert len(definitions) >= 80
    done_nodes = [r for r in results if not r["unique_id"].startswith("exposure.")]
    assert {r["status"] for r in done_nodes} == {"success", "pass"}
    tests = [r for r in results if r["unique_id"].startswith("test.")]
    assert built.summary.node_counts["pass"] == len(tests)


def test_dbt_docs_are_generated_offline(built: "Built", tmp_path: Path) -> None:
    database = tmp_path / "load.duckdb"
    shutil.copy(built.database, database)
    done = run_dbt("docs", "generate", "--static", work=tmp_path, database=database)
    assert done.returncode == 0, done.stdout
    assert "daily_outcomes" in (tmp_path / "target" / "static_index.html").read_text()


def test_the_models_work_as_a_package_of_another_project_with_its_own_raw_schema(
    built: "Built", tmp_path: Path
) -> None:
    database, project = tmp_path / "own.duckdb", tmp_path / "own"
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"attach '{built.database}' as loaded (read_only)")
        connection.execute("create schema einvoices")
        for table in TABLES:
            connection.execute(
                f"create table einvoices.{table.name} as from loaded.ksef_raw.{table.name}"
            )
    (project / "models").mkdir(parents=True)
    (project / "models" / "worst_days.sql").write_text(
        "select day, failure_rate from {{ ref('kseflow', 'daily_outcomes') }}"
    )
    (project / "packages.yml").write_text(f"packages:\n  - local: {PROJECT}\n")
    (project / "dbt_project.yml").write_text(
        "name: own\nversion: 1.0.0\nprofile: kseflow\nflags: {send_anonymous_usage_stats: false}\n"
        "vars: {kseflow: {kseflow_raw_schema: einvoices}}\n"
    )
    done = run_dbt("deps", work=tmp_path, database=database, project=project)
    assert done.returncode == 0, done.stdout
    done = run_dbt(
        "build", "--exclude-resource-type", "unit_test",
        work=tmp_path, database=database, project=project,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    with duckdb.connect(str(database), read_only=True) as connection:
        assert connection.sql("select count(*) > 10 from marts.worst_days").fetchall() == [(True,)]


def test_every_column_of_the_marts_is_described_and_no_other(
    marts: duckdb.DuckDBPyConnection,
) -> None:
    found: dict[str, list[str]] = {}
    for table, column in marts.sql(
        "select table_name, column_name from duckdb_columns() where schema_name = 'marts' "
        "order by table_name, column_index"
    ).fetchall():
        found.setdefault(table, []).append(column)
    models = described("marts", "models")
    told = {name: [c["name"] for c in model["columns"]] for name, model in models.items()}
    assert told == found
    assert all(c["description"] for model in models.values() for c in model["columns"])
    assert all(model["description"].startswith("One row") for model in models.values())


def test_every_column_of_staging_is_described_and_no_other(
    marts: duckdb.DuckDBPyConnection,
) -> None:
    found: dict[str, list[str]] = {}
    for table, column in marts.sql(
        "select table_name, column_name from duckdb_columns() where schema_name = 'staging' "
        "order by table_name, column_index"
    ).fetchall():
        found.setdefault(table, []).append(column)
    models = described("staging", "models")
    assert {n: [c["name"] for c in model["columns"]] for n, model in models.items()} == found


def test_descriptions_are_comments_in_the_published_file(marts: duckdb.DuckDBPyConnection) -> None:
    without = marts.sql(
        "select table_name, column_name from duckdb_columns() "
        "where schema_name in ('marts', 'staging') and comment is null"
    ).fetchall()
    assert without == []


def test_the_sources_are_the_tables_that_the_load_writes() -> None:
    (source,) = described("staging", "sources").values()
    told = {
        t["name"]: {c["name"]: c["description"] for c in t["columns"]} for t in source["tables"]
    }
    assert told == {t.name: {c.name: c.description for c in t.columns} for t in TABLES}


def test_the_seeds_know_every_status_code_that_the_emulator_was_given_from_the_contract() -> None:
    with (PROJECT / "seeds" / "invoice_statuses.csv").open(newline="") as file:
        invoices = {int(row["status_code"]): row["description_pl"] for row in csv.DictReader(file)}
    with (PROJECT / "seeds" / "session_statuses.csv").open(newline="") as file:
        sessions = {
            (row["session_type"], int(row["status_code"])): row["description_pl"]
            for row in csv.DictReader(file)
        }
    assert {c: t.format(statusCode=500) for c, t in invoices.items()} == INVOICE_DESCRIPTIONS
    assert {c: t.format(statusCode=500) for c, t in sessions.items()} == SESSION_DESCRIPTIONS
    with (PROJECT / "seeds" / "export_statuses.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"].startswith("OpenAPI")]
    exports = {int(row["status_code"]): row["description_pl"] for row in rows}
    assert {c: t.format(statusCode=500) for c, t in exports.items()} == EXPORT_DESCRIPTIONS


def test_outcomes_of_the_seeds_are_those_the_decisions_name() -> None:
    with (PROJECT / "seeds" / "invoice_statuses.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    outcomes: dict[str, set[int]] = {}
    for row in rows:
        outcomes.setdefault(row["outcome"], set()).add(int(row["status_code"]))
    assert outcomes == {
        "pending": {100, 150},
        "accepted": {200},
        "cancelled": {405},
        "duplicate": {440},
        "rejected": {410, 415, 430, 435, 450},
        "system_error": {500, 550},
    }
    with (PROJECT / "seeds" / "session_statuses.csv").open(newline="") as file:
        rows += list(csv.DictReader(file))
    with (PROJECT / "seeds" / "export_statuses.csv").open(newline="") as file:
        rows += list(csv.DictReader(file))
    for row in rows:
        assert (row["is_terminal"] == "false") == (row["outcome"] == "pending"), row


def test_intermediates_read_no_marts() -> None:
    marts = {file.stem for file in (PROJECT / "models" / "marts").glob("*.sql")}
    for file in sorted((PROJECT / "models" / "intermediate").glob("*.sql")):
        read = set(re.findall(r"ref\('(\w+)'\)", file.read_text()))
        assert read.isdisjoint(marts), file


def test_every_intermediate_is_described_and_its_grain_is_tested() -> None:
    for name, model in described("intermediate", "models").items():
        assert model["description"].startswith("One row"), name
        tests = model.get("data_tests", [])
        assert any("unique_combination" in test for test in tests) or name in ONE_ROW, name
    assert set(described("intermediate", "models")) == {
        file.stem for file in (PROJECT / "models" / "intermediate").glob("*.sql")
    }


def test_the_exposures_name_exactly_the_marts_that_their_readers_ask() -> None:
    parts = yaml.safe_load((PROJECT / "models" / "exposures.yml").read_text())["exposures"]
    told = {
        part["name"]: {re.findall(r"'(\w+)'", ref)[0] for ref in part["depends_on"]}
        for part in parts
    }
    marts = {file.stem for file in (PROJECT / "models" / "marts").glob("*.yml")}
    for name, readers in READERS.items():
        text = "\n".join(file.read_text() for pattern in readers for file in ROOT.glob(pattern))
        named = set(re.findall(r"\b(?:marts|staging)\.(\w+)", text))
        assert told[name] == {name for name in named if name in marts or name.startswith("stg_")}


def test_the_age_of_what_was_loaded_is_a_source_freshness(built: "Built", tmp_path: Path) -> None:
    database = tmp_path / "load.duckdb"
    shutil.copy(built.database, database)
    done = run_dbt("source", "freshness", work=tmp_path, database=database)
    results = json.loads((tmp_path / "target" / "sources.json").read_text())["results"]
    assert [r["unique_id"].split(".")[-1] for r in results] == ["sync_log"], done.stdout
    assert results[0]["max_loaded_at"].startswith("2026-11-17")


def test_no_model_is_long_and_none_lists_status_codes() -> None:
    for file in sorted((PROJECT / "models").rglob("*.sql")):
        text = file.read_text()
        assert text.count("\n") <= 60, file
        codes = [code for code in INVOICE_DESCRIPTIONS if code > 200 and str(code) in text]
        assert codes == [], file


def test_a_failing_test_is_named_with_sample_rows_and_the_published_file_stays(
    built: "Built", tmp_path: Path
) -> None:
    database, analysts = tmp_path / "load.duckdb", tmp_path / "ksef.duckdb"
    shutil.copy(built.database, database)
    shutil.copy(built.analysts, analysts)
    with duckdb.connect(str(database)) as connection:
        # of every taxpayer: one whose rows alone are odd is left out, see test_one_odd_taxpayer
        connection.execute("insert into ksef_raw.sessions from ksef_raw.sessions")
    before = analysts.read_bytes()
    with pytest.raises(BuildFailed) as caught:
        build(database, analysts)
    assert "unique_combination_stg_sessions" in str(caught.value)
    with duckdb.connect(str(database)) as connection:
        references = connection.sql("select reference_number from ksef_raw.sessions").fetchall()
    assert any(reference in str(caught.value) for (reference,) in references)
    assert analysts.read_bytes() == before
    with duckdb.connect(str(database)):  # dbt has let go of it
        pass


def test_fields_and_codes_that_nobody_knows_are_warnings_with_the_row(
    built: "Built", tmp_path: Path
) -> None:
    database = tmp_path / "load.duckdb"
    shutil.copy(built.database, database)
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            "update ksef_raw.session_invoices set status_code = 499, unrecognised = '{\"x\":1}' "
            "where reference_number = (select min(reference_number) "
            "from ksef_raw.session_invoices where status_code = 410)"
        )
    summary = build(database)
    assert len(summary.warnings) == 2
    told = "\n".join(summary.warnings)
    assert "status_codes_are_known" in told
    assert "499" in told
    assert '{"x":1}' in told
    with duckdb.connect(str(database), read_only=True) as connection:
        outcome = connection.sql("select outcome from marts.invoices where status_code = 499")
        assert outcome.fetchall() == [("rejected",)]


@pytest.mark.slow
def test_a_build_works_before_there_are_invoices_and_before_there_is_anything(
    tmp_path: Path,
) -> None:
    database = tmp_path / "load.duckdb"
    with pytest.raises(WarehouseError, match="run kseflow load first"):
        build(database)
    world = make_world(days=0, sessions_per_day=0)
    with loading(world, VirtualClock(NOW), database) as load_once:
        load_once()
    with duckdb.connect(str(database)) as connection:
        for table in TABLES:
            if table.name not in ("api_requests", "sync_log"):
                connection.execute(f"drop table if exists ksef_raw.{table.name}")
    build(database, tmp_path / "ksef.duckdb")
    with duckdb.connect(str(tmp_path / "ksef.duckdb"), read_only=True) as connection:
        assert connection.sql("select count(*) from marts.daily_outcomes").fetchall() == [(0,)]
        assert connection.sql("select count(*) > 0 from marts.api_usage").fetchall() == [(True,)]
