"""The numbers that several sections tell: one query each, so that they agree."""

from typing import Any, NamedTuple

import pandas as pd

from kseflow.pages.chosen import Marts
from kseflow.words import Rate, counted, percent

DAILY_SQL = """
select
    day,
    sum(submitted_count)::bigint as submitted,
    sum(accepted_count)::bigint as accepted,
    sum(decided_count)::bigint as decided,
    sum(failed_count)::bigint as failed,
    sum(session_failed_count)::bigint as session_failed,
    sum(unclassified_failed_count)::bigint as unclassified,
    sum(uncounted_failed_count)::bigint as uncounted,
    sum(pending_count)::bigint as pending,
    sum(unaccounted_count)::bigint as unaccounted,
    sum(from_counters_count)::bigint as from_counters,
    sum(undated_count)::bigint as undated,
    sum(first_attempt_count)::bigint as first_attempts,
    sum(first_pass_count)::bigint as first_passes,
    sum(first_pass_unknown_count)::bigint as first_unknown,
    1 - sum(accepted_7d_count) / nullif(sum(decided_7d_count), 0) as failure_rate_7d,
    sum(first_pass_7d_count) / nullif(
        case when sum(first_pass_unknown_7d_count) = 0 then sum(first_attempt_7d_count) end, 0
    ) as first_pass_rate_7d
from marts.daily_outcomes
where chosen(context_id, day)
group by day
order by day
"""

FAILURES_SQL = """
select resolution, is_settled, seconds_to_resolution
from marts.failed_invoices
where chosen(context_id, submitted_day)
"""

UNRESOLVED_SQL = """
select
    unresolved.context_id, unresolved.what, unresolved.session_reference_number,
    unresolved.invoice_count, unresolved.age_days, unresolved.category,
    timezone('Europe/Warsaw', unresolved.submitted_at) as submitted,
    coalesce(unresolved.invoice_number, unresolved.invoice_file_name,
        unresolved.invoice_reference_number) as invoice,
    coalesce(failed.normalised_message, unresolved.reason) as reason,
    unresolved.who_acts, unresolved.what_to_do
from marts.unresolved_failures as unresolved
left join marts.failed_invoices as failed
    using (context_type, context_id, session_reference_number, invoice_reference_number)
where chosen(context_id, unresolved.submitted_at::date)
order by unresolved.submitted_at, unresolved.session_reference_number
"""

SESSIONS_SQL = """
select
    context_id, session_reference_number, session_type, invoice_count, accepted_count,
    failed_count, unread_count, is_open, is_stuck, is_complete, is_failed_as_whole,
    is_closed_empty, meaning, reason, who_acts, what_to_do,
    timezone('Europe/Warsaw', created_at) as created
from marts.sessions
where chosen(context_id, created_day)
order by created_at, session_reference_number
"""


class Fates(NamedTuple):
    """What became of failed invoices of closed sessions: the parts add up to `failed`.

    `in_sessions` are those of sessions that failed as a whole, of which KSeF keeps no rows, and
    `not_read` those that only KSeF's counters tell of until their rows are read. `in_open` come on
    top: failures in sessions still open, which count in no rate.
    """

    failed: int
    later: int
    before: int
    duplicates: int
    unresolved: int
    in_sessions: int
    not_read: int
    in_open: int


def total(marts: Marts, column: str) -> int:
    """Sum a column of the days."""
    return int(marts.frame(DAILY_SQL)[column].sum())


def failure_rate(marts: Marts) -> Rate:
    """Failed of decided invoices of all days: the only place where that is divided."""
    return Rate(total(marts, "failed"), total(marts, "decided"))


def first_pass_text(marts: Marts) -> str:
    """Write the share of first tries that were accepted; its bounds while some are not known."""
    passes, attempts = total(marts, "first_passes"), total(marts, "first_attempts")
    unknown = total(marts, "first_unknown")
    lowest, highest = Rate(passes, attempts + unknown), Rate(passes + unknown, attempts + unknown)
    return f"{percent(lowest.value)} to {percent(highest.value)}" if unknown else str(lowest)


def fates(marts: Marts) -> Fates:
    """Count the failed invoices by what became of them."""
    failures = marts.frame(FAILURES_SQL)
    settled = failures[failures["is_settled"]]["resolution"].value_counts()
    return Fates(
        failed=total(marts, "failed") + total(marts, "uncounted"),
        later=int(settled.get("accepted_later", 0)),
        before=int(settled.get("accepted_before", 0)),
        duplicates=int(settled.get("duplicate_of_accepted", 0)),
        unresolved=int(settled.get("unresolved", 0)),
        in_sessions=total(marts, "session_failed"),
        not_read=total(marts, "unclassified"),
        in_open=int((~failures["is_settled"]).sum()),
    )


def kinds_of_work(unresolved: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each who_acts and what_to_do: invoices, sessions, days of the oldest.

    `sessions` are those that failed as a whole and of whose invoices KSeF tells no number.
    """
    uncounted = (unresolved["what"] == "session") & (unresolved["invoice_count"] == 0)
    work = unresolved.assign(sessions=uncounted)
    work = work.groupby(["who_acts", "what_to_do"], as_index=False).agg(
        invoices=("invoice_count", "sum"), sessions=("sessions", "sum"), oldest=("age_days", "max")
    )
    return work.sort_values(["invoices", "sessions", "what_to_do"], ascending=[False, False, True])


def how_much(work: Any) -> str:
    """Write how much there is of a kind of work: invoices, and sessions without a number."""
    sessions = f"{counted(work.sessions, 'session')} of unknown size" if work.sessions else ""
    invoices = counted(work.invoices, "invoice") if work.invoices or not sessions else ""
    return " and ".join(filter(None, [invoices, sessions]))
