"""What the warehouse still lacks: KSeF's counters against the rows stored.

The answer is computed from the loaded tables alone, so it survives lost state and repairs gaps
by itself, and it is at the same time the proof of completeness.
"""

import math
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from kseflow.constants import (
    ACCEPTED_STATUS_CODE,
    OPEN_SESSION_REACH,
    OPEN_STATUS_CODES,
    PAGE_SIZE,
    PENDING_STATUS_CODES,
    UNSETTLED_REACH,
)
from kseflow.context import Context
from kseflow.database import in_memory
from kseflow.raw.arrow import TEXT, TIME
from kseflow.raw.tables import (
    FAILED_INVOICES,
    INVOICE_READS,
    SESSION_INVOICES,
    SESSIONS,
    UPO_DOCUMENTS,
    UPO_READS,
)

Row = dict[str, Any]

INVOICE_TABLES = frozenset({SESSION_INVOICES.name, FAILED_INVOICES.name, UPO_DOCUMENTS.name})

STORED = pa.schema(
    {
        "context_type": TEXT,
        "context_id": TEXT,
        "session_reference_number": TEXT,
        "stored_count": pa.int64(),
        "stored_accepted_count": pa.int64(),
        "stored_failed_count": pa.int64(),
        "unsettled_count": pa.int64(),
        "stored_at": TIME,
    }
)

# Plain SQL that any warehouse understands; it runs where the rows are.
STORED_SQL = f"""
select
    context_type,
    context_id,
    session_reference_number,
    count(*) as stored_count,
    sum(case when status_code = {ACCEPTED_STATUS_CODE} then 1 else 0 end) as stored_accepted_count,
    sum(case when status_code > {ACCEPTED_STATUS_CODE} then 1 else 0 end) as stored_failed_count,
    sum(
        case
            when status_code in {PENDING_STATUS_CODES} then 1
            when status_code = {ACCEPTED_STATUS_CODE} and permanent_storage_date is null then 1
            else 0
        end
    ) as unsettled_count,
    max(read_at) as stored_at
from {{session_invoices}}
group by 1, 2, 3
"""

CONFIRMED = pa.schema(
    {
        "context_type": TEXT,
        "context_id": TEXT,
        "session_reference_number": TEXT,
        "confirmed_count": pa.int64(),
    }
)

CONFIRMED_SQL = """
select context_type, context_id, session_reference_number, count(*) as confirmed_count
from {upo_documents}
group by 1, 2, 3
"""

AWAITED = pa.schema(
    {
        "context_type": TEXT,
        "context_id": TEXT,
        "session_reference_number": TEXT,
        "reference_number": TEXT,
    }
)

AWAITED_SQL = f"""
select context_type, context_id, session_reference_number, reference_number
from {{session_invoices}}
where status_code in {PENDING_STATUS_CODES}
    or (status_code = {ACCEPTED_STATUS_CODE} and permanent_storage_date is null)
"""

