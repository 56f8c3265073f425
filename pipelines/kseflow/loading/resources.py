"""The raw tables as dlt resources, all fed by one walk through the API.

One answer of /invoices serves several tables, and what is read depends on what was listed and on
what the warehouse lacks.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import dlt
import pyarrow as pa
from dlt.extract import DltResource

from kseflow.constants import KEPT_ROWS
from kseflow.loading.destinations import takes_of
from kseflow.loading.extraction import Extraction
from kseflow.loading.kept import Commit
from kseflow.loading.lakes import warehouse_of
from kseflow.raw.arrow import Table
from kseflow.raw.tables import TABLES

Rows = tuple[Table, pa.Table]


def resources(
    extraction: Extraction, *, until_commit: bool, only: Collection[str] = ()
) -> Sequence[DltResource]:
    """Return the resources of one extraction; `until_commit` ends them at the next commit.

    Rows come for the tables in `only`, or for those that are selected; the logs always come.
    """

    @dlt.resource(selected=False, name="answers")
    def answers() -> Iterator[Rows]:
        state = dlt.current.resource_state
        pipeline = dlt.current.pipeline()
        takes = takes_of(pipeline)
        if not extraction.has_begun:
            tables = frozenset(only or dlt.current.source().resources.selected)
            with warehouse_of(pipeline) as warehouse:
                extraction.begin(warehouse, state, tables)
        try:
            commits = _commits(extraction, until_commit=until_commit)
            for commit in [_joined(commits)] if takes.strategy == "upsert" else commits:
                for resource, cursors in commit.cursors.items():
                    state(resource).update(cursors)
                for table, rows in commit.rows:
                    yield table, takes.ready(table, rows)
        finally:
            if not until_commit:
                extraction.close()

    return [answers | _rows_of(table) for table in TABLES]


def _commits(extraction: Extraction, *, until_commit: bool) -> Iterator[Commit]:
    while not extraction.is_done:
        yield extraction.take()
        if until_commit:
            return


def _joined(commits: Iterator[Commit]) -> Commit:
    """Make one of several commits: a lake takes a key once in a run. What is too much waits."""
    rows: dict[Table, list[pa.Table]] = {}
    count, last = 0, None
    for last in commits:
        for table, more in last.rows:
            rows.setdefault(table, []).append(more)
            count += more.num_rows
        if count > KEPT_ROWS:
            break
    if last is None:
        return Commit([], {}, True)
    joined = [(table, pa.concat_tables(parts)) for table, parts in rows.items()]
    return Commit(joined, last.cursors, last.is_last)


def _rows_of(table: Table) -> Any:
    @dlt.transformer(  # type: ignore[call-overload, untyped-decorator]
        name=table.name,
        primary_key=table.key,
        columns=table.hints,
        write_disposition="merge",
    )
    def rows(answer: Rows) -> Iterator[Any]:
        if answer[0] is table:
            hints = takes_of(dlt.current.pipeline()).hints()
            yield dlt.mark.with_hints(answer[1], hints)

    rows.apply_hints(additional_table_hints={"description": table.description})
    return rows
