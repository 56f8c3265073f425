"""What those who schedule from Python call: the same functions as the commands."""

import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from inspect import signature
from pathlib import Path

import pytest

import kseflow
from kseflow.options import OPTIONS
from tests.conftest import Stage
from tests.published import LOADED_AT, NIPS, copy_published


@pytest.mark.parametrize("name", kseflow.__all__)
def test_each_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(kseflow, name).__doc__


def test_what_is_not_public_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'export'"):
        kseflow.export  # noqa: B018


def test_the_package_says_that_it_is_typed() -> None:
    assert files("kseflow").joinpath("py.typed").is_file()


def test_load_takes_every_option_by_its_name() -> None:
    assert set(signature(kseflow.load).parameters) >= {option.name for option in OPTIONS}


def test_a_load_writes_its_own_file_beside_the_analysts(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=2, days=1)
    first, _ = made.contexts
    with made.served() as base_url:
        summary = kseflow.load(
            made.database,
            environment=base_url,
            credentials=made.logins()[:1],
            box=made.box(),
            only=["sessions"],
            exports_per_hour=0,
        )
    assert summary.database == made.database.with_name("ksef-load.duckdb")
    assert summary.failed_taxpayers == []
    made.database = summary.database
    rows = made.rows("select distinct context_id, count(*) as n from ksef_raw.sessions group by 1")
    assert [row["context_id"] for row in rows] == [first.id]
    assert rows[0]["n"] == len(made.world.sessions(first.id, made.clock.now()))


def test_a_load_with_an_option_that_is_none_sends_nothing(tmp_path: Path) -> None:
    with pytest.raises(kseflow.KsefError, match="detail is 'all'; it may be auto, invoices"):
        kseflow.load(tmp_path / "ksef.duckdb", environment="http://127.0.0.1:9", detail="all")
    assert list(tmp_path.iterdir()) == []


def test_a_check_and_a_build_take_the_analysts_file(tmp_path: Path) -> None:
    database = copy_published(tmp_path, healthy=True)
    verdict = kseflow.check(database, nips=NIPS[:1], now=LOADED_AT)
    assert verdict.state.name == "OK", verdict.problems
    built = kseflow.build(database, publish=False)
    assert (built.database, built.published) == (tmp_path / "ksef-load.duckdb", None)
    assert set(built.node_counts) <= {"success", "pass", "warn"}


@pytest.mark.parametrize("command", ["demo", "emulate"])
@pytest.mark.parametrize("missing", ["werkzeug", "ksef_emulator"])
def test_without_the_emulator_its_commands_say_how_to_get_it(
    tmp_path: Path, command: str, missing: str
) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from kseflow.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, command], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "pip install 'kseflow[emulator]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
