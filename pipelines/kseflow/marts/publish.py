"""Publish the marts: a file for analysts, written beside the old one and put in its place at once.

DuckDB gives one process a file, so analysts read another one than loads write.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import duckdb
import orjson

from kseflow.clock import SystemClock
from kseflow.constants import MEMORY_LIMIT
from kseflow.context import Context
from kseflow.database import in_memory, is_locked, opened, warehouse_error
from kseflow.errors import WarehouseError
from kseflow.files import private_files, put_in_place
from kseflow.marts.fingerprint import fingerprint
from kseflow.marts.look import forget_look, last_look

PUBLISHED_SCHEMAS = ("seeds", "staging", "marts")
STORAGE_VERSION = "v1.2.0"  # the oldest that costs no size; every DuckDB from 1.2 on opens it


@dataclass(frozen=True)
class LeftOut:
    """A taxpayer of which nothing is published, because its rows break a promise of the marts."""

    context_type: str
    context_id: str
    reason: str

    @property
    def context(self) -> Context:
        return Context(self.context_type, self.context_id)

    def as_json(self) -> dict[str, str | None]:
        """Return plain values."""
        return self.context.as_json() | {"reason": self.reason}


@dataclass(frozen=True)
class Published:
    """What an analysts' file was made of; `published_at` and `as_of` are UTC.

    `left_out` is a JSON list of the taxpayers that are not in it, each with the reason.
    `looked_at` is when it was last found to be up to date, None when it was not looked at since.
    """

    published_at: datetime
    as_of: datetime | None
    run_id: str | None
    kseflow_version: str
    fingerprint: str
    left_out: str = "[]"
    looked_at: datetime | None = None

    @property
    def taxpayers_left_out(self) -> list[LeftOut]:
        found = orjson.loads(self.left_out)
        return [LeftOut(who["context_type"], who["context_id"], who["reason"]) for who in found]


def publish(
    load_database: Path, analysts_database: Path, *, left_out: Collection[LeftOut] = ()
) -> Published:
    """Publish the marts that were built in `load_database` itself; see `publish_from`."""
    if analysts_database.resolve() == load_database.resolve():
        raise WarehouseError(f"{analysts_database} is the load's own file; publish to another one")
    try:
        with _attached(load_database) as connection:
            made_of = fingerprint(connection)
            return publish_from(connection, analysts_database, made_of, left_out)
    except duckdb.Error as error:
        raise warehouse_error(error, load_database) from error


@private_files()
def publish_from(
    built: duckdb.DuckDBPyConnection,
    analysts_database: Path,
    made_of: str,
    left_out: Collection[LeftOut],
) -> Published:
    """Write marts, seeds and staging to `analysts_database`, in one step, if something changed.

    `built` has them as its own database, and `made_of` is the fingerprint of what they are of.
    Changed means: loaded rows, the models or kseflow itself are other ones, other taxpayers were
    left out, or KSeF was asked since. Returns what the file is made of. Raises `WarehouseError`
    when it cannot be written or is somebody else's.
    """
    last = last_published(analysts_database)
    new = analysts_database.with_name(f".{analysts_database.name}.new")
    try:
        analysts_database.parent.mkdir(parents=True, exist_ok=True)
        _remove(new)
        published = _described(built, made_of, left_out)
        if last is not None and _is_same(last, published):
            return last
        built.execute(
            f"attach {_text(str(new))} as published (storage_version '{STORAGE_VERSION}')"
        )
        try:
            # To try it takes a fifth of the time, and nothing becomes smaller.
            built.execute("set disabled_compression_methods = 'zstd'")
            _copy(built, published)
        finally:
            built.execute("detach published")
        # A log that a writing visitor left belongs to the old file, never to the new one.
        _log_of(analysts_database).unlink(missing_ok=True)
        put_in_place(new, analysts_database)
        forget_look(analysts_database)
    except (duckdb.Error, OSError) as error:
        _remove(new)
        raise warehouse_error(error, analysts_database) from error
    return published


def _is_same(last: Published, new: Published) -> bool:
    told = (new.fingerprint, new.left_out, new.as_of)
    return told == (last.fingerprint, last.left_out, last.as_of)


def _remove(database: Path) -> None:
    database.unlink(missing_ok=True)
    _log_of(database).unlink(missing_ok=True)


def _log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}.wal")


def last_published(analysts_database: Path) -> Published | None:
    """Return what the file was made of; None when there is none, or a program writes to it.

    `as_of` and `run_id` are those of the last look at it, when it was found to be up to date.
    Raises `WarehouseError` when the file is there and was not published by kseflow.
    """
    if not analysts_database.exists():
        return None
    try:
        with opened(analysts_database) as connection:
            answer = connection.execute("from published")
            names = [column[0] for column in answer.description]
            known = {field.name for field in fields(Published)}
            for row in answer.fetchall():
                found = dict(zip(names, row, strict=True))
                made = Published(**{name: found[name] for name in known & found.keys()})
                return _seen(analysts_database, made)
            return None
    except (duckdb.CatalogException, TypeError):  # a table of that name may be anybody's
        raise WarehouseError(
            f"{analysts_database} was not published by kseflow; choose another file or move it"
        ) from None
    except WarehouseError as error:
        if is_locked(error):
            return None
        raise


def _seen(analysts_database: Path, published: Published) -> Published:
    look = last_look(analysts_database, published.fingerprint)
    if look is None:
        return published
    return replace(published, as_of=look.as_of, run_id=look.run_id, looked_at=look.looked_at)


@contextmanager
def _attached(load_database: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the load's file under the name that its views know: its own, without the ending."""
    with in_memory() as connection:
        connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
        connection.execute(f"set temp_directory = {_text(str(load_database) + '.tmp')}")
        name = _name(load_database.stem)
        connection.execute(f"attach {_text(str(load_database))} as {name} (read_only)")
        connection.execute(f"use {name}")
        yield connection


def _described(
    connection: duckdb.DuckDBPyConnection, made_of: str, left_out: Collection[LeftOut]
) -> Published:
    runs = connection.execute("select max(run_id) from staging.stg_sync_log").fetchone()
    as_of = connection.execute("select max(as_of) from marts.as_of").fetchone()
    return Published(
        published_at=SystemClock().now(),
        as_of=as_of[0] if as_of else None,
        run_id=runs[0] if runs else None,
        kseflow_version=version("kseflow"),
        fingerprint=made_of,
        left_out=orjson.dumps([taxpayer.as_json() for taxpayer in left_out]).decode(),
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
        "$kseflow_version::varchar as kseflow_version, $fingerprint::varchar as fingerprint, "
        "$left_out::varchar as left_out",
        {name: value for name, value in vars(published).items() if name != "looked_at"},
    )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'
