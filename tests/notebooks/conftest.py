"""The demo's published file, variants of it, and what Chromium makes of their reports."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from kseflow.demo import run_demo
from kseflow.loading.run import load_clients
from tests.notebooks.browser import Browser, chromium, find_chromium
from tests.notebooks.worlds import half_done
from tests.once import once

MARTS = "select table_name from duckdb_tables() where schema_name = 'marts'"
ROWS = "select table_name, column_name from duckdb_columns() where schema_name = 'marts'"


@pytest.fixture(scope="session")
def database() -> Path:
    """The demo's published file."""
    return once("demo", _demo)


@pytest.fixture(scope="session")
def backfill() -> Path:
    """The published file of a backfill whose time was up."""
    return once("backfill", half_done)


def _demo(folder: Path) -> Path:
    run_demo(folder, 7, load_clients)
    return folder / "ksef.duckdb"


@pytest.fixture(scope="session")
def changed(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Copy the published file and run SQL on it; `{mart}` makes it run for every mart."""

    def change(*statements: str) -> Path:
        copy = shutil.copy(database, tmp_path_factory.mktemp("changed") / "ksef.duckdb")
        with duckdb.connect(str(copy)) as connection:
            marts = [row[0] for row in connection.sql(MARTS).fetchall()]
            for statement in statements:
                for mart in marts if "{mart}" in statement else ["-"]:
                    connection.execute(statement.format(mart=f"marts.{mart}"))
        return Path(copy)

    return change


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        told = "no Chromium; install it, on Debian with apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    with chromium(program, tmp_path_factory.mktemp("profile")) as running:
        yield running
