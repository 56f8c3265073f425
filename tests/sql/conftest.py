"""One emulated world, loaded, built and published once for all tests that only read it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from ksef_emulator import VirtualClock, World
from kseflow.marts.build import BuildSummary, build
from kseflow.marts.publish import publish
from tests.once import once
from tests.sql.loaded import NOW, loading, make_world


class Built(NamedTuple):
    world: World
    database: Path
    analysts: Path
    summary: BuildSummary


@pytest.fixture(scope="session")
def built() -> Built:
    return Built(make_world(), *once("built", _build))


def _build(folder: Path) -> tuple[Path, Path, BuildSummary]:
    database, analysts = folder / "load.duckdb", folder / "ksef.duckdb"
    clock = VirtualClock(NOW)
    with loading(make_world(), clock, database, exports_per_hour=1000) as load_once:
        load_once()
        clock.sleep(4 * 3600)
        load_once()
    summary = build(database)  # the marts stay in the load's file as well
    published = publish(database, analysts)
    return database, analysts, replace(summary, published=published, is_published=True)


@pytest.fixture
def marts(built: Built) -> Iterator[duckdb.DuckDBPyConnection]:
    """The analysts' file, open for reading."""
    with duckdb.connect(str(built.analysts), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection
