"""What earlier runs left in the destination, read with plain SQL."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb
import orjson
import pyarrow as pa

from kseflow.constants import DATASET
from kseflow.context import Context
from kseflow.database import opened
from kseflow.loading.exports.windows import AskedExport
from kseflow.loading.lacking import (
    AWAITED,
    AWAITED_SQL,
    BOTH_STORED_SQL,
    CONFIRMED,
    CONFIRMED_SQL,
    STORED,
    STORED_SQL,
)
from kseflow.loading.worklist import Worklist
from kseflow.raw.arrow import Table
from kseflow.raw.tables import (
    API_REQUESTS,
    EXPORT_PACKAGES,
    FAILED_INVOICES,
    INVOICE_READS,
    SESSION_INVOICES,
    SESSIONS,
    SYNC_LOG,
    UPO_DOCUMENTS,
    UPO_READS,
)

if TYPE_CHECKING:
    from dlt import Pipeline

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


Rows = tuple[list[str], list[tuple[Any, ...]]]  # column names, rows


class Warehouse:
    """The raw tables of one dataset; those that do not exist yet count as empty."""

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
        """Read whatever destination the pipeline writes, through one connection."""
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
        connection = opened(database, wait_s=wait_s)

        def run(sql: str) -> Rows | None:
            try:
                answer = connection.execute(sql)
            except duckdb.CatalogException:
                return None
            return [column[0] for column in answer.description], answer.fetchall()

        return cls(run, lambda table: f"{DATASET}.{table}", lambda sql: _arrow_of(connection, sql))

    def worklist(self, *, with_failures: bool = True) -> Worklist:
        """Return what the warehouse lacks compared with the counters it holds.

        Without `failed_invoices` where that table is not loaded (`with_failures`).
        """
        failed = self._name(FAILED_INVOICES.name)
        is_there = self._run(f"select 1 from {failed} where 1 = 0") is not None
        stored_sql = (BOTH_STORED_SQL if with_failures and is_there else STORED_SQL).format(
            session_invoices=self._name(SESSION_INVOICES.name), failed_invoices=failed
        )
        confirmed_sql = CONFIRMED_SQL.format(upo_documents=self._name(UPO_DOCUMENTS.name))
        awaited_sql = AWAITED_SQL.format(session_invoices=self._name(SESSION_INVOICES.name))
        return Worklist(
            self._read(SESSIONS),
            self._table(stored_sql, STORED),
            self._read(INVOICE_READS),
            self._table(confirmed_sql, CONFIRMED),
            self._read(UPO_READS),
            self._table(awaited_sql, AWAITED),
        )

    def asked_exports(self, now: datetime) -> dict[tuple[Context, str], list[AskedExport]]:
        """Return the exports of the last day by taxpayer and subject type."""
        asked: dict[tuple[Context, str], list[AskedExport]] = {}
        sql = f"select * from {{}} where requested_at > '{(now - DAY).isoformat()}'"
        for row in self.rows(sql, EXPORT_PACKAGES):
            is_caught_up = (
                row["error"] is None
                and not row["is_effectively_truncated"]
                and row["requested_to"] is None
            )
            key = Context(row["context_type"], row["context_id"]), row["subject_type"]
            asked.setdefault(key, []).append(AskedExport(row["requested_at"], is_caught_up))
        return asked

    def exported_since(self) -> dict[tuple[Context, str], datetime]:
        """Return where the earliest window of any package begins, as above."""
        sql = (
            "select context_type, context_id, subject_type, min(requested_from) as since "
            "from {} group by 1, 2, 3"
        )
        return {
            (Context(row["context_type"], row["context_id"]), row["subject_type"]): row["since"]
            for row in self.rows(sql, EXPORT_PACKAGES)
        }

    def request_times(self, now: datetime) -> dict[tuple[Context, str], list[datetime]]:
        """Return when each taxpayer's requests of the last hour were sent, by group."""
        spent: dict[tuple[Context, str], set[datetime]] = {}
        # A run's name begins with its start: text that every warehouse compares alike.
        since = f"{now - DAY:%Y%m%dT%H%M%SZ}"
        for row in self.rows(f"select * from {{}} where run_id > '{since}'", API_REQUESTS):
            if row["read_at"] > now - HOUR:
                times = row["requested_at"]
                texts = orjson.loads(times) if isinstance(times, str) else times
                key = Context(row["context_type"], row["context_id"]), row["api_group"]
                moments = (datetime.fromisoformat(text) for text in texts)
                spent.setdefault(key, set()).update(m for m in moments if now - HOUR < m <= now)
        return {key: sorted(times) for key, times in spent.items()}

    def environments(self) -> set[str]:
        """Return the base URLs that this warehouse was loaded from."""
        sql = "select distinct environment from {}"
        return {row["environment"] for row in self.rows(sql, SYNC_LOG)}

    def rows(self, sql: str, *tables: Table) -> list[dict[str, Any]]:
        """Run `sql`, with each `{}` standing for a raw table, and return its rows."""
        found = self._run(sql.format(*(self._name(table.name) for table in tables)))
        if found is None:
            return []
        names, values = found
        return [dict(zip(names, row, strict=True)) for row in values]

    def _read(self, table: Table) -> pa.Table | None:
        """Return a table's columns, lists left out; null what an older version did not load."""
        columns = [column for column in table.schema if column.type != pa.list_(pa.string())]
        there, _ = self._run(f"select * from {self._name(table.name)} where 1 = 0") or ([], [])
        names = (c.name if c.name in there else f"null as {c.name}" for c in columns)
        sql = f"select {', '.join(names)} from {self._name(table.name)}"
        return self._table(sql, pa.schema(columns))

    def _table(self, sql: str, schema: pa.Schema) -> pa.Table | None:
        """Return a query's rows in the types that were loaded, None when there are none."""
        if self._arrow is not None:
            rows = self._arrow(sql)
            return rows.cast(schema) if rows is not None and rows.num_rows else None
        found = self._run(sql)
        if found is None or not found[1]:
            return None
        columns = zip(*found[1], strict=True)
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)


def _arrow_of(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table | None:
    try:
        return connection.sql(sql).to_arrow_table()
    except duckdb.CatalogException:
        return None
