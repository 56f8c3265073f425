"""Build the marts from the loaded tables with dbt, in process, and publish them for analysts.

DuckDB gives one process a file, so analysts read a second one: it is written beside the target
and takes its place in one step, after a build in which everything passed.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import duckdb

from kseflow.clock import SystemClock
from kseflow.errors import KsefError, WarehouseError
from kseflow.settings import LOCK_WAIT_S
from kseflow.warehouse import DATASET, is_locked

if TYPE_CHECKING:
    from dbt.artifacts.schemas.run import RunResult
    from dbt_common.events.base_types import EventMsg

log = logging.getLogger(__name__)

PUBLISHED_SCHEMAS = ("seeds", "staging", "marts")
MEMORY_LIMIT = "2500MB"  # of DuckDB; beyond it, it uses the disk
SAMPLE_ROWS = 3

PROFILE = """\
kseflow:
  target: duckdb
  outputs:
    duckdb:
      type: duckdb
      path: '{path}'
      schema: marts
      threads: 2
      settings: {{TimeZone: UTC, preserve_insertion_order: false, memory_limit: {memory_limit}}}
"""


class BuildFailed(KsefError):
    """A model or a test of the SQL models failed; the message names it and shows sample rows."""


@dataclass(frozen=True)
class Published:
    """What an analysts' file was made of; `published_at` and `as_of` are UTC."""

    published_at: datetime
    as_of: datetime | None
    run_id: str | None
    kseflow_version: str
    fingerprint: str


@dataclass(frozen=True)
class BuildSummary:
    """What one build did: dbt's nodes by status, and warnings as text."""

    database: Path
    node_counts: dict[str, int]
    warnings: list[str]
    seconds: float
    is_published: bool
    published: Published | None


def build(
    load_database: Path,
    analysts_database: Path | None = None,
    *,
    lock_wait_s: float = LOCK_WAIT_S,
) -> BuildSummary:
    """Build and test the marts in `load_database`, then publish them to `analysts_database`.

    Nothing is published when None is given, or when neither loads nor models changed.
    Raises `BuildFailed` naming the failed test with sample rows; the published file then stays
    as it is. Raises `WarehouseError` when a database cannot be used.
    """
    from kseflow.load import locked

    if not load_database.exists():
        raise WarehouseError(f"{load_database}: no such file; run kseflow load first")
    started = monotonic()
    before = analysts_database and last_published(analysts_database)
    with locked(load_database, lock_wait_s):
        results = _run_dbt(load_database)
        _raise_failures(load_database, results)
        after = publish(load_database, analysts_database) if analysts_database else None
    counts: dict[str, int] = {}
    for result in results:
        counts[str(result.status)] = counts.get(str(result.status), 0) + 1
    return BuildSummary(
        database=load_database,
        node_counts=counts,
        warnings=[_told(load_database, result) for result in results if result.status == "warn"],
        seconds=monotonic() - started,
        is_published=after is not None and after != before,
        published=after,
    )


def project_folder() -> Path:
    """Return the folder of the dbt project: inside the installed package, or the checkout's."""
    installed = Path(__file__).parent / "sql"
    return installed if installed.exists() else Path(__file__).parents[2] / "sql"


