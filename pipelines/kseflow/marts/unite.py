"""The files of loads that share the taxpayers, united in one before the marts are built."""

from pathlib import Path
from typing import Any

from kseflow.constants import LOCK_WAIT_S
from kseflow.database import (
    dbt_folder,
    load_file,
    locked,
    locked_if_free,
    opened,
    text_literal,
)
from kseflow.files import private_files
from kseflow.marts.snapshot import QUIET_S, copy_between_commits, remove
from kseflow.shard import Shard, shards_beside

NOTE_SQL = """
create schema if not exists file.shards;
create table if not exists file.shards.united (shard varchar primary key, written varchar);
insert or replace into file.shards.united values ({shard}, {written})
"""


def unite(database: Path, *, lock_wait_s: float = LOCK_WAIT_S) -> None:
    """Bring what the shards' loads wrote since the last time into the load's file of `database`.

    Without shards nothing is done. Raises `WarehouseError` when a file cannot be used.
    """
    whole = load_file(database)
    files = {shard: load_file(shard.file(database)) for shard in shards_beside(database)}
    if not files or _united(whole, lock_wait_s) == {
        str(s): _mark(file) for s, file in files.items()
    }:
        return
    with private_files(), locked(whole, lock_wait_s):
        known = _united(whole, 0)
        for shard, file in files.items():
            if known.get(str(shard)) != _mark(file):
                _take_in(shard, file, whole, lock_wait_s)


def _take_in(shard: Shard, file: Path, whole: Path, wait_s: float) -> None:
    """Bring in one shard's file, as its last commit left it, while its load goes on."""
    from kseflow.loading.shards import bring  # which imports dlt; most have no shards

    work = dbt_folder(whole)
    work.mkdir(exist_ok=True)
    copy = work / file.name
    try:
        with locked_if_free(file) as is_free:
            mark = _mark(file)
            quiet_s = 0 if is_free else QUIET_S
            copy_between_commits(file, copy, wait_s=wait_s, quiet_s=quiet_s)
        note = NOTE_SQL.format(shard=text_literal(str(shard)), written=text_literal(mark))
        bring(copy, whole, shard.has, note)
    finally:
        remove(copy)


def _mark(file: Path) -> str:
    """Return what changes whenever the file is written."""
    files = (file, file.with_name(f"{file.name}.wal"))
    found = [(path.name, path.stat()) for path in files if path.exists()]
    return str([(name, known.st_mtime_ns, known.st_size) for name, known in found])


def _united(whole: Path, wait_s: float) -> dict[str, str]:
    """Return, by shard, the mark of what was united last."""
    if not whole.exists():
        return {}
    with opened(whole, wait_s=wait_s) as connection:
        there: Any = connection.execute(
            "from duckdb_tables() where schema_name = 'shards' and table_name = 'united'"
        ).fetchall()
        return dict(connection.execute("from shards.united").fetchall()) if there else {}
