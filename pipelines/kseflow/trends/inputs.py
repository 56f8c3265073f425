"""What trends are told from: sessions by day, why their invoices failed, how long KSeF took."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

WINDOW_DAYS = 90
"""How far back trends look, the day of the copy included: a quarter, thirteen of each weekday."""

TAXPAYERS_SQL = """
select distinct context_type, context_id
from (select *, created_day as day from marts.sessions)
where {chosen}
"""
"""One row per taxpayer that opened a session on the days that are looked at."""

SESSION_DAYS_SQL = """
select
    context_type,
    context_id,
    session_type,
    session_reference_number,
    day,
    accepted_count,
    failed_count,
    from_counters_count
from marts.session_days
where decided_count > 0 and day between $first and $last and {chosen}
"""
"""One row per closed session and Warsaw day with decided invoices."""

SESSION_REASONS_SQL = """
select
    context_type,
    context_id,
    session_reference_number,
    day,
    category,
    normalised_message,
    failed_count
from marts.session_reasons
where failed_count > 0 and day between $first and $last and {chosen}
"""
"""One row per closed session, day, category and message, with its failed invoices.

Failures without a row are of category `session_failed` where KSeF refused the session, else
`not_read_yet`.
"""

ACCEPTANCE_SQL = """
select
    context_type,
    context_id,
    session_reference_number,
    day,
    count(*) as accepted_count,
    median(seconds_to_acceptance) as median_seconds
from (select *, submitted_day as day from marts.invoices)
where session_type = 'Online'
    and is_settled
    and seconds_to_acceptance >= 0
    and day between $first and $last
    and {chosen}
group by all
"""
"""One row per Online session and day: seconds from submission to KSeF number, UTC instants apart.

A batch's time contains the sender's own upload, so it says nothing about KSeF.
"""


@dataclass(frozen=True)
class Inputs:
    """Arrow tables with the columns of the SQL above, and the Warsaw day of the copy.

    `session_days` must be complete at every moment: KSeF's counters stand in for rows that are
    not read yet. Rows after `as_of_day` or `WINDOW_DAYS` before it are left out of what is told.
    """

    as_of_day: date
    session_days: "pa.Table"
    session_reasons: "pa.Table"
    acceptance: "pa.Table"
    taxpayers: "pa.Table"


def read_inputs(
    connection: Any, chosen: str = "true", *, as_of_day: date | None = None
) -> Inputs | None:
    """Read what trends need from the marts of a DuckDB connection; None before the first load.

    `chosen` is a condition over the columns `context_id` and `day`, such as a notebook's macro
    `chosen(context_id, day)`. `as_of_day` looks from an earlier day than that of the copy.
    """
    if as_of_day is None:
        ((as_of_day,),) = connection.sql("select max(as_of_day) from marts.as_of").fetchall()
    if as_of_day is None:
        return None
    days = {"first": as_of_day - timedelta(days=WINDOW_DAYS - 1), "last": as_of_day}

    def table(sql: str, **parameters: date) -> "pa.Table":
        return connection.sql(sql, params=parameters or None).to_arrow_table()

    return Inputs(
        as_of_day=as_of_day,
        session_days=table(SESSION_DAYS_SQL.format(chosen=chosen), **days),
        session_reasons=table(SESSION_REASONS_SQL.format(chosen=chosen), **days),
        acceptance=table(ACCEPTANCE_SQL.format(chosen=chosen), **days),
        taxpayers=table(TAXPAYERS_SQL.format(chosen=chosen)),
    )