# One row per session that lacks something. A session is due
# - at once, when it was never read, changed since, its reading went wrong, or what was read then
#   is not stored, and when only its failures were read and all rows are wanted;
# - else when the age of the information has doubled; a session that lacks nothing but storage
#   dates or outcomes of single invoices (unsettled) is left alone after a week.
LACKING_SQL = f"""
with compared as (
    select
        s.*,
        s.status_code in {OPEN_STATUS_CODES} as is_open,
        coalesce(i.unsettled_count, 0) as unsettled,
        greatest(s.failed_invoice_count - coalesce(i.stored_failed_count, 0), 0) as missing_failed,
        greatest(
            s.total_invoice_count - coalesce(i.stored_count, 0),
            s.successful_invoice_count - coalesce(i.stored_accepted_count, 0),
            0
        ) as missing_any,
        s.status_code = {ACCEPTED_STATUS_CODE} as has_receipt,
        s.status_code > {ACCEPTED_STATUS_CODE} and s.successful_invoice_count = 0 as is_refused,
        coalesce(c.confirmed_count, 0) as confirmed_count,
        greatest(
            s.successful_invoice_count
            - greatest(coalesce(i.stored_accepted_count, 0), coalesce(c.confirmed_count, 0)),
            0
        ) as missing_accepted,
        r.read_at as last_read_at,
        r.session_date_updated as read_for,
        r.endpoint as read_endpoint,
        r.row_count > 0 and r.read_at > coalesce(i.stored_at, '-infinity') as is_lost,
        r.error is not null as went_wrong,
        case
            when u.read_at is null or s.date_updated > u.session_date_updated
                or u.error is not null
                or u.row_count > coalesce(c.confirmed_count, 0)
                then s.date_updated
            else u.read_at + (u.read_at - s.date_updated)
        end as receipt_due_at
    from sessions as s
    left join stored as i
        on s.context_type = i.context_type
        and s.context_id = i.context_id
        and s.reference_number = i.session_reference_number
    left join invoice_reads as r
        on s.context_type = r.context_type
        and s.context_id = r.context_id
        and s.reference_number = r.session_reference_number
    left join confirmed as c
        on s.context_type = c.context_type
        and s.context_id = c.context_id
        and s.reference_number = c.session_reference_number
    left join upo_reads as u
        on s.context_type = u.context_type
        and s.context_id = u.context_id
        and s.reference_number = u.session_reference_number
    where
        s.total_invoice_count + s.failed_invoice_count > 0
        and ($context_type is null or s.context_type = $context_type)
        and ($context_id is null or s.context_id = $context_id)
),

wanted as (
    select
        *,
        is_open and not $all_of_open as is_failed_only,
        case
            when is_open and not $all_of_open then missing_failed
            else greatest(missing_failed, missing_any)
        end as missing_count,
        case when is_open and not $all_of_open then 0 else unsettled end as unsettled_count,
        case when is_open and not $all_of_open then 0 else missing_accepted end
            as missing_accepted_count,
        case
            when has_receipt then greatest(successful_invoice_count - confirmed_count, 0) else 0
        end as unconfirmed_count
    from compared
)

select
    context_type,
    context_id,
    reference_number,
    date_updated,
    total_invoice_count,
    successful_invoice_count,
    failed_invoice_count,
    is_failed_only,
    is_refused,
    missing_failed as missing_failed_count,
    missing_count,
    unsettled_count,
    missing_accepted_count,
    unconfirmed_count,
    case when unconfirmed_count > 0 then receipt_due_at end as receipt_due_at,
    case
        when missing_count = 0 and unsettled_count = 0 then null
        when last_read_at is null or date_updated > read_for or coalesce(is_lost, true)
            or went_wrong
            or (read_endpoint = 'failed' and not is_failed_only)
            then date_updated
        when missing_count = 0 and last_read_at - date_updated > $unsettled_reach then null
        else last_read_at + (last_read_at - date_updated)
    end as due_at
from wanted
where missing_count > 0 or unsettled_count > 0 or ($receipts and unconfirmed_count > 0)
order by coalesce(went_wrong, false), missing_failed = 0, missing_count = 0, date_updated,
    reference_number
"""


@dataclass(frozen=True)
class Work:
    """One session to read: by which endpoint, how many pages that are, whether failures wait.

    `invoices` are the references of those that are read one by one, with endpoint `invoice`.
    """

    session_reference_number: str
    date_updated: datetime
    endpoint: str
    page_count: int
    is_urgent: bool = False
    invoices: tuple[str, ...] = ()


@dataclass
class Backlog:
    """What to read now, most valuable first.

    `invoices` are read through /invoices or /failed, the `urgent_count` first of them for their
    failures. `receipts` are accepted invoices of which nothing is known: a receipt tells of all
    in a session, the largest sessions come first. `awaited` are sessions that lack nothing but
    the end or the storage date of a few invoices. `completion` are sessions whose outcomes are
    known, but not all the rest of their rows.
    """

    invoices: deque[Work]
    receipts: deque[Work]
    awaited: deque[Work]
    completion: deque[Work]
    urgent_count: int


@dataclass(frozen=True)
class _Plan:
    """How to read one taxpayer's sessions: for which tables, and with which budget."""

    now: datetime
    wants_rows: bool
    wants_failures: bool
    is_short: bool
    by_receipt: bool

    def failures(self, row: Row) -> Work | None:
        """Return the request for a session's failures: with all its rows if that costs no more."""
        if not (self.wants_failures and row["missing_failed_count"] and self.is_due(row)):
            return None
        failed, all_rows = _work(row, "failed", True), _work(row, "invoices", True)
        is_cheaper = failed.page_count < all_rows.page_count
        is_alone = not self.wants_rows or row["is_failed_only"]
        return failed if is_alone or (self.is_short and is_cheaper) else all_rows

    def rest(self, row: Row) -> str | None:
        """Return the queue for the other rows of a session."""
        if row["is_failed_only"]:
            return None
        is_known = self.wants_rows and not row["missing_accepted_count"]
        if self.by_receipt and not is_known and _is_past(row["receipt_due_at"], self.now):
            return "receipts"
        if not (self.wants_rows and self.is_due(row)):
            return None
        if row["awaited"]:
            return "awaited"
        return "completion" if self.by_receipt and is_known else "others"

    def is_due(self, row: Row) -> bool:
        return _is_past(row["due_at"], self.now)


