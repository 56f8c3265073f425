"""The published marts, narrowed to the taxpayers and days that were chosen."""

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import Any

import duckdb
import pandas as pd

from kseflow.constants import WARSAW
from kseflow.trends.anomaly import Anomaly

NAMES_SQL = """
select context_type, context_id, name
from marts.taxpayers
where chosen_taxpayer(context_id)
order by context_id
"""


class Marts:
    """One open file; each query is asked once, so that all sections tell the same number.

    In SQL, `chosen(context_id, day)` tells whether a row is of the taxpayers and days asked for,
    `chosen_month(context_id, month)` the same of a month of which any day was asked for, and
    `chosen_taxpayer(context_id)` of a row that has no day.
    `now` is the moment of reading, from which the age of the copy is counted; `is_narrowed` tells
    whether taxpayers were named, so that nothing is told of others; `changes` asks what trends say
    of them, once.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        now: datetime,
        changes: "Callable[[Marts], list[Anomaly]]",
        *,
        is_narrowed: bool = False,
    ) -> None:
        self.connection = connection
        self.is_narrowed = is_narrowed
        self._changes = changes
        self.now = now.astimezone(WARSAW)
        self._asked: dict[str, pd.DataFrame] = {}

    def __enter__(self) -> "Marts":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def frame(self, sql: str) -> pd.DataFrame:
        """Return the rows of a query, each time the same ones; yours to change."""
        if sql not in self._asked:
            # By way of Arrow: DuckDB's own way calls what pandas 4 removes.
            rows = self.connection.sql(sql).to_arrow_table()
            self._asked[sql] = rows.to_pandas(date_as_object=False)
        return self._asked[sql].copy()

    @cached_property
    def changes(self) -> list[Anomaly]:
        """What trends say of the chosen days, all taxpayers together first; none when unloaded."""
        return self._changes(self)

    @cached_property
    def names(self) -> dict[tuple[str, str], str]:
        """What the chosen taxpayers are called, by context type and id; those with a name."""
        rows = self.frame(NAMES_SQL).dropna(subset="name").itertuples(index=False)
        return {(row.context_type, row.context_id): row.name for row in rows}

    def name(self, context_id: str) -> str:
        """Write a taxpayer: its name with the identifier, or the identifier alone."""
        names = [name for (_, known), name in self.names.items() if known == context_id]
        return f"{names[0]} ({context_id})" if names else context_id

    def one(self, sql: str) -> Any:
        """Return the only row of a query, its columns as attributes."""
        (row,) = self.frame(sql).itertuples(index=False)
        return row
