"""Discover: list what changed among the sessions since the cursor.

KSeF sorts by dateCreated, newest first, and pages by position without a snapshot. So the window
has no upper bound: with one, a session that changes while we page leaves the list, moves the rest
up by one, and the next page silently misses another session. Without one, a session can only
enter or move, and the worst is a row seen twice.

The walk goes down in dateCreated, which never changes: an interrupted listing goes on from where
it stopped, in another run if need be, by `dateCreatedTo`. What changed meanwhile is listed next.

The list may show a session late, or change a counter without a new dateUpdated. Both lie behind
the cursor for ever, so now and then the listing begins further back: a sweep. By dateCreated it
would cost the same requests, and miss what changes in old sessions.

A span that KSeF refuses is walked in slices of dateCreated, which halve until KSeF takes them:
for the same reason, slices of dateModified could lose what changes meanwhile.
"""

import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from http import HTTPStatus

import pyarrow as pa

from kseflow.api.client import KsefClient, Page
from kseflow.constants import MOST_SKEW, SMALLEST_SLICE, SWEEP_COUNT, UNSETTLED_REACH
from kseflow.errors import ContractViolation, RequestRejected
from kseflow.loading.cursor import Cursor, cursor_text, moment
from kseflow.loading.listing import ONE_SECOND, due_sweeps, listed_from
from kseflow.loading.share import Lane, Share
from kseflow.loading.worklist import DATE_UPDATED, Known
from kseflow.raw.tables import SESSIONS

log = logging.getLogger(__name__)


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
    when that began, `reaches_back_to`, how far back it or an earlier one went, `swept`, when it
    last looked back how far, and `listing`, one that did not come to its end.
    """
    cursor, listed = share.cursor(SESSIONS, session_type), set[str]()
    if "cursor" in cursor and moment(cursor["cursor"]) > share.client.now() + MOST_SKEW:
        cursor = {}  # of a clock that was wrong: what is older than it was never listed
    if "reaches_back_to" in cursor:
        lane.log.reaches_back_to = moment(cursor["reaches_back_to"])
    begin = lane.log.modified_from = _begin(share, session_type, cursor)
    left_off = cursor.get("listing", {}).get("modified_from")
    reaches_to = min(begin, moment(left_off)) if left_off else begin
    known = share.run.worklist.known(share.context, session_type, reaches_to)
    # At the bound itself KSeF may list or not.
    expected_count = sum(row[DATE_UPDATED] > reaches_to for row in known.values())
    if "listing" in cursor:
        expected_count = 0  # one taken up again lists only what it lacked
        try:
            await _list(share, lane, session_type, cursor, known, listed)
        except RequestRejected as error:
            if error.status != HTTPStatus.BAD_REQUEST:
                raise
            log.info("%s: %s; listing from the beginning", share.context, error)
        begin = _begin(share, session_type, cursor)
    now = share.client.now()
    cursor["listing"] = {
        "modified_from": cursor_text(begin),
        "started_at": cursor_text(now),
        "sweeps": [str(reach) for reach in due_sweeps(cursor, now)],
    }
    await _list(share, lane, session_type, cursor, known, listed)
    log.info("%s: %d %s sessions changed", share.context, lane.log.changed_count, session_type)
    if len(listed) < expected_count:
        lane.log.warn(
            f"{share.context}: KSeF listed {len(listed)} {session_type} sessions where it listed "
            f"{expected_count} before; does this login still have Introspection?"
        )


def _begin(share: Share, session_type: str, cursor: Cursor) -> datetime:
    """Return since when changes are listed now."""
    worklist, now = share.run.worklist, share.client.now()
    return listed_from(
        cursor,
        share.run.options.since,
        worklist.oldest_open(share.context, session_type, now),
        due_sweeps(cursor, now),
        lambda reach: worklist.reach(share.context, session_type, now - reach, SWEEP_COUNT),
    )


async def _list(
    share: Share, lane: Lane, session_type: str, cursor: Cursor, known: Known, listed: set[str]
) -> None:
    """Follow one listing to its end; each page's rows go with the point it can go on from."""
    violation: ContractViolation | None = None
    async for page in _walk(share.client, session_type, cursor["listing"]):
        stamps = share.stamps(page.received_at) | {"session_type": session_type}
        rows, trouble = SESSIONS.good_from_api(page.items, **stamps)
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
    begin = listing["modified_from"]
    cursor["reaches_back_to"] = min(begin, cursor.get("reaches_back_to", begin))
    lane.log.reaches_back_to = moment(cursor["reaches_back_to"])
    swept = dict.fromkeys(listing.get("sweeps", ()), listing["started_at"])
    cursor["swept"] = cursor.get("swept", {}) | swept
    lane.log.cursor_text = cursor["cursor"]
    share.keep(SESSIONS, nothing, (session_type, cursor))


def _note(listing: Cursor, rows: pa.Table) -> None:
    """Note how far a listing has come, and the newest change in it."""
    oldest = min(rows["date_created"].to_pylist())
    listing["created_to"] = cursor_text(oldest + ONE_SECOND)
    newest = cursor_text(max(rows["date_updated"].to_pylist()))
    listing["newest"] = max(newest, listing.get("newest", newest))


async def _walk(client: KsefClient, session_type: str, listing: Cursor) -> AsyncIterator[Page]:
    """Follow the pages, slice after slice; when KSeF forgets the token, go on by dateCreated."""
    while True:
        begun_at, slice_from = listing.get("created_to"), _slice_from(listing)
        try:
            async for page in client.sessions(
                session_type,
                modified_from=None if slice_from else moment(listing["modified_from"]),
                # A second earlier, whichever bounds KSeF includes.
                created_from=slice_from and slice_from - ONE_SECOND,
                created_to=begun_at and moment(begun_at),
            ):
                yield page
        except RequestRejected as error:
            if 21418 in error.codes and listing.get("created_to") != begun_at:
                log.info("the continuation token has ended; going on by dateCreated")
            elif error.status == HTTPStatus.BAD_REQUEST and _halve(listing, client.now()):
                log.info("%s; in slices of %s", error, timedelta(seconds=listing["slice_s"]))
            else:
                raise
        else:
            if slice_from is None or slice_from == _created_from(listing):
                return
            listing["created_to"] = cursor_text(slice_from)


def _slice_from(listing: Cursor) -> datetime | None:
    """Return where the next slice begins, None where all is listed in one."""
    if "slice_s" not in listing:
        return None
    end = moment(listing.get("created_to") or listing["started_at"])
    return max(end - timedelta(seconds=listing["slice_s"]), _created_from(listing))


def _created_from(listing: Cursor) -> datetime:
    """Return when the oldest session was created that can have changed since a listing's begin."""
    return moment(listing["modified_from"]) - UNSETTLED_REACH


def _halve(listing: Cursor, now: datetime) -> bool:
    """Halve the slices of a listing, at first one for all; tell whether that was possible."""
    whole_s = (now - _created_from(listing)).total_seconds()
    listing["slice_s"] = listing.get("slice_s", whole_s) / 2
    return bool(listing["slice_s"] >= SMALLEST_SLICE.total_seconds())
