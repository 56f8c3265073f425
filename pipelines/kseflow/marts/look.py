"""When a published file was last found to be up to date, noted beside it.

A load that finds nothing new leaves the file as it is, so nobody waits and nothing is written
twice. What KSeF was asked since it was published is in a small file of its own.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import duckdb
import orjson

from kseflow.constants import DATASET
from kseflow.files import private_files

# When KSeF answered last, as copy_moment tells it.
READ_TABLES = ("sessions", "invoice_reads", "upo_reads", "export_packages")
MOMENTS = {
    table: f"select max(read_at) as moment from {DATASET}.{table}" for table in READ_TABLES
} | {
    "sync_log": f"select max(ended_at) as moment from {DATASET}.sync_log "
    "where outcome = 'ok' and resource in ('sessions_online', 'sessions_batch')",
}
UNION = " union all "
TABLES_SQL = """
select table_name from duckdb_tables()
where database_name = current_database() and schema_name = $1
"""
LOG_SQL = f"""
select
    context_type, context_id, resource as part, outcome,
    arg_max(message, ended_at) as message, min(started_at) as started_at, max(ended_at) as ended_at
from {DATASET}.sync_log
where run_id > $run_id and (resource in ('login', 'sessions_online', 'sessions_batch')
    or outcome = 'failed')
group by context_type, context_id, resource, outcome
"""
LATER_LOG_SQL = """
select row.*
from (
    select unnest(from_json($1, '[{
        "context_type": "VARCHAR", "context_id": "VARCHAR", "part": "VARCHAR",
        "outcome": "VARCHAR", "message": "VARCHAR", "started_at": "TIMESTAMPTZ",
        "ended_at": "TIMESTAMPTZ"
    }]')) as row
)
"""
DUE_SQL = """
select as_of_day < cast(timezone('Europe/Warsaw', $as_of) as date)
    or exists (from marts.sessions where not is_stuck and stuck_at < $as_of)
    or $package_count > (select count(*) from staging.stg_export_packages) and (
        exists (
            from marts.invoice_completeness
            where pending_export_count > 0 and exported_to is not null
        )
        or exists (
            from (
                from marts.packages
                where is_effectively_truncated is not null
                qualify row_number() over (
                    partition by context_type, context_id, subject_type order by requested_at desc
                ) = 1
            )
            where exports_to_catch_up is distinct from 0
        )
    )
from marts.as_of
"""


@dataclass(frozen=True)
class Look:
    """What was found of a file with this `fingerprint`; moments are UTC.

    `log` has the last row since it was published of each taxpayer, part and outcome, of logins,
    lists and failures.
    """

    fingerprint: str
    looked_at: datetime
    as_of: datetime | None
    run_id: str | None
    log: list[dict[str, Any]]

    @classmethod
    def at(
        cls, now: datetime, fingerprint: str, published_run_id: str | None,
        load: duckdb.DuckDBPyConnection,
    ) -> Self:  # fmt: skip
        """Read what loads told since the run that was published."""
        moments = [sql for table, sql in MOMENTS.items() if table in _tables(load)]
        (as_of,) = load.execute(f"select max(moment) from ({UNION.join(moments)})").fetchall()[0]
        answer = load.execute(LOG_SQL, {"run_id": published_run_id or ""})
        names = [column[0] for column in answer.description]
        log = [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
        (run_id,) = load.execute(f"select max(run_id) from {DATASET}.sync_log").fetchall()[0]
        return cls(fingerprint, now, as_of, run_id, log)


def is_up_to_date(
    database: Path,
    published: duckdb.DuckDBPyConnection,
    load: duckdb.DuckDBPyConnection,
    made_of: str,
    now: datetime,
) -> bool:
    """Tell whether the published `database` is what would be made of the load's file; note that.

    `made_of` is that file's fingerprint.

    Time alone makes it untrue as well: with a new Warsaw day, when a session becomes stuck, and
    when exports have reached past invoices that they were still to have.
    """
    try:
        made = published.execute("select fingerprint, run_id from published").fetchall()
        was_made_of, run_id = made[0]
        if was_made_of != made_of:
            return False
        look = Look.at(now, made_of, run_id, load)
        if _is_due(published, load, look.as_of):
            return False
    except (duckdb.CatalogException, duckdb.BinderException):  # other tables than this version's
        return False
    _note(database, look)
    return True


def _tables(load: duckdb.DuckDBPyConnection) -> set[str]:
    return {name for (name,) in load.execute(TABLES_SQL, [DATASET]).fetchall()}


def _is_due(
    published: duckdb.DuckDBPyConnection, load: duckdb.DuckDBPyConnection, as_of: datetime | None
) -> bool:
    count = 0
    if "export_packages" in _tables(load):
        (count,) = load.execute(f"select count(*) from {DATASET}.export_packages").fetchall()[0]
    found = published.execute(DUE_SQL, {"as_of": as_of, "package_count": count}).fetchall()
    return bool(as_of and found and found[0][0])


def _note(database: Path, look: Look) -> None:
    """Write the look beside the published `database`, in one step, for who may read that."""
    file = _file(database)
    new = file.with_suffix(".new")
    with private_files():
        new.write_bytes(orjson.dumps(asdict(look)))
    with suppress(OSError):  # not a group of ours: then it is its owner's alone
        os.chown(new, -1, database.stat().st_gid)
        shutil.copymode(database, new)
    os.replace(new, file)


def last_look(database: Path, fingerprint: str) -> Look | None:
    """Return the last look at the file of this fingerprint; None when there is none to read."""
    try:
        found = orjson.loads(_file(database).read_bytes())
        if found["fingerprint"] != fingerprint:
            return None
        moments = {name: found[name] for name in ("looked_at", "as_of")}
        parsed = {n: text and datetime.fromisoformat(text) for n, text in moments.items()}
        return Look(**found | parsed)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget_look(database: Path) -> None:
    """Delete the note of a look: it was at a file that another has replaced."""
    _file(database).unlink(missing_ok=True)


def with_looks(published: duckdb.DuckDBPyConnection, database: Path) -> None:
    """Give the connection to a published file what was seen since, as tables of its own.

    `looked` has one row, `looked_at` and `as_of`; `later_log` has the rows of `Look.log`.
    """
    made = published.execute("select fingerprint, published_at from published").fetchone()
    look = last_look(database, made[0]) if made else None
    moments = [made and made[1], look and look.looked_at, look and look.as_of]
    published.execute(
        "create temp table looked as select greatest($1::timestamptz, $2::timestamptz) as "
        "looked_at, greatest($3::timestamptz, max(as_of)) as as_of from marts.as_of",
        moments,
    )
    log = orjson.dumps(look.log if look else []).decode()
    published.execute(f"create temp table later_log as {LATER_LOG_SQL}", [log])


def _file(database: Path) -> Path:
    return database.with_name(f".{database.name}.looked.json")
