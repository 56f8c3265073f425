"""Drain: read the invoices that the warehouse lacks, in order of value.

Two budgets help each other: /invoices has 200 requests an hour and tells everything; a session's
receipt (UPO) costs one of 1,200, and tells which of up to 10,000 invoices were accepted.
"""

from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from kseflow.api.client import KsefClient
from kseflow.constants import ACCEPTED_STATUS_CODE, COMPLETION_RESERVE
from kseflow.errors import (
    AccessDenied,
    ContractViolation,
    CorruptDownload,
    KsefError,
    RequestRejected,
    Unavailable,
)
from kseflow.loading.lane import Lane, Rows, Run, patiently
from kseflow.loading.upo import session_upo_pages, upo_documents
from kseflow.loading.worklist import Backlog, Work
from kseflow.raw.tables import (
    FAILED_INVOICES,
    INVOICE_READS,
    SESSION_INVOICES,
    UPO_DOCUMENTS,
    UPO_READS,
    taxpayer_stamps,
)


class InvoicesLane(Lane):
    """Read invoices, session after session; what is wrong with one alone is a row, not an end."""

    resource, group = "invoices", "sessionInvoiceList"

    def __init__(self, client: KsefClient, run: Run, backlog: Backlog) -> None:
        super().__init__(client, run)
        self._backlog = backlog

    def _walk(self) -> Iterator[Rows]:
        while work := self._next():
            yield from patiently(partial(self._read, work))

    def left_count(self) -> int:
        return len(self._backlog.invoices)

    def _next(self) -> Work | None:
        """Take the next session; the smallest of those that wait for a receipt are read here."""
        backlog = self._backlog
        if backlog.invoices:
            return backlog.invoices.popleft()
        if backlog.receipts and SESSION_INVOICES.name in self.run.tables:
            return backlog.receipts.pop()
        if backlog.completion and self._has_budget_left():
            return backlog.completion.popleft()
        return None

    def _has_budget_left(self) -> bool:
        windows = self.client.windows
        remaining = windows.remaining_count(self.group)
        reserve = windows.hourly_limit(self.group) * COMPLETION_RESERVE
        return remaining is None or remaining > reserve

    def _read(self, work: Work) -> Iterator[Rows]:
        client, part, reference = self.client, self.part, work.session_reference_number
        stamps = taxpayer_stamps(client.context.type, client.context.id, client.now())
        stamps["session_reference_number"] = reference
        read = client.failed_invoices if work.endpoint == "failed" else client.session_invoices
        row_count, error = 0, None
        try:
            for page in read(reference):
                stamps["read_at"] = page.received_at
                rows = SESSION_INVOICES.arrow_from_api(page.items, **stamps)
                part.page_count += 1
                part.row_count += rows.num_rows
                row_count += rows.num_rows
                self._count_outcomes(rows)
                yield SESSION_INVOICES, rows
                yield FAILED_INVOICES, rows.filter(_is_failed(rows, work.endpoint))
        except AccessDenied:
            raise
        except (ContractViolation, RequestRejected) as trouble:
            error = f"session {reference}: {trouble}"
            part.fail(f"{client.context}: {error}")
        reading = {
            **stamps,
            "endpoint": work.endpoint,
            "session_date_updated": work.date_updated,
            "row_count": row_count,
            "error": error,
        }
        part.session_count += 1
        yield INVOICE_READS, INVOICE_READS.arrow([reading])

    def _count_outcomes(self, rows: pa.Table) -> None:
        codes = rows["status_code"].to_pylist()
        self.part.accepted_count += sum(code == ACCEPTED_STATUS_CODE for code in codes)
        self.part.failed_count += sum(code > ACCEPTED_STATUS_CODE for code in codes)
        self.part.pending_count += sum(code < ACCEPTED_STATUS_CODE for code in codes)


class ReceiptsLane(Lane):
    """Read sessions' receipts, those of the largest sessions first."""

    resource, group = "upo", "sessionMisc"

    def __init__(self, client: KsefClient, run: Run, backlog: Backlog) -> None:
        super().__init__(client, run)
        self._backlog = backlog

    def left_count(self) -> int:
        return len(self._backlog.receipts)

    def _walk(self) -> Iterator[Rows]:
        while self._backlog.receipts:
            yield from patiently(partial(self._read, self._backlog.receipts.popleft()))

    def _read(self, work: Work) -> Iterator[Rows]:
        client, part, reference = self.client, self.part, work.session_reference_number
        pages: list[pa.Table] = []
        trouble: KsefError | None = None
        try:
            for page in session_upo_pages(client, reference):
                pages.append(upo_documents(page, client, reference))
        except AccessDenied:
            raise
        except (ContractViolation, CorruptDownload, RequestRejected, Unavailable) as error:
            trouble, pages = error, []
            part.fail(f"{client.context}: session {reference}: {error}")
        row_count = sum(rows.num_rows for rows in pages)
        part.page_count += len(pages)
        part.row_count += row_count
        part.accepted_count += row_count
        part.session_count += 1
        for rows in pages:
            yield UPO_DOCUMENTS, rows
        reading = {
            **taxpayer_stamps(client.context.type, client.context.id, client.now()),
            "session_reference_number": reference,
            "session_date_updated": work.date_updated,
            "page_count": len(pages),
            "row_count": row_count,
            "error": trouble and str(trouble),
        }
        yield UPO_READS, UPO_READS.arrow([reading])
        if isinstance(trouble, Unavailable):  # the next session would only wait in vain as well
            raise trouble


def _is_failed(rows: pa.Table, endpoint: str) -> pa.Array:
    if endpoint == "failed":
        return pa.array([True] * rows.num_rows, pa.bool_())  # of no rows as well
    return pc.greater(rows["status_code"], ACCEPTED_STATUS_CODE)
