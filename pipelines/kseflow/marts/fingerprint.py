"""What a published file was made of, as one text: the loaded data, the models, this version.

Logs are no data: a load that found nothing new writes its own rows, and nothing else.
"""

from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import duckdb

from kseflow.constants import DATASET

# Per table the columns that tell of a change. Names and hashes of rows are dear, for each is
# another, and they change only with a new read_at; sessions are listed again and again without
# having changed.
COLUMNS_SQL = """
select
    table_name,
    list(column_name order by column_index) as columns,
    list(column_name order by column_index) filter (
        where if(
            table_name = 'sessions',
            column_name != 'read_at',
            data_type != 'VARCHAR' or not regexp_matches(column_name, '(number|hash|_name|_text)$')
        )
    ) as telling
from duckdb_columns()
where database_name = current_database() and schema_name = $1
    and not starts_with(table_name, '_dlt')
group by table_name
order by table_name
"""

# Of logs: which taxpayers there are, and how each part of a load went last; which warnings.
LOG_SQL = """
select count(*), sum(hash(context_type, context_id, resource, last))
from (
    select context_type, context_id, resource, arg_max({{{last}}}, run_id) as last
    from {table} group by all
)
"""
WARNINGS_SQL = """
select count(*), sum(hash(warning))
from (select distinct (context_type, context_id, message) as warning from {table})
"""
LOGS = {"sync_log": LOG_SQL, "api_warnings": WARNINGS_SQL, "api_requests": "select 0"}
LAST = {"taxpayer_name", "outcome", "reaches_back_to", "credential", "credential_ends_at"}

# A load asks for a package in any case; of a window with nothing in it that is only a log.
NOTHING_EXPORTED = {
    "status_code": "status_code = 200",
    "metadata_count": "metadata_count = 0",
    "is_effectively_truncated": "not is_effectively_truncated",
    "requested_to": "requested_to is null",
    "error": "error is null",
}


def project_folder() -> Path:
    """Return the folder of the dbt project: inside the installed package, or the checkout's."""
    installed = Path(__file__).parents[1] / "sql"
    return installed if installed.exists() else Path(__file__).parents[3] / "sql"


def fingerprint(connection: duckdb.DuckDBPyConnection) -> str:
    """Return what changes with the raw tables of the connection's database, or with the models.

    Reading rows again that did not change changes it too, unless they are sessions.
    """
    digest = sha256(version("kseflow").encode())
    for table, columns, telling in connection.execute(COLUMNS_SQL, [DATASET]).fetchall():
        last = ", ".join(f"{c}: {c}" for c in columns if c in LAST)
        is_new = "true"
        if table == "export_packages" and NOTHING_EXPORTED.keys() <= set(columns):
            is_new = f"({' and '.join(NOTHING_EXPORTED.values())}) is not true"
        hashed = ", ".join(telling or ["1"])
        whole = f"select count(*), sum(hash({hashed})) from {{table}} where {is_new}"
        sql = LOGS.get(table, whole).format(table=f"{DATASET}.{table}", last=last)
        digest.update(repr((table, columns, connection.execute(sql).fetchall())).encode())
    for path in sorted(_files(project_folder())):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(project: Path) -> list[Path]:
    folders = ("macros", "models", "seeds", "tests")
    found = [path for folder in folders for path in (project / folder).rglob("*.*")]
    return [project / "dbt_project.yml", *found]
