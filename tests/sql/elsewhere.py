"""The raw tables of a DuckDB file put where another warehouse reads them, and rows compared."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa

from kseflow.constants import DATASET
from kseflow.loading.destinations import TRIED
from kseflow.raw.arrow import TEXTS
from kseflow.raw.tables import TABLES
from tests.copies import rows_of

MARTS_SQL = """
select table_name, list(column_name order by column_index)
from duckdb_columns() where schema_name = 'marts' group by table_name order by table_name
"""


def raw_tables(database: Path) -> Iterator[tuple[str, pa.Table]]:
    """Yield the raw tables by name, as a load gives them to any destination but DuckDB's."""
    for table in TABLES:
        lists = [column.name for column in table.columns if column.type == TEXTS]
        rows = rows_of(database, f"select * from {DATASET}.{table.name}")
        for row in rows:
            row |= {name: row[name] and json.loads(row[name]) for name in lists}
        yield table.name, TRIED["postgres"].ready(table, table.arrow(rows))


def load_into_postgres(database: Path, url: str, work: Path) -> None:
    """Have dlt write the raw tables of a file to a server, as a load does."""
    pipeline = dlt.pipeline(
        "copied", destination=dlt.destinations.postgres(url), dataset_name=DATASET,
        pipelines_dir=str(work),
    )  # fmt: skip
    resources = [dlt.resource(rows, name=name) for name, rows in raw_tables(database)]
    pipeline.run(resources, loader_file_format="csv")


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
