"""Plain SQL where the rows are: the raw tables of one dataset, whatever destination holds them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb
import pyarrow as pa

from kseflow.constants import DATASET, WORKLIST_MEMORY
from kseflow.database import bounded, opened
from kseflow.raw.arrow import COUNT, TIME, Table

if TYPE_CHECKING:
    from dlt import Pipeline

Rows = tuple[list[str], list[tuple[Any, ...]]]  # column names, rows
SQL_TYPES = {COUNT: "integer", TIME: "timestamp with time zone"}  # others are compared as texts


class Reader:
    """Queries of raw tables; those that do not exist yet count as empty."""

    def __init__(
        self,
        run: Callable[[str], Rows | None],
        name: Callable[[str], str],
        arrow: Callable[[str], pa.Table | None] | None = None,
    ) -> None:
        """Use `run` for queries (None: a table is missing) and `name` to qualify table names.

        `arrow` does the same as `run` for many rows, where the destination can.
        """
        self._run = run
        self._name = name
        self._arrow = arrow

    @classmethod
    @contextmanager
    def of_pipeline(cls, pipeline: "Pipeline") -> Iterator[Self]:
        """Read the destination that the pipeline writes, where it answers queries itself."""
        from dlt.destinations.exceptions import DatabaseUndefinedRelation  # readers do without dlt

        with pipeline.sql_client() as client:

            def run(sql: str) -> Rows | None:
                try:
                    with client.execute_query(sql) as cursor:
                        return [column[0] for column in cursor.description], cursor.fetchall()
                except DatabaseUndefinedRelation:
                    return None

            def arrow(sql: str) -> pa.Table | None:
                return _arrow_of(client.native_connection, sql)

            is_duckdb = isinstance(client.native_connection, duckdb.DuckDBPyConnection)
            yield cls(run, client.make_qualified_table_name, arrow if is_duckdb else None)

    @classmethod
    def of_file(cls, database: Path, wait_s: float = 10.0) -> Self:
        """Read a DuckDB file, waiting while a load writes it.

        Raises `WarehouseError` when there is no file or it stays locked.
        """
        return cls.of_connection(opened(database, wait_s=wait_s), f"{DATASET}.")

    @classmethod
    def of_connection(cls, connection: duckdb.DuckDBPyConnection, schema: str = "") -> Self:
        """Read tables of an open DuckDB, whose names begin with `schema`."""

        def run(sql: str) -> Rows | None:
            try:
                answer = connection.execute(sql)
            except duckdb.CatalogException:
                return None
            return [column[0] for column in answer.description], answer.fetchall()

        return cls(run, lambda table: f"{schema}{table}", lambda sql: _arrow_of(connection, sql))

    def rows(self, sql: str, *tables: Table) -> list[dict[str, Any]]:
        """Run `sql`, with each `{}` standing for a raw table, and return its rows."""
        found = self._run(sql.format(*(self._name(table.name) for table in tables)))
        if found is None:
            return []
        names, values = found
        return [dict(zip(names, row, strict=True)) for row in values]

    def columns(self, table: Table) -> list[str] | None:
        """Return the names of a table's columns, None where there is no such table."""
        found = self._run(f"select * from {self._name(table.name)} where 1 = 0")
        return None if found is None else found[0]

    def source(self, table: Table) -> str:
        """Return what stands for a table in SQL: null is what an older version did not load."""
        there = self.columns(table)
        if there is None:
            return f"(select {', '.join(map(_null, table.schema))} where 1 = 0)"
        lacking = [column for column in table.schema if column.name not in there]
        if not lacking:
            return self._name(table.name)
        return f"(select *, {', '.join(map(_null, lacking))} from {self._name(table.name)})"

    def table(self, sql: str, schema: pa.Schema) -> pa.Table | None:
        """Return a query's rows in the types that were loaded, None when there are none."""
        if self._arrow is not None:
            rows = self._arrow(sql)
            return rows.cast(schema) if rows is not None and rows.num_rows else None
        found = self._run(sql)
        if found is None or not found[1]:
            return None
        columns = zip(*found[1], strict=True)
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)


def literal(value: str | datetime) -> str:
    """Write a text or a moment as SQL."""
    if isinstance(value, datetime):
        return f"cast('{value.isoformat()}' as timestamp with time zone)"
    return "'" + value.replace("'", "''") + "'"


def _null(column: pa.Field) -> str:
    return f"cast(null as {SQL_TYPES.get(column.type, 'varchar')}) as {column.name}"


def _arrow_of(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table | None:
    try:
        with bounded(connection, WORKLIST_MEMORY):
            return connection.sql(sql).to_arrow_table()
    except duckdb.CatalogException:
        return None
