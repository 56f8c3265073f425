"""What to read now of one taxpayer, in which order and by which endpoint."""

import math
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kseflow.constants import PAGE_SIZE

Row = dict[str, Any]  # of what is lacking: see lacking.py


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
class Agenda:
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
class Plan:
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
        if self.by_receipt and not is_known and is_past(row["receipt_due_at"], self.now):
            return "receipts"
        if not (self.wants_rows and self.is_due(row)):
            return None
        if row["awaited"]:
            return "awaited"
        return "completion" if self.by_receipt and is_known else "others"

    def is_due(self, row: Row) -> bool:
        return is_past(row["due_at"], self.now)


def queued(rows: list[Row], plan: Plan) -> Agenda:
    """Put rows of what is lacking, most valuable first, into the queues of an agenda."""
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
    return Agenda(
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


def is_past(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now