def _run_dbt(database: Path) -> "list[RunResult]":
    """Run `dbt build` without unit tests; its files go to a folder beside the database."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    work = database.parent / f".{database.stem}-dbt"
    work.mkdir(exist_ok=True)
    path = str(database.resolve()).replace("'", "''")
    (work / "profiles.yml").write_text(PROFILE.format(path=path, memory_limit=MEMORY_LIMIT))
    arguments = ["build", "--exclude-resource-type", "unit_test"]
    for name, folder in {
        "--project-dir": project_folder(),
        "--profiles-dir": work,
        "--target-path": work.resolve() / "target",
        "--log-path": work.resolve() / "logs",
    }.items():
        arguments += [name, str(folder)]
    try:
        runner = dbtRunner(callbacks=[_tell_progress])
        outcome = runner.invoke([*arguments, "--log-level", "none", "--no-version-check"])
    finally:
        # dbt keeps the database open for the life of the process, and no load could write it.
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
    if outcome.exception is not None:
        raise BuildFailed(f"dbt could not start: {outcome.exception}") from outcome.exception
    return list(outcome.result.results)  # type: ignore[union-attr]


def _tell_progress(event: "EventMsg") -> None:
    if event.info.name == "LogStartLine":
        log.debug("building the marts: %d of %d", event.data.index, event.data.total)


def _raise_failures(database: Path, results: "list[RunResult]") -> None:
    failed = [result for result in results if result.status in ("error", "fail")]
    if failed:
        told = "\n".join(_told(database, result) for result in failed)
        raise BuildFailed(f"{len(failed)} of {len(results)} steps failed:\n{told}")


def _told(database: Path, result: "RunResult") -> str:
    """Name a failed step; of a test, show the first rows that it found."""
    node: Any = result.node
    if result.status == "error" or not node.compiled_code:
        return f"{node.resource_type} {node.name}: {result.message}"
    rows = [f"  {row}" for row in _sample(database, node.compiled_code)]
    return "\n".join([f"{node.resource_type} {node.name}: {result.message}", *rows])


def _sample(database: Path, sql: str) -> Iterator[dict[str, Any]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        found = connection.execute(f"select * from ({sql}\n) limit {SAMPLE_ROWS}")
        names = [column[0] for column in found.description]
        for row in found.fetchall():
            yield dict(zip(names, map(_plain, row), strict=True))


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def publish(load_database: Path, analysts_database: Path) -> Published:
    """Write marts, seeds and staging to `analysts_database`, in one step, if something changed.

    To be called after a build and under its lock, as `build` does. Changed means: another load
    was committed, or the models or kseflow itself are other ones. Returns what the file is made
    of. Raises `WarehouseError` when it cannot be written or is somebody else's.
    """
    from kseflow.load import warehouse_error

    if analysts_database.resolve() == load_database.resolve():
        raise WarehouseError(f"{analysts_database} is the load's own file; publish to another one")
    last = last_published(analysts_database)
    new = analysts_database.with_name(f".{analysts_database.name}.new")
    try:
        analysts_database.parent.mkdir(parents=True, exist_ok=True)
        _remove(new)
        with _attached(load_database) as connection:
            published = _described(connection)
            if last is not None and last.fingerprint == published.fingerprint:
                return last
            connection.execute(f"attach {_text(str(new))} as published")
            _copy(connection, published)
        # A log that a writing visitor left belongs to the old file, never to the new one.
        _log_of(analysts_database).unlink(missing_ok=True)
        os.replace(new, analysts_database)
    except (duckdb.Error, OSError) as error:
        _remove(new)
        raise warehouse_error(error, analysts_database) from error
    return published


def _remove(database: Path) -> None:
    database.unlink(missing_ok=True)
    _log_of(database).unlink(missing_ok=True)


def _log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}.wal")


def last_published(analysts_database: Path) -> Published | None:
    """Return what the file was made of; None when there is none, or a program writes to it.

    Raises `WarehouseError` when the file is there and was not published by kseflow.
    """
    if not analysts_database.exists():
        return None
    try:
        with duckdb.connect(str(analysts_database), read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            row = connection.execute("from published").fetchone()
            return Published(*row) if row else None
    except duckdb.CatalogException:
        raise WarehouseError(
            f"{analysts_database} was not published by kseflow; choose another file or move it"
        ) from None
    except duckdb.IOException as error:
        if is_locked(error):
            return None
        raise WarehouseError(f"{analysts_database} cannot be read: {error}") from None


@contextmanager
def _attached(load_database: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the load's file under the name that its views know: its own, without the ending."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
        connection.execute(f"set temp_directory = {_text(str(load_database) + '.tmp')}")
        name = _name(load_database.stem)
        connection.execute(f"attach {_text(str(load_database))} as {name} (read_only)")
        connection.execute(f"use {name}")
        yield connection


def _described(connection: duckdb.DuckDBPyConnection) -> Published:
    loads = connection.execute(
        f"select load_id from {DATASET}._dlt_loads where status = 0 order by load_id"
    ).fetchall()
    runs = connection.execute("select max(run_id) from staging.stg_sync_log").fetchone()
    as_of = connection.execute("select max(as_of) from marts.as_of").fetchone()
    digest = sha256(repr(loads).encode())
    for folder in ("macros", "models", "seeds", "tests"):
        for path in sorted((project_folder() / folder).rglob("*.*")):
            digest.update(path.read_bytes())
    digest.update(version("kseflow").encode())
    return Published(
        published_at=SystemClock().now(),
        as_of=as_of[0] if as_of else None,
        run_id=runs[0] if runs else None,
        kseflow_version=version("kseflow"),
        fingerprint=digest.hexdigest(),
    )


def _copy(connection: duckdb.DuckDBPyConnection, published: Published) -> None:
    """Make tables of all relations of the published schemas, with their descriptions."""
    here = "where database_name = current_database() and list_contains($1, schema_name)"
    relations = connection.execute(
        f"select schema_name, table_name, comment from duckdb_tables() {here} "
        f"union all select schema_name, view_name, comment from duckdb_views() {here}",
        [PUBLISHED_SCHEMAS],
    ).fetchall()
    columns = connection.execute(
        "select schema_name, table_name, column_name, comment from duckdb_columns() "
        f"{here} and comment is not null",
        [PUBLISHED_SCHEMAS],
    ).fetchall()
    for schema in PUBLISHED_SCHEMAS:
        connection.execute(f"create schema published.{schema}")
    for schema, table, comment in relations:
        name = f"{_name(schema)}.{_name(table)}"
        connection.execute(f"create table published.{name} as from {name}")
        connection.execute(f"comment on table published.{name} is {_text(comment or '')}")
    for schema, table, column, comment in columns:
        name = f"{_name(schema)}.{_name(table)}.{_name(column)}"
        connection.execute(f"comment on column published.{name} is {_text(comment)}")
    connection.execute(
        "create table published.published as select $published_at::timestamptz as published_at, "
        "$as_of::timestamptz as as_of, $run_id::varchar as run_id, "
        "$kseflow_version::varchar as kseflow_version, $fingerprint::varchar as fingerprint",
        vars(published),
    )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'
