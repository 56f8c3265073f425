"""How the published marts are opened: for which taxpayers and days, and who tells their trend."""

from collections.abc import Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path

import duckdb
import pandas as pd

from kseflow.clock import SystemClock
from kseflow.database import opened_marts, reading_marts
from kseflow.errors import ConfigurationError
from kseflow.marts.look import with_looks
from kseflow.pages.chosen import Marts
from kseflow.trends.anomaly import Anomaly
from kseflow.trends.inputs import read_inputs
from kseflow.trends.telling import anomalies

TAXPAYERS_OF_THE_FILE_SQL = """
select context_id from marts.sessions
union select context_id from marts.daily_outcomes
union select context_id from marts.packages
order by context_id
"""

AS_OF_DAY_SQL = "select max(as_of_day) as as_of_day from marts.as_of"


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
    changes = partial(_changes, last=days[1])
    return Marts(connection, now or SystemClock().now(), changes, is_narrowed=bool(taxpayers))


def _changes(marts: Marts, last: date) -> list[Anomaly]:
    """Ask trends what they say of the chosen days up to the last; nothing before the first load."""
    (as_of_day,) = marts.one(AS_OF_DAY_SQL)
    if pd.isna(as_of_day):
        return []
    day = min(as_of_day.date(), last)
    inputs = read_inputs(marts.connection, "chosen(context_id, day)", as_of_day=day)
    return anomalies(inputs, marts.names) if inputs else []


def _opened(database: Path) -> tuple[duckdb.DuckDBPyConnection, list[str]]:
    """Open the file; return the connection and the taxpayers there."""
    connection = opened_marts(database, "Europe/Warsaw")
    with reading_marts(database):
        with_looks(connection, database)
        return connection, [
            row[0] for row in connection.execute(TAXPAYERS_OF_THE_FILE_SQL).fetchall()
        ]


def _day(day: date | str | None) -> date | None:
    try:
        return date.fromisoformat(str(day)) if day else None
    except ValueError:
        raise ConfigurationError(f"{day!r} is no day; write 2026-11-20") from None
