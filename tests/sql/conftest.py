"""One emulated world, loaded, built and published once for all tests that only read it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest
from loaded import NOW, loading, make_world

from ksef_emulator import VirtualClock, World
from kseflow.marts.build import BuildSummary, build


class Built(NamedTuple):
    world: World
    database: Path
    analysts: Path
    summary: BuildSummary


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    world, clock = make_world(), VirtualClock(NOW)
    database, analysts = folder / "load.duckdb", folder / "ksef.duckdb"
    with loading(world, clock, database, exports_per_hour=1000) as load_once:
        load_once()
        clock.sleep(4 * 3600)
        load_once()
    return Built(world, database, analysts, build(database, analysts))


@pytest.fixture
def marts(built: Built) -> Iterator[duckdb.DuckDBPyConnection]:
    """The analysts' file, open for reading."""
    with duckdb.connect(str(built.analysts), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection
