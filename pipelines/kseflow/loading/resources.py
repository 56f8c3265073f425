"""The raw tables as dlt resources, all fed by one walk through the API.

One answer of /invoices serves several tables, and what is read depends on what was listed and on
what the warehouse lacks.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import dlt
import pyarrow as pa
from dlt.extract import DltResource

from kseflow.loading.extraction import Extraction
from kseflow.loading.warehouse import Warehouse
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
        if not extraction.has_begun:
            tables = frozenset(only or dlt.current.source().resources.selected)
            with Warehouse.of_pipeline(dlt.current.pipeline()) as warehouse:
                extraction.begin(warehouse, state, tables)
        try:
            while not extraction.is_done:
                commit = extraction.take()
                for resource, cursors in commit.cursors.items():
                    state(resource).update(cursors)
                yield from commit.rows
                if until_commit:
                    return
        finally:
            if not until_commit:
                extraction.close()

    return [answers | _rows_of(table) for table in TABLES]


def _rows_of(table: Table) -> Any:
    @dlt.transformer(  # type: ignore[call-overload, untyped-decorator]
        name=table.name,
        primary_key=table.key,
        columns=table.hints,
        write_disposition={"disposition": "merge", "strategy": "delete-insert"},
    )
    def rows(answer: Rows) -> Iterator[pa.Table]:
        if answer[0] is table:
            yield answer[1]

    rows.apply_hints(additional_table_hints={"description": table.description})
    return rows
