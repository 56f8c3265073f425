"""How complete the copy is, per taxpayer: KSeF's counters against the rows stored."""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from kseflow.context import Context
from kseflow.loading.agenda import invoice_page_count
from kseflow.loading.warehouse import Warehouse
from kseflow.raw.tables import (
    API_REQUESTS,
    EXPORT_PACKAGES,
    INVOICE_METADATA,
    SESSION_INVOICES,
    SESSIONS,
    SYNC_LOG,
)

COUNTS_SQL = """
with taxpayers as (
    select distinct context_type, context_id from {}
),

counted as (
    select
        context_type,
        context_id,
        count(*) as session_count,
        sum(total_invoice_count) as invoice_count,
        sum(successful_invoice_count) as accepted_count,
        sum(failed_invoice_count) as failed_count
    from {}
    group by 1, 2
),

stored as (
    select
        context_type,
        context_id,
        count(*) as stored_count,
        sum(case when status_code = 200 then 1 else 0 end) as stored_accepted_count,
        sum(case when status_code > 200 then 1 else 0 end) as stored_failed_count
    from {}
    group by 1, 2
)

select *
from taxpayers
left join counted using (context_type, context_id)
left join stored using (context_type, context_id)
order by context_type, context_id
"""

LATEST_SQL = """
select logged.*
from {{}} as logged
inner join (
    select context_type, context_id, {part}, max(run_id) as run_id from {{}} group by 1, 2, 3
) as latest
    using (context_type, context_id, {part}, run_id)
"""

# The seller's name on the newest invoice that a taxpayer sold.
SELLERS_SQL = """
select distinct context_type, context_id, seller_name
from {} as exported
inner join (
    select context_type, context_id, max(acquisition_date) as acquisition_date
    from {}
    where subject_type = 'Subject1' and seller_name is not null
    group by 1, 2
) as newest
    using (context_type, context_id, acquisition_date)
where subject_type = 'Subject1' and seller_name is not null
"""

EXPORTED_SQL = """
select context_type, context_id, subject_type, max(next_from) as exported_to
from {}
where status_code = 200 and error is null
group by 1, 2, 3
order by 1, 2, 3
"""