class Worklist:
    """The sessions of a warehouse, what is stored of them and was read, and what they lack."""

    def __init__(
        self,
        sessions: pa.Table | None = None,
        stored: pa.Table | None = None,
        invoice_reads: pa.Table | None = None,
        confirmed: pa.Table | None = None,
        upo_reads: pa.Table | None = None,
        awaited: pa.Table | None = None,
    ) -> None:
        self._db = in_memory()
        for name, rows, schema in (
            ("sessions", sessions, SESSIONS.schema),
            ("stored", stored, STORED),
            ("invoice_reads", invoice_reads, INVOICE_READS.schema),
            ("confirmed", confirmed, CONFIRMED),
            ("upo_reads", upo_reads, UPO_READS.schema),
            ("awaited", awaited, AWAITED),
        ):
            self._with_rows(schema.empty_table(), f"create table {name} as from arrow_rows")
            if rows is not None:
                self._with_rows(rows, f"insert into {name} by name from arrow_rows")
        self._db.execute(f"alter table sessions add primary key ({', '.join(SESSIONS.key)})")
        self._changed: set[tuple[str, str]] = set()  # taxpayers of whom something new was listed
        self._lacking_at_first: dict[tuple[str, bool], dict[tuple[str, str], list[Row]]] = {}

    def _with_rows(self, rows: pa.Table, sql: str) -> None:
        self._db.register("arrow_rows", rows)
        self._db.execute(sql)
        self._db.unregister("arrow_rows")

    def note_listed(self, context: Context, sessions: pa.Table) -> int:
        """Take in sessions listed just now, in place of earlier rows; count the changed ones."""
        if not sessions.num_rows:
            return 0
        self._db.register("arrow_rows", sessions)
        changed = self._db.sql(
            "with known as (from sessions where context_type = ? and context_id = ?) "
            "from arrow_rows anti join known using (context_type, context_id, "
            "reference_number, status_code, date_updated, total_invoice_count, "
            "successful_invoice_count, failed_invoice_count)",
            params=[context.type, context.id],
        ).to_arrow_table()
        self._db.unregister("arrow_rows")
        if changed.num_rows:
            self._with_rows(changed, "insert or replace into sessions by name from arrow_rows")
            self._changed.add((context.type, context.id))
        return int(changed.num_rows)

    def oldest_open(self, context: Context, session_type: str, now: datetime) -> datetime | None:
        """Return the oldest date_updated of the sessions still open, not older than the reach."""
        (oldest,) = self._one(
            "select min(date_updated) from sessions where context_type = ? and context_id = ? "
            f"and session_type = ? and status_code in {OPEN_STATUS_CODES} and date_updated >= ?",
            [context.type, context.id, session_type, now - OPEN_SESSION_REACH],
        )
        return oldest  # type: ignore[no-any-return]

    def session_count(self, context: Context, session_type: str, since: datetime) -> int:
        """Count the sessions known that changed since a moment."""
        (count,) = self._one(
            "select count(*) from sessions where context_type = ? and context_id = ? "
            "and session_type = ? and date_updated >= ?",
            [context.type, context.id, session_type, since],
        )
        return int(count)

    def lacking(
        self,
        context: Context | None = None,
        *,
        in_progress: str = "failed",
        receipts: bool = False,
    ) -> pa.Table:
        """Return one row per session that lacks something, most valuable first.

        Of one taxpayer, or of all; with `receipts`, also those that lack only theirs.
        `due_at` is the moment it should be read again: past means now, null means not again;
        `receipt_due_at` is the same for its receipt.
        """
        parameters = {
            "all_of_open": in_progress == "all",
            "unsettled_reach": UNSETTLED_REACH,
            "context_type": context and context.type,
            "context_id": context and context.id,
            "receipts": receipts,
        }
        return self._db.sql(LACKING_SQL, params=parameters).to_arrow_table()

    def backlog(
        self,
        context: Context,
        now: datetime,
        *,
        tables: Collection[str] = INVOICE_TABLES,
        in_progress: str = "failed",
        detail: str = "auto",
        budget: int | None = None,
        singles_a_list: float = 0.0,
    ) -> Backlog:
        """Return what to read of the taxpayer now for `tables`: failures, then the oldest change.

        When reading all rows takes more than `budget` requests, the failures of large sessions
        are read by themselves, and with `detail="auto"` accepted invoices through receipts. One
        request for a list is worth `singles_a_list` for single invoices.
        """
        wants_rows, wants_receipts = SESSION_INVOICES.name in tables, UPO_DOCUMENTS.name in tables
        rows = self._lacking_rows(context, in_progress, wants_receipts and not wants_rows)
        self._add_awaited(context, rows, singles_a_list if wants_rows else 0.0)
        lists = [row for row in rows if _is_past(row["due_at"], now) and not row["awaited"]]
        cost = sum(invoice_page_count(row) for row in lists if not row["is_failed_only"])
        is_short = not wants_rows or (budget is not None and cost > budget)
        plan = _Plan(
            now,
            wants_rows,
            wants_failures=set(tables) != {UPO_DOCUMENTS.name},
            is_short=is_short,
            by_receipt=wants_receipts and (not wants_rows or (is_short and detail == "auto")),
        )
        return _queued(rows, plan)

    def _lacking_rows(self, context: Context, in_progress: str, receipts: bool) -> list[Row]:
        """Return the rows of `lacking`; of all taxpayers at once as long as nothing has changed."""
        key = context.type, context.id
        if key in self._changed:
            found_now = self.lacking(context, in_progress=in_progress, receipts=receipts)
            return list(found_now.to_pylist())
        options = in_progress, receipts
        if options not in self._lacking_at_first:
            found: dict[tuple[str, str], list[Row]] = {}
            for row in self.lacking(in_progress=in_progress, receipts=receipts).to_pylist():
                found.setdefault((row["context_type"], row["context_id"]), []).append(row)
            self._lacking_at_first[options] = found
        return self._lacking_at_first[options].get(key, [])

    def _add_awaited(self, context: Context, rows: list[Row], singles_a_list: float) -> None:
        """Add to each row its invoices that await their end, where to ask for them costs less."""
        waiting = [row for row in rows if not row["missing_count"] and row["unsettled_count"]]
        found: dict[str, list[str]] = {}
        if waiting and singles_a_list > 0:
            sql = (
                "select session_reference_number, reference_number from awaited "
                "where context_type = ? and context_id = ? order by all"
            )
            for session, invoice in self._db.execute(sql, [context.type, context.id]).fetchall():
                found.setdefault(session, []).append(invoice)
        for row in rows:
            references = found.get(row["reference_number"], [])
            is_known = not row["missing_count"] and len(references) == row["unsettled_count"]
            is_cheaper = len(references) < singles_a_list * invoice_page_count(row)
            row["awaited"] = tuple(references) if is_known and is_cheaper else ()

    def _one(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        # Read to the end: a result with rows left blocks the connection.
        (row,) = self._db.execute(sql, list(parameters)).fetchall()
        return row


def _queued(rows: list[Row], plan: _Plan) -> Backlog:
    urgent: list[Work] = []
    queues: dict[str | None, list[Row]] = {}
    for row in rows:
        failures = plan.failures(row)
        if failures is not None:
            urgent.append(failures)
        if failures is None or failures.endpoint == "failed":
            queues.setdefault(plan.rest(row), []).append(row)
    receipts = queues.get("receipts", [])
    receipts.sort(key=lambda row: int(row["unconfirmed_count"]), reverse=True)
    return Backlog(
        deque([*urgent, *(_work(row, "invoices") for row in queues.get("others", []))]),
        deque(_work(row, "invoices") for row in receipts),
        deque(_work(row, "invoice") for row in queues.get("awaited", [])),
        deque(_work(row, "invoices") for row in queues.get("completion", [])),
        len(urgent),
    )


def invoice_page_count(row: Row, column: str = "total_invoice_count") -> int:
    """Return how many requests it takes to read the invoices of a session, a row of `lacking`."""
    return max(math.ceil(int(row[column]) / PAGE_SIZE), 1)


def _work(row: Row, endpoint: str, is_urgent: bool = False) -> Work:
    column = "failed_invoice_count" if endpoint == "failed" else "total_invoice_count"
    return Work(
        row["reference_number"],
        row["date_updated"],
        endpoint,
        invoice_page_count(row, column),
        is_urgent,
        row["awaited"] if endpoint == "invoice" else (),
    )


def _is_past(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now
