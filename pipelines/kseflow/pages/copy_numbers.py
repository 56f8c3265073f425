"""The numbers of our own copy: what KSeF counted and what is stored, one query each."""

import json
from datetime import datetime

import pandas as pd

from kseflow.pages.chosen import Marts
from kseflow.pages.numbers import SESSIONS_SQL
from kseflow.words import Rate

CAUSES = {
    "reading_failed": "the last reading of the session failed",
    "counter_lags": "KSeF lists more invoices than its counter tells",
    "session_open": "the session is open; all its rows are read once it is closed",
    "not_read_yet": "not read yet",
    "changed_since_read": "changed since it was read",
    "rows_lost": "rows that were read are gone from this copy",
    "session_failed_as_whole": "the session failed as a whole and KSeF keeps no rows of it",
    "only_failures_read": "only the failed invoices were read yet",
    "outcome_unsettled": "all rows are here, some without their final outcome",
    "list_lags": "KSeF's list lacked them when it was read",
    "session_not_listed": "rows of a session that KSeF's list does not have",
}

COPY_SQL = """
select
    (select as_of from looked) as as_of,
    (select max(left_out) from published) as left_out
"""

ODDITIES_SQL = """
select
    kind, is_fault,
    sum(case_count)::bigint as cases,
    sum(row_count)::bigint as rows_concerned,
    min(example) as example
from marts.oddities
where chosen_taxpayer(context_id)
group by kind, is_fault
order by is_fault desc, kind
"""

KINDS = {
    "session_date_out_of_bounds": "sessions dated after the copy or before KSeF began",
    "invoice_date_out_of_bounds": "invoices dated after the copy or before KSeF began",
    "negative_wait": "invoices accepted or stored before they were sent",
    "rows_lost": "rows that were read and are not here",
    "moved_between_taxpayers": "sessions or rows under two taxpayers",
    "package_counts_differ": "packages with other counts than their metadata",
    "package_rows_lost": "packages of which rows are missing here",
    "package_rows_beyond_the_package": "packages with more rows here than they held",
    "package_rows_outside_the_window": "packages with rows from outside their window",
    "package_amounts_contradict": "invoices exported with different amounts",
}

DIFFERENCES_SQL = """
select
    likely_cause,
    count(distinct session_reference_number)::bigint as sessions,
    coalesce(sum(greatest(difference_count, 0)) filter (where counter = 'total'), 0)::bigint
        as invoices
from marts.session_reconciliation
left join marts.sessions using (context_type, context_id, session_reference_number)
where chosen(context_id, coalesce(created_day, date '2026-02-01'))
group by likely_cause
order by invoices desc, sessions desc, likely_cause
"""

MONTHS_SQL = """
select
    month,
    sum(counted_count)::bigint as counted,
    sum(row_count)::bigint as in_rows,
    sum(upo_count)::bigint as in_receipts,
    sum(export_count)::bigint as in_exports,
    sum(unread_count)::bigint as nowhere,
    sum(missing_export_count)::bigint as missing,
    sum(pending_export_count)::bigint as not_exported_yet
from marts.invoice_completeness
where chosen_month(context_id, month)
group by month
order by month
"""


def age_s(marts: Marts, moment: datetime) -> float:
    """Return how long before the reading a moment was, in seconds, never less than none."""
    return max((marts.now - moment).total_seconds(), 0.0)


def closed_sessions(marts: Marts) -> pd.DataFrame:
    """Return the closed sessions with `is_lacking`: rows of theirs that KSeF has are not here.

    Of a session that failed as a whole KSeF may keep no rows: then none is lacking.
    """
    sessions = marts.frame(SESSIONS_SQL)
    closed = sessions[~sessions["is_open"]]
    without = closed["is_failed_as_whole"] & (closed["unread_count"] == 0)
    return closed.assign(is_lacking=~closed["is_complete"] & ~without)


def rows_here(marts: Marts) -> Rate:
    """Invoices of closed sessions whose rows are stored, of those of which KSeF has rows."""
    closed = closed_sessions(marts)
    kept = closed[closed["is_complete"] | closed["is_lacking"]]
    whole = int(kept["invoice_count"].sum())
    return Rate(whole - int(kept["unread_count"].sum()), whole)


def left_out(marts: Marts) -> list[dict[str, str]]:
    """Return the taxpayers that are not in the file, each with the reason.

    A report of named taxpayers does not speak of others.
    """
    named: list[dict[str, str]] = json.loads(marts.one(COPY_SQL).left_out or "[]")
    return [] if marts.is_narrowed else named
