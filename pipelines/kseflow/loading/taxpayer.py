"""One taxpayer's share of a run: log in, list what changed, then drain and export."""

import asyncio

from kseflow.constants import FAILURES_FIRST_S, SEES_ALL_SESSIONS
from kseflow.loading.exports.lane import export_packages, wants_exports
from kseflow.loading.invoices import agenda_of, read_awaited, read_invoices
from kseflow.loading.listing import SESSION_TYPES
from kseflow.loading.receipts import read_receipts
from kseflow.loading.sessions import list_sessions, listed_at
from kseflow.loading.share import Share
from kseflow.loading.worklist import INVOICE_TABLES
from kseflow.raw.tables import SESSIONS


async def load_share(share: Share) -> None:
    """Load what one taxpayer has; trouble is told in the logs of its lanes."""
    try:
        if await _log_in(share):
            await _load(share)
    except* Exception as bugs:  # outside all lanes; they stop no other taxpayer
        share.fail(bugs.exceptions[0])


async def _load(share: Share) -> None:
    async with asyncio.TaskGroup() as lanes:
        listing = lanes.create_task(_list_and_drain(share, lanes))
        if wants_exports(share.run):
            # Failures go first, and are known when the listing has ended.
            await asyncio.wait({listing}, timeout=FAILURES_FIRST_S)
            for subject_type in share.run.options.subject_types:
                lanes.create_task(export_packages(share, subject_type))


async def _list_and_drain(share: Share, lanes: asyncio.TaskGroup) -> None:
    """List what changed, then begin to read what the warehouse lacks of it."""
    if SESSIONS.name in share.run.tables:
        for session_type in sorted(SESSION_TYPES, key=lambda each: listed_at(share, each)):
            if not await list_sessions(share, session_type):
                return
    if not share.run.tables & INVOICE_TABLES:
        return
    agenda = agenda_of(share)
    lanes.create_task(read_invoices(share, agenda))
    if agenda.receipts:
        lanes.create_task(read_receipts(share, agenda))
    if agenda.awaited:
        lanes.create_task(read_awaited(share, agenda))


async def _log_in(share: Share) -> bool:
    """Log in and learn the limits; tell whether the rest may follow."""
    with share.lane("login", "other") as lane:
        term = share.client.credentials.term(share.client.now())
        lane.log.credential = share.client.credentials.kind
        lane.log.credential_issued_at, lane.log.credential_ends_at = term
        await share.client.rate_limits()
        permissions = share.client.permissions
        # What a login claims is a hint; of sessions left out nothing else tells.
        if permissions is not None and not permissions & SEES_ALL_SESSIONS:
            lane.log.warn(
                f"the login of {share.context} lacks the permission Introspection: "
                "KSeF silently shows only the sessions that this login itself opened. "
                "Make a token with Introspection to see all of them"
            )
    return lane.trouble is None