@dataclass(frozen=True)
class TaxpayerStatus:
    """One taxpayer's state in the warehouse; counts are of sessions, invoices or requests.

    `unknown_outcome_count` are invoices of which it is not even known whether they got in.
    `done_by` is when hourly loads will have read what can be read now, None when nothing is left.
    `reaches_back_to` is how far back both lists of sessions go, None before they came to an end.
    `exported_to` is, by subject type, the moment up to which exports are complete.
    """

    context: Context
    cursors: dict[str, str]
    reaches_back_to: datetime | None
    session_count: int
    invoice_count: int
    accepted_count: int
    failed_count: int
    stored_count: int
    stored_accepted_count: int
    stored_failed_count: int
    worklist_session_count: int
    worklist_missing_count: int
    worklist_unsettled_count: int
    unknown_outcome_count: int
    done_by: datetime | None
    exported_to: dict[str, datetime]
    remaining_requests: dict[str, int]
    last_load_at: datetime | None
    last_trouble: str | None

    @property
    def is_complete(self) -> bool:
        return self.worklist_session_count == 0

    def as_json(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        told = {**self.context.as_json(), **vars(self), "is_complete": self.is_complete}
        del told["context"]
        moments = ("last_load_at", "done_by", "reaches_back_to")
        told |= {name: told[name] and told[name].isoformat() for name in moments}
        exported = {kind: moment.isoformat() for kind, moment in self.exported_to.items()}
        return told | {"exported_to": exported}


def status(
    warehouse: Warehouse, now: datetime, *, in_progress: str = "failed"
) -> list[TaxpayerStatus]:
    """Return every taxpayer's state, at `now` (UTC), from the loaded tables alone."""
    lacking: dict[Context, list[dict[str, Any]]] = {}
    for row in warehouse.worklist().lacking(in_progress=in_progress).to_pylist():
        lacking.setdefault(Context(row["context_type"], row["context_id"]), []).append(row)
    logs = _last_parts(warehouse)
    budgets = _budgets(warehouse, now)
    exported = _exported(warehouse)
    names = _sellers(warehouse) | _configured_names(logs)
    found = []
    for row in warehouse.rows(COUNTS_SQL, SYNC_LOG, SESSIONS, SESSION_INVOICES):
        context = Context(row.pop("context_type"), row.pop("context_id"))
        own = lacking.get(context, [])
        parts = logs.get(context, [])
        budget = budgets.get(context, {})
        found.append(
            TaxpayerStatus(
                context=replace(context, name=names.get(context)),
                cursors={p["resource"]: p["cursor_text"] for p in parts if p["cursor_text"]},
                reaches_back_to=_reached(parts),
                **{name: int(value or 0) for name, value in row.items()},
                worklist_session_count=len(own),
                worklist_missing_count=sum(w["missing_count"] for w in own),
                worklist_unsettled_count=sum(w["unsettled_count"] for w in own),
                unknown_outcome_count=sum(
                    w["missing_failed_count"] + w["missing_accepted_count"]
                    for w in own
                    if not w["is_refused"]  # the session failed, and so did all its invoices
                ),
                done_by=_done_by(own, budget.get("sessionInvoiceList"), now),
                exported_to=exported.get(context, {}),
                remaining_requests={group: left for group, (left, _) in budget.items()},
                last_load_at=max((p["ended_at"] for p in parts), default=None),
                last_trouble=next((p["message"] for p in parts if p["outcome"] != "ok"), None),
            )
        )
    return found


def _last_parts(warehouse: Warehouse) -> dict[Context, list[dict[str, Any]]]:
    """Return the latest log row of each taxpayer and part of the load."""
    parts: dict[Context, list[dict[str, Any]]] = {}
    for row in warehouse.rows(LATEST_SQL.format(part="resource"), SYNC_LOG, SYNC_LOG):
        context = Context(row["context_type"], row["context_id"])
        parts.setdefault(context, []).append(row)
    return parts


def _reached(parts: list[dict[str, Any]]) -> datetime | None:
    """Return how far back both lists of sessions go."""
    lists = [part for part in parts if part["resource"].startswith("sessions_")]
    reached = [part["reaches_back_to"] for part in lists if part.get("reaches_back_to")]
    return max(reached) if reached and len(reached) == len(lists) else None


def _configured_names(logs: dict[Context, list[dict[str, Any]]]) -> dict[Context, str]:
    """Return the names that taxpayers had in the configuration of their last load."""
    latest = {who: max(parts, key=lambda part: part["run_id"]) for who, parts in logs.items()}
    # A database that an older version loaded lacks the column.
    return {who: row["taxpayer_name"] for who, row in latest.items() if row.get("taxpayer_name")}


def _sellers(warehouse: Warehouse) -> dict[Context, str]:
    """Return the names under which taxpayers sold last."""
    rows = warehouse.rows(SELLERS_SQL, INVOICE_METADATA, INVOICE_METADATA)
    return {Context(row["context_type"], row["context_id"]): row["seller_name"] for row in rows}


def _budgets(warehouse: Warehouse, now: datetime) -> dict[Context, dict[str, tuple[int, int]]]:
    """Return how many requests each taxpayer's groups still take within this hour, and an hour."""
    spent = warehouse.request_times(now)
    budgets: dict[Context, dict[str, tuple[int, int]]] = {}
    latest_sql = LATEST_SQL.format(part="api_group")
    for row in warehouse.rows(latest_sql, API_REQUESTS, API_REQUESTS):
        context = Context(row["context_type"], row["context_id"])
        if row["hourly_limit"] >= 0:
            used = len(spent.get((context, row["api_group"]), []))
            left = max(row["hourly_limit"] - used, 0)
            budgets.setdefault(context, {})[row["api_group"]] = (left, row["hourly_limit"])
    return budgets


def _done_by(
    lacking: list[dict[str, Any]], budget: tuple[int, int] | None, now: datetime
) -> datetime | None:
    """Return when requests for all rows that are due will have fit the hourly budget."""
    due = [row for row in lacking if row["due_at"] is not None and row["due_at"] <= now]
    request_count = sum(invoice_page_count(row) for row in due)
    if not request_count:
        return None
    left, hourly = budget or (0, 0)
    if request_count <= left or not hourly:
        return now
    return now + timedelta(hours=math.ceil((request_count - left) / hourly))


def _exported(warehouse: Warehouse) -> dict[Context, dict[str, datetime]]:
    """Return up to when each taxpayer's exports are complete, by subject type."""
    exported: dict[Context, dict[str, datetime]] = {}
    for row in warehouse.rows(EXPORTED_SQL, EXPORT_PACKAGES):
        context = Context(row["context_type"], row["context_id"])
        exported.setdefault(context, {})[row["subject_type"]] = row["exported_to"]
    return exported
