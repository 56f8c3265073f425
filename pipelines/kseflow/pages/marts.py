"""The published marts, narrowed to the taxpayers and days that were asked for."""

from collections.abc import Sequence
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd

from kseflow.clock import SystemClock
from kseflow.constants import WARSAW
from kseflow.database import opened_marts, reading_marts
from kseflow.errors import ConfigurationError

if TYPE_CHECKING:
    from kseflow.trends import Anomaly

TAXPAYERS_OF_THE_FILE_SQL = """
select context_id from marts.sessions
union select context_id from marts.daily_outcomes
union select context_id from marts.packages
order by context_id
"""

NAMES_SQL = """
select context_type, context_id, name
from marts.taxpayers
where chosen_taxpayer(context_id)
order by context_id
"""

AS_OF_DAY_SQL = "select max(as_of_day) as as_of_day from marts.as_of"


class Marts:
    """One open file; each query is asked once, so that all sections tell the same number.

    In SQL, `chosen(context_id, day)` tells whether a row is of the taxpayers and days asked for,
    `chosen_month(context_id, month)` the same of a month of which any day was asked for, and
    `chosen_taxpayer(context_id)` of a row that has no day.
    `now` is the moment of reading, from which the age of the copy is counted; `is_narrowed` tells
    whether taxpayers were named, so that nothing is told of others.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        now: datetime,
        last: date = date.max,
        *,
        is_narrowed: bool = False,
    ) -> None:
        self._connection = connection
        self.is_narrowed = is_narrowed
        self._last = last
        self.now = now.astimezone(WARSAW)
        self._asked: dict[str, pd.DataFrame] = {}

    def __enter__(self) -> "Marts":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def frame(self, sql: str) -> pd.DataFrame:
        """Return the rows of a query, each time the same ones; yours to change."""
        if sql not in self._asked:
            # By way of Arrow: DuckDB's own way calls what pandas 4 removes.
            rows = self._connection.sql(sql).to_arrow_table()
            self._asked[sql] = rows.to_pandas(date_as_object=False)
        return self._asked[sql].copy()

    @cached_property
    def changes(self) -> "list[Anomaly]":
        """What trends say of the chosen days, all taxpayers together first; none when unloaded."""
        from kseflow.trends import anomalies, read_inputs

        (as_of_day,) = self.one(AS_OF_DAY_SQL)
        if pd.isna(as_of_day):
            return []
        day = min(as_of_day.date(), self._last)
        inputs = read_inputs(self._connection, "chosen(context_id, day)", as_of_day=day)
        return anomalies(inputs, self.names) if inputs else []

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


def open_marts(
    database: str | Path,
    taxpayers: Sequence[str] = (),
    first: date | str | None = None,
    last: date | str | None = None,
    *,
    now: datetime | None = None,
) -> Marts:
    """Open the published `database` for reading, in Warsaw time.

    `taxpayers` are identifiers as in `context_id`, all when none are named; `first` and `last`
    are Warsaw days, both included; `now` is the system's time unless given. Loads write another
    file and publishing replaces this one, so reading neither waits for a load nor hinders it.
    Raises `WarehouseError` when there are no marts to read, `ConfigurationError` for a taxpayer
    that is not in them or days that are none.
    """
    days = [_day(first) or date.min, _day(last) or date.max]
    if days[0] > days[1]:
        raise ConfigurationError(f"the first day, {days[0]}, is after the last, {days[1]}")
    connection, known = _opened(Path(database))
    if unknown := sorted(set(taxpayers) - set(known)):
        raise ConfigurationError(
            f"no taxpayer {', '.join(unknown)} in {database}; it has "
            + (", ".join(known[:20]) if known else "none yet: run kseflow load --build")
        )
    # The names are known ones, so they need no escaping.
    named = ", ".join(f"'{name}'" for name in taxpayers or known) or "''"
    for macro, begin in (("chosen", days[0]), ("chosen_month", days[0].replace(day=1))):
        connection.execute(
            f"create temp macro {macro}(taxpayer, day) as "
            f"taxpayer in ({named}) and day between date '{begin}' and date '{days[1]}'"
        )
    connection.execute(f"create temp macro chosen_taxpayer(taxpayer) as taxpayer in ({named})")
    return Marts(connection, now or SystemClock().now(), days[1], is_narrowed=bool(taxpayers))


def _opened(database: Path) -> tuple[duckdb.DuckDBPyConnection, list[str]]:
    """Open the file; return the connection and the taxpayers there."""
    connection = opened_marts(database, "Europe/Warsaw")
    with reading_marts(database):
        return connection, [
            row[0] for row in connection.execute(TAXPAYERS_OF_THE_FILE_SQL).fetchall()
        ]


def _day(day: date | str | None) -> date | None:
    try:
        return date.fromisoformat(str(day)) if day else None
    except ValueError:
        raise ConfigurationError(f"{day!r} is no day; write 2026-11-20") from None
