"""What a load's file holds of some taxpayers, brought into another: rows, and their cursors.

A shard's load begins with what the whole file has of its taxpayers, and a build brings it back.
Only what differs is written, in one transaction.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import duckdb
from dlt.common.pipeline import TPipelineState
from dlt.common.versioned_state import compress_state, decompress_state
from dlt.pipeline.state_sync import bump_pipeline_state_version_if_modified

from kseflow.constants import DATASET
from kseflow.context import Context
from kseflow.database import attached_to, locked, warehouse_error
from kseflow.raw.tables import TABLES
from kseflow.shard import Shard

OWNS = Callable[[Context], bool]
Columns = dict[str, str]
LOADS, STATE, SCHEMAS = "_dlt_loads", "_dlt_pipeline_state", "_dlt_version"

COLUMNS_SQL = """
select table_name, column_name, data_type from duckdb_columns()
where database_name = $1 and schema_name = $2
order by table_name, column_index
"""
# The state that dlt would restore: of the newest load that came to its end.
STATE_SQL = f"""
select stated.* from {{file}}.{DATASET}.{STATE} as stated
inner join {{file}}.{DATASET}.{LOADS} as loaded on loaded.load_id = stated._dlt_load_id
where loaded.status = 0
order by loaded.load_id desc limit 1
"""


def begin_shard(whole: Path, file: Path, shard: Shard, wait_s: float) -> None:
    """Give the load of a shard that has no rows yet those that the `whole` file has of it.

    Its first load then asks KSeF for what changed since. Raises `WarehouseError`.
    """
    if not whole.exists() or _has_rows(file, wait_s):
        return
    with locked(whole, wait_s), locked(file, wait_s):
        if not _holds_dataset(file):
            bring(whole, file, shard.has)


def _has_rows(file: Path, wait_s: float) -> bool:
    if not file.exists():
        return False
    with locked(file, wait_s):
        return _holds_dataset(file)


def _holds_dataset(file: Path) -> bool:
    with attached_to(file) as connection:
        sql = "from duckdb_tables() where database_name = 'file' and schema_name = $1 limit 1"
        return bool(connection.execute(sql, [DATASET]).fetchall())


def bring(source: Path, target: Path, owns: OWNS, note: str = "") -> None:
    """Make `target` hold of the taxpayers that it `owns` what `source` does.

    Other taxpayers' rows stay as they are; `note` is SQL for the same transaction. Nobody may
    write the two files meanwhile. Raises `WarehouseError`.
    """
    try:
        with attached_to(target, source) as connection:
            theirs = _columns(connection, "source")
            if not theirs:  # a load that was cut off before its first commit
                return
            connection.execute("begin")
            connection.execute(f"create schema if not exists file.{DATASET}")
            ours = _adopted(connection, theirs)
            raw = sorted({table.name for table in TABLES} & theirs.keys())
            _name_owned(connection, raw, owns)
            for table in raw:
                _bring_rows(connection, table, ours[table], theirs[table])
            if {LOADS, STATE, SCHEMAS} <= theirs.keys():
                _bring_memory(connection, owns)
            if note:
                connection.execute(note)
            connection.execute("commit")
    except duckdb.Error as error:
        raise warehouse_error(error, target) from error


def _columns(connection: duckdb.DuckDBPyConnection, file: str) -> dict[str, Columns]:
    """Return the tables of an attached file, each with its columns' types."""
    found: dict[str, Columns] = {}
    for table, column, kind in connection.execute(COLUMNS_SQL, [file, DATASET]).fetchall():
        found.setdefault(table, {})[column] = kind
    return found


def _adopted(
    connection: duckdb.DuckDBPyConnection, theirs: dict[str, Columns]
) -> dict[str, Columns]:
    """Give the target the tables and columns that only the source has; return what it has."""
    ours = _columns(connection, "file")
    for table, columns in theirs.items():
        name = f"{DATASET}.{table}"
        if table not in ours:
            connection.execute(f"create table file.{name} as from source.{name} limit 0")
            continue
        for column in columns.keys() - ours[table].keys():
            connection.execute(f'alter table file.{name} add column "{column}" {columns[column]}')
    return _columns(connection, "file")


