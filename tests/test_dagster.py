"""The Dagster code location: from nothing to the report, in this process, against the emulator."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from ksef_emulator import RunningClock
from kseflow.dagster import PUBLISHED, REPORT, definitions
from kseflow.errors import ConfigurationError
from kseflow.raw.tables import TABLES
from kseflow.watch.questions import CHECKS
from tests.conftest import Stage

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
RAW = {("ksef_raw", table.name) for table in TABLES}


@pytest.fixture
def company(
    stage: Callable[..., Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """Return a company at a KSeF of now, configured by the environment as it would be."""
    made = stage(at=datetime.now(UTC), days=2, taxpayers=2, sessions_per_day=6, largest_session=9)
    monkeypatch.chdir(tmp_path)
    names = [f"t{context.id}" for context in made.contexts]
    with made.served(RunningClock()) as base_url:
        monkeypatch.setenv("SOURCES__KSEF__ENVIRONMENT", base_url)
        monkeypatch.setenv("SOURCES__KSEF__EXPORTS_FROM", made.world.since.isoformat())
        monkeypatch.setenv("SOURCES__KSEF__TAXPAYERS", json.dumps(names))
        for name, login in zip(names, made.logins(), strict=True):
            monkeypatch.setenv(f"SOURCES__KSEF__{name.upper()}__NIP", login.context.id)
            monkeypatch.setenv(f"SOURCES__KSEF__{name.upper()}__TOKEN", login.token)
        yield made


def run(job: str, made: Any, **more: Any) -> Any:
    """Execute a job of a code location in this process."""
    with dg.DagsterInstance.ephemeral() as instance:
        return made.resolve_job_def(job).execute_in_process(
            instance=instance, raise_on_error=False, **more
        )


def materialised(result: Any) -> set[tuple[str, ...]]:
    return {tuple(event.asset_key.path) for event in result.get_asset_materialization_events()}


def test_everything_is_made_and_checked_from_nothing_to_the_report(company: Stage) -> None:
    made = definitions(company.database)
    first = run("kseflow", made)
    assert first.success
    every = {tuple(key.path) for key in made.resolve_asset_graph().get_all_asset_keys()}
    assert materialised(first) == every
    assert RAW | {("marts", "daily_outcomes"), ("seeds", "session_statuses")} <= every
    report = company.database.with_name("report.html").read_text()
    assert all(context.id in report for context in company.contexts)
    # Each of dbt's tests and each question of kseflow check is a check, with its own answer.
    answers = {e.check_name: e for e in first.get_asset_check_evaluations()}
    declared = {key.name for key in made.resolve_asset_graph().asset_check_keys}
    assert set(answers) == declared
    assert {check.name for check in CHECKS} <= declared
    assert len(declared) > 100
    assert answers["load_age_hours"].passed
    assert not answers["unresolved_failures"].passed
    assert "NIP" in answers["unresolved_failures"].description
    with duckdb.connect(str(company.database), read_only=True) as published:
        (count,) = published.sql("select count(*) from staging.stg_session_invoices").fetchall()[0]
    (event,) = (
        e
        for e in first.get_asset_materialization_events()
        if e.asset_key.path == ["ksef_raw", "session_invoices"]
    )
    assert event.materialization.metadata["dagster/row_count"].value == count > 0


def test_shards_are_partitions_and_a_build_unites_them(company: Stage) -> None:
    made = definitions(company.database, shards=2)
    for share in ("1/2", "2/2"):
        loaded = run("kseflow_load", made, partition_key=share)
        assert loaded.success
        assert materialised(loaded) == RAW
    files = sorted(company.database.parent.glob("*-load.duckdb"))
    assert [f.name for f in files] == ["ksef-1-of-2-load.duckdb", "ksef-2-of-2-load.duckdb"]
    # What they bring breaks a promise: its check fails, and nothing is published.
    for file in files:
        with duckdb.connect(str(file)) as connection:
            connection.execute("update ksef_raw.sessions set session_type = 'Carrier pigeon'")
    built = run("kseflow_build", made)
    assert not built.success
    failed = {e.check_name for e in built.get_asset_check_evaluations() if not e.passed}
    assert any("session_type" in name for name in failed)
    assert any(e.passed for e in built.get_asset_check_evaluations())
    assert not company.database.exists()


def test_trouble_is_told_in_a_sentence(company: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCES__KSEF__ENVIRONMENT")
    result = run("kseflow", definitions(company.database))
    assert not result.success
    failures = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert ["no environment: say" in str(e.event_specific_data) for e in failures] == [True]
    assert materialised(result) == set()


@pytest.mark.parametrize(
    ("every_minutes", "shards", "cron"),
    [
        (60, 1, {"kseflow_schedule": "7 * * * *"}),
        (15, 1, {"kseflow_schedule": "7,22,37,52 * * * *"}),
        (
            60,
            3,
            {"kseflow_load_schedule": "7 * * * *", "kseflow_build_schedule": "37 * * * *"},
        ),
    ],
)
def test_schedules_keep_a_quarter_of_an_hour(
    every_minutes: int, shards: int, cron: dict[str, str], tmp_path: Path
) -> None:
    made = definitions(tmp_path / "ksef.duckdb", shards=shards, every_minutes=every_minutes)
    schedules: dict[str, Any] = {each.name: each for each in made.schedules or ()}
    assert {name: each.cron_schedule for name, each in schedules.items()} == cron
    if shards > 1:
        asked = schedules["kseflow_load_schedule"].evaluate_tick(
            dg.build_schedule_context(
                scheduled_execution_time=datetime.now(UTC) + timedelta(hours=1),
                repository_def=made.get_repository_def(),
            )
        )
        assert [r.partition_key for r in asked.run_requests] == ["1/3", "2/3", "3/3"]


@pytest.mark.parametrize("minutes", [5, 14, 45, 0])
def test_what_asks_ksef_more_often_than_it_advises_is_refused(minutes: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a quarter of an hour"):
        definitions(tmp_path / "ksef.duckdb", every_minutes=minutes)


def test_lineage_goes_from_raw_tables_to_the_report(tmp_path: Path) -> None:
    graph = definitions(tmp_path / "ksef.duckdb").resolve_asset_graph()
    above = graph.get_ancestor_asset_keys(REPORT)
    assert {tuple(key.path) for key in above} >= RAW
    assert PUBLISHED in above
    staged = graph.get(dg.AssetKey(["staging", "stg_sessions"]))
    assert staged.parent_keys == {dg.AssetKey(["ksef_raw", "sessions"])}
    assert "session" in (staged.description or "")


def test_dagster_finds_the_code_location(tmp_path: Path) -> None:
    dagster = Path(sys.executable).with_name("dagster")
    told = subprocess.run(
        [dagster, "definitions", "validate", "-m", "kseflow.dagster"],
        cwd=tmp_path,
        env=os.environ | {"KSEFLOW_SHARDS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "All code locations passed validation" in told.stdout + told.stderr
