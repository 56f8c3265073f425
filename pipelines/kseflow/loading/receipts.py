"""Drain: read sessions' receipts (UPO), those of the largest sessions first."""

from kseflow.errors import KsefError, LoginFailed, OutOfTime
from kseflow.loading.agenda import Agenda, Work
from kseflow.loading.share import Lane, Share, trouble_of
from kseflow.loading.upo import session_upo_pages, upo_documents
from kseflow.raw.tables import UPO_DOCUMENTS, UPO_READS


async def read_receipts(share: Share, agenda: Agenda) -> None:
    """Read receipts; what is wrong with one alone is a row, not an end."""
    with share.lane("upo", "sessionMisc") as lane:
        while agenda.receipts:
            work = agenda.receipts.popleft()
            lane.left_count = len(agenda.receipts)
            await _read(share, lane, work)


async def _read(share: Share, lane: Lane, work: Work) -> None:
    """Read one receipt, whole or not at all."""
    reference, pages = work.session_reference_number, []
    trouble: KsefError | None = None
    try:
        async for page in session_upo_pages(share.client, reference):
            pages.append(upo_documents(page, share.context, reference))
    except (OutOfTime, LoginFailed):
        raise
    except Exception as error:
        trouble, pages = trouble_of(error), []
        lane.log.fail(f"{share.context}: session {reference}: {trouble}")
    row_count = sum(rows.num_rows for rows in pages)
    lane.log.page_count += len(pages)
    lane.log.row_count += row_count
    lane.log.accepted_count += row_count
    lane.log.session_count += 1
    for rows in pages:
        share.keep(UPO_DOCUMENTS, rows)
    reading = {
        **share.stamps(),
        "session_reference_number": reference,
        "session_date_updated": work.date_updated,
        "page_count": len(pages),
        "row_count": row_count,
        "error": trouble and str(trouble),
    }
    share.keep(UPO_READS, UPO_READS.arrow([reading]))
    lane.note(trouble)
