"""Destinations of loads other than a file beside the analysts': made anew for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import psycopg2
import pytest

from kseflow.loading.places import Place, place_of
from tests.postgres import running_postgres


class Tried(Protocol):
    """A destination of a test, which can be put back to how it was."""

    place: Place

    def keep(self) -> None: ...
    def bring_back(self) -> None: ...


class Folder:
    """A lake, or a folder with a DuckDB file."""

    def __init__(self, name: str, folder: Path, environment: pytest.MonkeyPatch) -> None:
        self._folder, self._older = folder / "copy", folder / "older"
        self._folder.mkdir()
        key, value = {
            "duckdb": ("CREDENTIALS", self._folder / "second.duckdb"),
        }.get(name, ("BUCKET_URL", self._folder))
        environment.setenv(f"DESTINATION__{name.upper()}__{key}", str(value))
        self.place = place_of(folder / "ksef.duckdb", name)

    def keep(self) -> None:
        shutil.copytree(self._folder, self._older)

    def bring_back(self) -> None:
        shutil.rmtree(self._folder)
        shutil.copytree(self._older, self._folder)


class Postgres:
    """A database of a server."""

    def __init__(self, url: str, folder: Path, environment: pytest.MonkeyPatch) -> None:
        self._url = url
        self._run("drop database if exists ksef", "create database ksef")
        environment.setenv(
            "DESTINATION__POSTGRES__CREDENTIALS", url.removesuffix("/postgres") + "/ksef"
        )
        self.place = place_of(folder / "ksef.duckdb", "postgres")

    def keep(self) -> None:
        self._run("drop database if exists older", "create database older template ksef")

    def bring_back(self) -> None:
        self._run("drop database ksef", "create database ksef template older")

    def _run(self, *statements: str) -> None:
        connection = psycopg2.connect(self._url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        connection.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with running_postgres() as server:
        yield server.url


@pytest.fixture(params=["duckdb", "postgres", "delta", "iceberg"])
def tried(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tried:
    if request.param == "postgres":
        return Postgres(request.getfixturevalue("postgres_url"), tmp_path, monkeypatch)
    return Folder(request.param, tmp_path, monkeypatch)
