"""Discover: list what changed among the sessions since the cursor.

KSeF sorts by dateCreated, newest first, and pages by position without a snapshot. So the window
has no upper bound: with one, a session that changes while we page leaves the list, moves the rest
up by one, and the next page silently misses another session. Without one, a session can only
enter or move, and the worst is a row seen twice.

The walk goes down in dateCreated, which never changes: an interrupted listing goes on from where
it stopped, in another run if need be, by `dateCreatedTo`. What changed meanwhile is listed next.
"""

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pyarrow as pa

from kseflow.api.client import KsefClient, Page
from kseflow.constants import KSEF_BEGINS, LOOKBACK
from kseflow.errors import ContractViolation, RequestRejected
from kseflow.loading.kept import Cursor
from kseflow.loading.share import Lane, Share
from kseflow.loading.worklist import Known
from kseflow.raw.tables import SESSIONS

log = logging.getLogger(__name__)

SESSION_TYPES = ("Online", "Batch")


async def list_sessions(share: Share, session_type: str) -> bool:
    """List what changed among the sessions of one type; tell whether a drain may follow."""
    with share.lane(f"sessions_{session_type.lower()}", "sessionList") as lane:
        await _discover(share, lane, session_type)
    # A session that breaks the contract keeps none of the others from being read.
    return lane.trouble is None or isinstance(lane.trouble, ContractViolation)


def listed_at(share: Share, session_type: str) -> str:
    """Return when a session type was last listed whole."""
    return str(share.cursor(SESSIONS, session_type).get("listed_at", ""))


async def _discover(share: Share, lane: Lane, session_type: str) -> None:
    """List from the cursor on, which moves after the last page.

    Its fields: `cursor`, the newest dateUpdated of a listing that came to its end, `listed_at`,
    when that began, and `listing`, one that did not come to its end.
    """
    worklist, now = share.run.worklist, share.client.now()
    cursor = share.cursor(SESSIONS, session_type)
    oldest_open = worklist.oldest_open(share.context, session_type, now)
    since, listed = share.run.options.since, set[str]()
    begin = lane.log.modified_from = modified_from(cursor, since, oldest_open)
    reaches_to = min(begin, _begin_of(cursor.get("listing")) or begin)
    known = worklist.known(share.context, session_type, reaches_to)
    expected_count = len(known)
    if "listing" in cursor:
        expected_count = 0  # one taken up again lists only what it lacked
        try:
            await _list(share, lane, session_type, cursor, known, listed)
        except RequestRejected as error:
            if error.status == HTTPStatus.BAD_REQUEST:  # nor will KSeF take it the next time
                del cursor["listing"]
                share.keep(SESSIONS, SESSIONS.schema.empty_table(), (session_type, cursor))
            raise
        begin = modified_from(cursor, since, oldest_open)
    cursor["listing"] = {"modified_from": _text(begin), "started_at": _text(share.client.now())}
    await _list(share, lane, session_type, cursor, known, listed)
    log.info("%s: %d %s sessions changed", share.context, lane.log.changed_count, session_type)
    if len(listed) < expected_count:
        lane.log.warn(
            f"{share.context}: KSeF listed {len(listed)} {session_type} sessions where it listed "
            f"{expected_count} before; does this login still have Introspection?"
        )


def modified_from(cursor: Cursor, since: datetime | None, oldest_open: datetime | None) -> datetime:
    """Return the lower bound of the next listing (UTC)."""
    if "cursor" not in cursor:
        return since or KSEF_BEGINS
    bounds = [datetime.fromisoformat(cursor["cursor"]) - LOOKBACK, since, oldest_open]
    return min(bound for bound in bounds if bound is not None)


async def _list(
    share: Share, lane: Lane, session_type: str, cursor: Cursor, known: Known, listed: set[str]
) -> None:
    """Follow one listing to its end; each page's rows go with the point it can go on from."""
    violation: ContractViolation | None = None
    async for page in _walk(share.client, session_type, cursor["listing"]):
        rows, trouble = _table(share, session_type, page)
        violation = violation or trouble
        if rows.num_rows:
            _note(cursor["listing"], rows)
        lane.log.page_count += 1
        lane.log.row_count += rows.num_rows
        lane.log.changed_count += share.run.worklist.note_listed(share.context, rows, known)
        lane.log.cursor_text = cursor.get("cursor")
        listed.update(rows["reference_number"].to_pylist())
        share.keep(SESSIONS, rows, (session_type, cursor))
    listing = cursor.pop("listing")
    nothing = SESSIONS.schema.empty_table()
    if violation is not None:  # the cursor stays, so that the session is listed again
        share.keep(SESSIONS, nothing, (session_type, cursor))
        raise violation
    newest = listing.get("newest", cursor.get("cursor", listing["modified_from"]))
    reached = min(newest, listing["started_at"])
    cursor["cursor"] = max(reached, cursor.get("cursor", reached))
    cursor["listed_at"] = listing["started_at"]
    lane.log.cursor_text = cursor["cursor"]
    share.keep(SESSIONS, nothing, (session_type, cursor))


def _note(listing: Cursor, rows: pa.Table) -> None:
    """Note how far a listing has come, and the newest change in it."""
    oldest = min(rows["date_created"].to_pylist())
    listing["created_to"] = _text(oldest + timedelta(seconds=1))
    newest = _text(max(rows["date_updated"].to_pylist()))
    listing["newest"] = max(newest, listing.get("newest", newest))


async def _walk(client: KsefClient, session_type: str, listing: Cursor) -> AsyncIterator[Page]:
    """Follow the pages; when KSeF forgets the continuation token, go on by dateCreated."""
    while True:
        begun_at = listing.get("created_to")
        try:
            async for page in client.sessions(
                session_type,
                modified_from=_begin_of(listing),
                created_to=begun_at and datetime.fromisoformat(begun_at),
            ):
                yield page
            return
        except RequestRejected as error:
            if 21418 not in error.codes or listing.get("created_to") == begun_at:
                raise
            log.info("the continuation token has ended; going on by dateCreated")


def _table(
    share: Share, session_type: str, page: Page
) -> tuple[pa.Table, ContractViolation | None]:
    """Return a page's good sessions, and what is wrong with the first bad one."""
    stamps = share.stamps(page.received_at)
    try:
        return SESSIONS.arrow_from_api(page.items, session_type=session_type, **stamps), None
    except ContractViolation as violation:
        good = [item for item in page.items if SESSIONS.accepts(item)]
        return SESSIONS.arrow_from_api(good, session_type=session_type, **stamps), violation


def _begin_of(listing: Cursor | None) -> datetime | None:
    return datetime.fromisoformat(listing["modified_from"]) if listing else None


def _text(moment: datetime) -> str:
    """Write a moment so that texts compare as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
