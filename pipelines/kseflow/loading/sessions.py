"""Discover: list what changed among the sessions since the cursor.

KSeF sorts by dateCreated, newest first, and pages by position without a snapshot. So the window
has no upper bound: with one, a session that changes while we page leaves the list, moves the rest
up by one, and the next page silently misses another session. Without one, a session can only
enter or move, and the worst is a row seen twice.

The walk goes down in dateCreated, which never changes: an interrupted listing goes on from where
it stopped, in another run if need be, by `dateCreatedTo`. What changed meanwhile is listed next.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from kseflow.api.client import KsefClient, Page
from kseflow.constants import KSEF_BEGINS, LOOKBACK
from kseflow.errors import ContractViolation, RequestRejected
from kseflow.raw.tables import SESSIONS, taxpayer_stamps

log = logging.getLogger(__name__)

SESSION_TYPES = ("Online", "Batch")

Cursor = dict[str, Any]


def discover(
    client: KsefClient,
    session_type: str,
    cursor: Callable[[], Cursor],
    *,
    since: datetime | None = None,
    oldest_open: datetime | None = None,
) -> Iterator[pa.Table]:
    """Yield pages of changed sessions as Arrow tables and move the cursor after the last.

    `cursor` returns the state of the load package that the next page goes into: `cursor`, the
    newest dateUpdated of a listing that came to its end, `listed_at`, when that began, and
    `listing`, one that did not. `since` lists anew from that moment; `oldest_open` (UTC) widens
    the window so that open sessions are in it.
    """
    if "listing" in cursor():
        yield from _list(client, session_type, cursor)
    begin = modified_from(cursor(), since, oldest_open)
    cursor()["listing"] = {"modified_from": _text(begin), "started_at": _text(client.now())}
    yield from _list(client, session_type, cursor)


def modified_from(cursor: Cursor, since: datetime | None, oldest_open: datetime | None) -> datetime:
    """Return the lower bound of the next listing (UTC)."""
    if "cursor" not in cursor:
        return since or KSEF_BEGINS
    bounds = [datetime.fromisoformat(cursor["cursor"]) - LOOKBACK, since, oldest_open]
    return min(bound for bound in bounds if bound is not None)


def _list(
    client: KsefClient, session_type: str, cursor: Callable[[], Cursor]
) -> Iterator[pa.Table]:
    violation: ContractViolation | None = None
    for page in _walk(client, session_type, cursor):
        table, trouble = _table(client, session_type, page)
        violation = violation or trouble
        listing = cursor()["listing"]
        if table.num_rows:
            oldest = min(table["date_created"].to_pylist())
            listing["created_to"] = _text(oldest + timedelta(seconds=1))
            newest = _text(max(table["date_updated"].to_pylist()))
            listing["newest"] = max(newest, listing.get("newest", newest))
        yield table
    listing = cursor().pop("listing")
    if violation is not None:  # the cursor stays, so that the session is listed again
        raise violation
    newest = listing.get("newest", cursor().get("cursor", listing["modified_from"]))
    reached = min(newest, listing["started_at"])
    cursor()["cursor"] = max(reached, cursor().get("cursor", reached))
    cursor()["listed_at"] = listing["started_at"]


def _walk(client: KsefClient, session_type: str, cursor: Callable[[], Cursor]) -> Iterator[Page]:
    """Follow the pages; when KSeF forgets the continuation token, go on by dateCreated."""
    while True:
        begun_at = cursor()["listing"].get("created_to")
        try:
            yield from client.sessions(
                session_type,
                modified_from=datetime.fromisoformat(cursor()["listing"]["modified_from"]),
                created_to=begun_at and datetime.fromisoformat(begun_at),
            )
            return
        except RequestRejected as error:
            if 21418 not in error.codes or cursor()["listing"].get("created_to") == begun_at:
                raise
            log.info("the continuation token has ended; going on by dateCreated")


def _table(
    client: KsefClient, session_type: str, page: Page
) -> tuple[pa.Table, ContractViolation | None]:
    """Return a page's good sessions, and what is wrong with the first bad one."""
    context = client.context
    stamps = taxpayer_stamps(context.type, context.id, page.received_at)
    try:
        return SESSIONS.arrow_from_api(page.items, session_type=session_type, **stamps), None
    except ContractViolation as violation:
        good = [item for item in page.items if SESSIONS.accepts(item)]
        return SESSIONS.arrow_from_api(good, session_type=session_type, **stamps), violation


def _text(moment: datetime) -> str:
    """Write a moment so that texts compare as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
