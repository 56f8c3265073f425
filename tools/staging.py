"""dbt's sources and staging models, from the raw tables."""

import json
from collections.abc import Iterator

import pyarrow as pa

from kseflow.raw.arrow import Column, Table
from kseflow.raw.tables import TABLES

FOLDER = "sql/models/staging"
ORIGIN = "Written by `make generate` from kseflow/raw/tables.py: change that."

# Lists are JSON text in staging: a destination without lists has no other form of them.
SQL_TYPES = {
    pa.string(): "varchar",
    pa.list_(pa.string()): "varchar",
    pa.bool_(): "boolean",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.decimal128(18, 2): "decimal(18,2)",
    pa.date32(): "date",
    pa.timestamp("us", tz="UTC"): "timestamp with time zone",
}

SOURCES = """\
# {origin}
sources:
  - name: ksef_raw
    database: "{{{{ var('kseflow_raw_database', target.database or var('kseflow_raw_schema')) }}}}"
    schema: "{{{{ var('kseflow_raw_schema') }}}}"
    description: What KSeF said, as kseflow load stored it; times are UTC instants.
    loaded_at_field: read_at
    tables:
{tables}
"""


def staging_files() -> dict[str, str]:
    """Return the text of each file of the staging folder, by its path in the repository."""
    files = {f"{FOLDER}/{model(table)}.sql": _select(table) for table in TABLES}
    models = "\n".join(line for table in TABLES for line in _model_lines(table))
    tables = "\n".join(line for table in TABLES for line in _source_lines(table))
    return files | {
        f"{FOLDER}/sources.yml": SOURCES.format(origin=ORIGIN, tables=tables),
        f"{FOLDER}/staging.yml": f"# {ORIGIN}\nmodels:\n{models}\n",
    }


def model(table: Table) -> str:
    """Return the name of a raw table's staging model."""
    return f"stg_{table.name}"


def _staged(column: Column) -> str:
    return column.staged_as or column.name


def _select(table: Table) -> str:
    casts = ",\n".join(
        f"    {{{{ as_type('{c.name}', '{SQL_TYPES[c.type]}') }}}} as {_staged(c)}"
        for c in table.columns
    )
    return f"-- {ORIGIN}\nselect\n{casts}\nfrom {{{{ raw('{table.name}') }}}}\n"


def _source_lines(table: Table) -> Iterator[str]:
    yield f"      - name: {table.name}"
    yield f"        description: {json.dumps(table.description)}"
    yield "        columns:"
    for c in table.columns:
        kind, told = json.dumps(SQL_TYPES[c.type]), json.dumps(c.description)
        yield f"          - {{name: {c.name}, data_type: {kind}, description: {told}}}"


def _model_lines(table: Table) -> Iterator[str]:
    told = f"{table.description.split('. ')[0]}. Renamed and cast only."
    key = ", ".join(_staged(c) for c in table.columns if c.name in table.key)
    yield f"  - name: {model(table)}"
    yield f"    description: {json.dumps(told)}"
    yield f"    data_tests: [{{unique_combination: {{arguments: {{columns: [{key}]}}}}}}]"
    yield "    columns:"
    for c in table.columns:
        is_moment = pa.types.is_timestamp(c.type)
        told = json.dumps(c.description + (" (UTC instant)" if is_moment else ""))
        tests = ", data_tests: [is_empty]" if c.name == "unrecognised" else ""
        yield f"      - {{name: {_staged(c)}, description: {told}{tests}}}"
