"""The raw tables of a DuckDB file put where another warehouse reads them, and rows compared."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa

from kseflow.constants import DATASET
from kseflow.raw.tables import TABLES
from tests.copies import rows_of

MARTS_SQL = """
select table_name, list(column_name order by column_index)
from duckdb_columns() where schema_name = 'marts' group by table_name order by table_name
"""


def raw_tables(database: Path) -> Iterator[tuple[str, pa.Table]]:
    """Yield the raw tables by name, as a load gives them to dlt: lists are lists."""
    for table in TABLES:
        lists = [column.name for column in table.columns if pa.types.is_list(column.type)]
        rows = rows_of(database, f"select * from {DATASET}.{table.name}")
        for row in rows:
            row |= {name: row[name] and json.loads(row[name]) for name in lists}
        yield table.name, table.arrow(rows)


def with_lists_as_json(rows: pa.Table) -> pa.Table:
    """Return a table without lists, as dlt writes it where it has no type for them."""
    for number, field in enumerate(rows.schema):
        if pa.types.is_list(field.type):
            texts = [value and json.dumps(value) for value in rows[field.name].to_pylist()]
            rows = rows.set_column(number, field.name, pa.array(texts, pa.string()))
    return rows


def load_elsewhere(database: Path, destination: Any, work: Path) -> None:
    """Have dlt write the raw tables to a destination, with the types that it gives them there."""
    pipeline = dlt.pipeline(
        "copied", destination=destination, dataset_name=DATASET, pipelines_dir=str(work)
    )
    resources = [dlt.resource(rows, name=name) for name, rows in raw_tables(database)]
    pipeline.run(resources, loader_file_format="insert_values")


def marts_of(database: Path) -> Iterator[tuple[str, list[str], list[tuple[Any, ...]]]]:
    """Yield name, columns and rows of each mart of a DuckDB file."""
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        for mart, columns in connection.execute(MARTS_SQL).fetchall():
            rows = connection.execute(f"select {', '.join(columns)} from marts.{mart}").fetchall()
            yield mart, columns, rows


def assert_same(mart: str, columns: Sequence[str], ours: Iterable[Any], theirs: Any) -> None:
    """Compare rows in any order, numbers to six decimals."""
    ours, theirs = sorted(ours, key=_order), sorted(map(tuple, theirs), key=_order)
    assert len(ours) == len(theirs), mart
    for one, other in zip(ours, theirs, strict=True):
        differing = {
            column: (here, there)
            for column, here, there in zip(columns, one, other, strict=True)
            if not _is_same(here, there)
        }
        assert differing == {}, mart


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-6 + 1e-12 * abs(one)
    return bool(one == other)


def _order(row: Iterable[Any]) -> list[tuple[bool, str]]:
    """Sort by what is not measured first: of two equal measures either may be a bit larger."""
    values = [round(value, 3) if isinstance(value, float) else value for value in row]
    return [(value is None, str(value)) for value in values]
