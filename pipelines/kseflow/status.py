"""How complete the copy is, per taxpayer: KSeF's counters against the rows stored."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from kseflow.credentials import Context
from kseflow.tables import API_REQUESTS, SESSION_INVOICES, SESSIONS, SYNC_LOG
from kseflow.warehouse import Warehouse

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


@dataclass(frozen=True)
class TaxpayerStatus:
    """One taxpayer's state in the warehouse; counts are of sessions, invoices or requests."""

    context: Context
    cursors: dict[str, str]
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
    remaining_requests: dict[str, int]
    last_load_at: datetime | None
    last_trouble: str | None

    @property
    def is_complete(self) -> bool:
        return self.worklist_session_count == 0

    def as_json(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        told = asdict(self) | {"is_complete": self.is_complete}
        return told | {"last_load_at": self.last_load_at and self.last_load_at.isoformat()}


def status(
    warehouse: Warehouse, now: datetime, *, in_progress: str = "failed"
) -> list[TaxpayerStatus]:
    """Return every taxpayer's state, at `now` (UTC), from the loaded tables alone."""
    lacking = warehouse.worklist().lacking(in_progress=in_progress).to_pylist()
    logs = _last_parts(warehouse)
    remaining = _remaining_requests(warehouse, now)
    found = []
    for row in warehouse.rows(COUNTS_SQL, SYNC_LOG, SESSIONS, SESSION_INVOICES):
        context = Context(row.pop("context_type"), row.pop("context_id"))
        own = [
            w for w in lacking if (w["context_type"], w["context_id"]) == (context.type, context.id)
        ]
        parts = logs.get(context, [])
        found.append(
            TaxpayerStatus(
                context=context,
                cursors={p["resource"]: p["cursor_text"] for p in parts if p["cursor_text"]},
                **{name: int(value or 0) for name, value in row.items()},
                worklist_session_count=len(own),
                worklist_missing_count=sum(w["missing_count"] for w in own),
                worklist_unsettled_count=sum(w["unsettled_count"] for w in own),
                remaining_requests=remaining.get(context, {}),
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


def _remaining_requests(warehouse: Warehouse, now: datetime) -> dict[Context, dict[str, int]]:
    """Return how many requests each taxpayer's groups still take within this hour."""
    spent = warehouse.request_times(now)
    remaining: dict[Context, dict[str, int]] = {}
    latest_sql = LATEST_SQL.format(part="api_group")
    for row in warehouse.rows(latest_sql, API_REQUESTS, API_REQUESTS):
        context = Context(row["context_type"], row["context_id"])
        if row["hourly_limit"] >= 0:
            used = len(spent.get((context, row["api_group"]), []))
            left = max(row["hourly_limit"] - used, 0)
            remaining.setdefault(context, {})[row["api_group"]] = left
    return remaining