def _name_owned(connection: duckdb.DuckDBPyConnection, tables: list[str], owns: OWNS) -> None:
    """Fill the table `owned` with the taxpayers that are brought."""
    found = " union ".join(
        f"select context_type, context_id from {file}.{DATASET}.{table}"
        for table in tables
        for file in ("file", "source")
    )
    everybody = connection.execute(found).fetchall() if found else []
    owned = [who for who in everybody if owns(Context(*who))]
    connection.execute("create temp table owned (context_type varchar, context_id varchar)")
    connection.execute(
        "insert into owned select unnest($1::varchar[]), unnest($2::varchar[])",
        [[kind for kind, _ in owned], [name for _, name in owned]],
    )


def _bring_rows(
    connection: duckdb.DuckDBPyConnection, table: str, ours: Columns, theirs: Columns
) -> None:
    columns = [f'"{c}"' if c in theirs else f'null::{kind} as "{c}"' for c, kind in ours.items()]
    old = f"file.{DATASET}.{table}"
    new = f"(select {', '.join(columns)} from source.{DATASET}.{table})"
    equal = " and ".join(f'old."{column}" is not distinct from new."{column}"' for column in ours)
    mine = "semi join owned using (context_type, context_id)"
    connection.execute(
        f"delete from {old} where rowid in (select old.rowid from "
        f"(select rowid, * from {old} {mine}) as old anti join {new} as new on {equal})"
    )
    connection.execute(
        f"insert into {old} select * from (from {new} {mine}) as new anti join {old} as old "
        f"on {equal}"
    )


def _bring_memory(connection: duckdb.DuckDBPyConnection, owns: OWNS) -> None:
    """Bring dlt's own tables: which loads there were, and the cursors, each its owner's."""
    kept, brought = (_state(connection, file) for file in ("file", "source"))
    for table, key in ((LOADS, "load_id"), (SCHEMAS, "version_hash")):
        connection.execute(
            f"insert into file.{DATASET}.{table} by name from source.{DATASET}.{table} as new "
            f"anti join file.{DATASET}.{table} as old using ({key})"
        )
    if brought is None:
        return
    row, state = brought
    _keep_others(_cursors(state), _cursors(kept[1]) if kept else {}, owns)
    version, version_hash, _ = bump_pipeline_state_version_if_modified(state)
    row |= {"state": compress_state(state), "version": version, "version_hash": version_hash}
    connection.execute(f"delete from file.{DATASET}.{STATE}")
    names, places = ", ".join(row), ", ".join(f"${name}" for name in row)
    connection.execute(f"insert into file.{DATASET}.{STATE} ({names}) values ({places})", row)


def _state(
    connection: duckdb.DuckDBPyConnection, file: str
) -> tuple[dict[str, Any], TPipelineState] | None:
    """Return the row of the state that dlt would restore, and what it says."""
    answer = connection.execute(STATE_SQL.format(file=file))
    names = [column[0] for column in answer.description]
    for values in answer.fetchall():
        row = dict(zip(names, values, strict=True))
        return row, cast(TPipelineState, decompress_state(row["state"]))
    return None


def _cursors(state: TPipelineState) -> dict[str, dict[str, Any]]:
    """Return cursors by resource and key, which begins with the taxpayer's type and identifier."""
    resources: dict[str, dict[str, Any]] = (
        state.setdefault("sources", {}).setdefault("ksef", {}).setdefault("resources", {})
    )
    return resources


def _keep_others(
    brought: dict[str, dict[str, Any]], kept: dict[str, dict[str, Any]], owns: OWNS
) -> None:
    """Put into `brought`, of the taxpayers that are not owned, what is `kept` in its place."""

    def is_owned(key: str) -> bool:
        kind, name, _ = key.split(":", 2)
        return owns(Context(kind, name))

    for resource in brought.keys() | kept.keys():
        cursors = brought.setdefault(resource, {})
        for key in [key for key in cursors if not is_owned(key)]:
            del cursors[key]
        others = kept.get(resource, {})
        cursors |= {key: cursor for key, cursor in others.items() if not is_owned(key)}
