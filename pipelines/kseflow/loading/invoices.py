"""Drain: read the invoices that the warehouse lacks, in order of value.

Three budgets help each other: /invoices has 200 requests an hour and tells everything; a
session's receipt (UPO) costs one of 1,200 and tells which of up to 10,000 invoices were accepted;
a single invoice costs one of another 1,200, for rows that only await their end.
"""

import logging
from collections.abc import AsyncIterator

import pyarrow as pa
import pyarrow.compute as pc

from kseflow.api.client import Page
from kseflow.constants import ACCEPTED_STATUS_CODE, COMPLETION_RESERVE
from kseflow.errors import ContractViolation, KsefError, LoginFailed, OutOfTime
from kseflow.loading.agenda import Agenda, Work
from kseflow.loading.share import Lane, Share, trouble_of
from kseflow.loading.worklist import INVOICE_TABLES
from kseflow.raw.tables import FAILED_INVOICES, INVOICE_READS, SESSION_INVOICES

log = logging.getLogger(__name__)

LISTS, SINGLES = "sessionInvoiceList", "invoiceStatus"  # groups of limits


def agenda_of(share: Share) -> Agenda:
    """Return what to read of the taxpayer now."""
    windows, options = share.client.windows, share.run.options
    agenda = share.run.worklist.agenda(
        share.context,
        share.client.now(),
        tables=share.run.tables & INVOICE_TABLES,
        in_progress=options.in_progress,
        detail=options.detail,
        budget=windows.remaining_count(LISTS),
        singles_a_list=_singles_a_list(share),
    )
    share.run.failures.add(agenda.urgent_count)
    log.info(
        "%s: %d sessions to read, and %d receipts",
        share.context,
        len(agenda.invoices) + len(agenda.awaited) + len(agenda.completion),
        len(agenda.receipts),
    )
    return agenda


def _singles_a_list(share: Share) -> float:
    """Return how many requests for single invoices the hour takes for each one for a list."""
    singles, lists = map(share.client.windows.hourly_limit, (SINGLES, LISTS))
    return max(singles, 1) / lists if lists > 0 else 1.0


async def read_invoices(share: Share, agenda: Agenda) -> None:
    """Read invoices, session after session; what is wrong with one alone is a row, not an end."""
    with share.lane("invoices", LISTS) as lane:
        try:
            while work := _next(share, agenda):
                lane.left_count = len(agenda.invoices)
                pages = (
                    share.client.failed_invoices(work.session_reference_number)
                    if work.endpoint == "failed"
                    else share.client.session_invoices(
                        work.session_reference_number, is_urgent=work.is_urgent
                    )
                )
                await _read(share, lane, work, pages)
                if work.is_urgent:
                    agenda.urgent_count -= 1
                    share.run.failures.add(-1)
        finally:
            share.run.failures.add(-agenda.urgent_count)


async def read_awaited(share: Share, agenda: Agenda) -> None:
    """Read single invoices of sessions that lack nothing but their end or storage date."""
    with share.lane("invoice_status", SINGLES) as lane:
        while agenda.awaited:
            work = agenda.awaited.popleft()
            lane.left_count = len(agenda.awaited)
            await _read(share, lane, work, _singles(share, work))


async def _singles(share: Share, work: Work) -> AsyncIterator[Page]:
    for reference in work.invoices:
        item = await share.client.session_invoice(work.session_reference_number, reference)
        yield Page([item], share.client.now())


def _next(share: Share, agenda: Agenda) -> Work | None:
    """Take the next session; the smallest of those that wait for a receipt are read here."""
    if agenda.invoices:
        return agenda.invoices.popleft()
    if agenda.receipts and SESSION_INVOICES.name in share.run.tables:
        return agenda.receipts.pop()
    if agenda.completion and _has_budget_left(share):
        return agenda.completion.popleft()
    return None


def _has_budget_left(share: Share) -> bool:
    windows = share.client.windows
    remaining = windows.remaining_count(LISTS)
    return remaining is None or remaining > windows.hourly_limit(LISTS) * COMPLETION_RESERVE


async def _read(share: Share, lane: Lane, work: Work, pages: AsyncIterator[Page]) -> None:
    """Read one session; raises its trouble only where others would have it as well."""
    row_count = 0
    trouble: KsefError | None = None
    read_at = share.client.now()
    try:
        async for page in pages:
            read_at = page.received_at
            kept_count, violation = _keep(share, lane, work, page)
            row_count += kept_count
            trouble = trouble or violation
    except (OutOfTime, LoginFailed):
        raise
    except Exception as error:
        trouble = trouble_of(error)
    if trouble is not None:
        lane.log.fail(f"{share.context}: session {work.session_reference_number}: {trouble}")
    reading = {
        **share.stamps(read_at),
        "session_reference_number": work.session_reference_number,
        "endpoint": work.endpoint,
        "session_date_updated": work.date_updated,
        "row_count": row_count,
        "error": trouble and f"session {work.session_reference_number}: {trouble}",
    }
    lane.log.session_count += 1
    share.keep(INVOICE_READS, INVOICE_READS.arrow([reading]))
    lane.note(None if row_count else trouble)


def _keep(share: Share, lane: Lane, work: Work, page: Page) -> tuple[int, ContractViolation | None]:
    """Keep a page's good rows; return how many those are, and what is wrong with the first bad."""
    stamps = share.stamps(page.received_at)
    rows, violation = SESSION_INVOICES.good_from_api(
        page.items, session_reference_number=work.session_reference_number, **stamps
    )
    codes = rows["status_code"].to_pylist()
    lane.log.page_count += 1
    lane.log.row_count += rows.num_rows
    lane.log.accepted_count += sum(code == ACCEPTED_STATUS_CODE for code in codes)
    lane.log.failed_count += sum(code > ACCEPTED_STATUS_CODE for code in codes)
    lane.log.pending_count += sum(code < ACCEPTED_STATUS_CODE for code in codes)
    share.keep(SESSION_INVOICES, rows)
    share.keep(FAILED_INVOICES, rows.filter(_is_failed(rows, work.endpoint)))
    return int(rows.num_rows), violation


def _is_failed(rows: pa.Table, endpoint: str) -> pa.Array:
    if endpoint == "failed":
        return pa.array([True] * rows.num_rows, pa.bool_())  # of no rows as well
    return pc.greater(rows["status_code"], ACCEPTED_STATUS_CODE)
