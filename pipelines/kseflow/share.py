"""One taxpayer's share of a run: log in, discover what changed, drain what lacks."""

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from kseflow.client import KsefClient
from kseflow.discover import SESSION_TYPES, Cursor, discover, modified_from
from kseflow.errors import (
    AccessDenied,
    ContractViolation,
    KsefError,
    OutOfTime,
    RequestRejected,
    Throttled,
)
from kseflow.settings import ACCEPTED_STATUS_CODE
from kseflow.tables import (
    FAILED_INVOICES,
    INVOICE_READS,
    SESSION_INVOICES,
    SESSIONS,
    Table,
    taxpayer_stamps,
)
from kseflow.worklist import Work, Worklist

log = logging.getLogger(__name__)

Rows = tuple[Table, pa.Table]
SEES_ALL_SESSIONS = {"Introspection", "EnforcementOperations"}


@dataclass(frozen=True)
class Scope:
    """What a run is asked to do, for every taxpayer alike."""

    tables: frozenset[str]
    since: datetime | None = None
    in_progress: str = "failed"


@dataclass
class Part:
    """One part of a taxpayer's share, a row of `sync_log`."""

    resource: str
    started_at: datetime
    ended_at: datetime
    modified_from: datetime | None = None
    cursor_text: str | None = None
    page_count: int = 0
    row_count: int = 0
    changed_count: int = 0
    outcome: str = "running"
    message: str | None = None

    def warn(self, message: str) -> None:
        self.outcome, self.message = "warning", message
        log.warning("%s", message)

    def fail(self, message: str) -> None:
        self.outcome, self.message = "failed", message
        log.error("%s", message)


class Share:
    """One taxpayer's client, what it does next, and the log of what it did.

    `cursors` returns the cursors in the state of the load package that rows go into now.
    """

    def __init__(
        self, client: KsefClient, worklist: Worklist, cursors: Callable[[], Cursor]
    ) -> None:
        self.client = client
        self.parts: dict[str, Part] = {}
        self._worklist = worklist
        self._cursors = cursors
        self._group = "anonymous"

    def delay_s(self) -> float:
        """Return the seconds until KSeF takes the next request of this share."""
        return self.client.windows.delay_s(self._group)

    def rows(self, scope: Scope) -> Iterator[Rows]:
        """Yield the rows of each answer; trouble that ends the share is told in its log."""
        try:
            yield from _patiently(self._log_in)
            if SESSIONS.name in scope.tables:
                for session_type in sorted(SESSION_TYPES, key=self._listed_at):
                    yield from _patiently(partial(self._list, session_type, scope))
            if {SESSION_INVOICES.name, FAILED_INVOICES.name} & scope.tables:
                yield from self._drain(scope)
        except KsefError:
            return  # its part of the log tells it

    @contextmanager
    def _part(self, resource: str, group: str) -> Iterator[Part]:
        """Keep the log of one part; a part taken up again after a wait goes on counting."""
        now = self.client.now()
        part = self.parts.setdefault(resource, Part(resource, now, now))
        part.outcome, self._group = "running", group
        try:
            yield part
        except Throttled:
            raise
        except OutOfTime as error:
            log.info("%s: %s", self.client.context, error)
            if part.outcome == "running":
                part.outcome, part.message = "out of time", str(error)
            raise
        except KsefError as error:
            part.fail(f"{self.client.context}: {error}")
            raise
        except Exception as error:  # a bug of ours stops no other taxpayer; the log shows where
            log.error("%s", traceback.format_exc())
            part.fail(f"{self.client.context}: {type(error).__name__}: {error}")
            raise KsefError from error
        finally:
            part.ended_at = self.client.now()
        if part.outcome == "running":
            part.outcome = "ok"

    def _log_in(self) -> Iterator[Rows]:
        with self._part("login", "other") as part:
            self.client.rate_limits()
            permissions = self.client.permissions
            if permissions is not None and not permissions & SEES_ALL_SESSIONS:
                part.warn(
                    f"the login of {self.client.context} lacks the permission Introspection: "
                    "KSeF silently shows only the sessions that this login itself opened. "
                    "Make a token with Introspection to see all of them"
                )
        yield from ()

    def _cursor(self, session_type: str) -> Cursor:
        context = self.client.context
        found: Cursor = self._cursors().setdefault(
            f"{context.type}:{context.id}:{session_type}", {}
        )
        return found

    def _listed_at(self, session_type: str) -> str:
        """Return when a session type was last listed whole: the longest waiting goes first."""
        return str(self._cursor(session_type).get("listed_at", ""))

    def _list(self, session_type: str, scope: Scope) -> Iterator[Rows]:
        context = self.client.context
        with self._part(f"sessions_{session_type.lower()}", "sessionList") as part:
            cursor = partial(self._cursor, session_type)
            oldest_open = self._worklist.oldest_open(context, session_type, self.client.now())
            part.modified_from = modified_from(cursor(), scope.since, oldest_open)
            expected_count = 0
            if "listing" not in cursor():  # one taken up again lists only what it lacked
                expected_count = self._worklist.session_count(
                    context, session_type, part.modified_from
                )
            listed: set[str] = set()
            for page in discover(
                self.client, session_type, cursor, since=scope.since, oldest_open=oldest_open
            ):
                part.page_count += 1
                part.row_count += page.num_rows
                listed.update(page["reference_number"].to_pylist())
                part.changed_count += self._worklist.note_listed(page)
                part.cursor_text = cursor().get("cursor")
                yield SESSIONS, page
            part.cursor_text = cursor()["cursor"]
            log.info("%s: %d %s sessions changed", context, part.changed_count, session_type)
            if len(listed) < expected_count:
                part.warn(
                    f"{context}: KSeF listed {len(listed)} {session_type} sessions where it listed "
                    f"{expected_count} before; does this login still have Introspection?"
                )

    def _drain(self, scope: Scope) -> Iterator[Rows]:
        with self._part("invoices", "sessionInvoiceList") as part:
            todo = self._worklist.due(
                self.client.context,
                self.client.now(),
                in_progress=scope.in_progress,
                budget=self.client.windows.remaining_count("sessionInvoiceList"),
                failed_only=SESSION_INVOICES.name not in scope.tables,
            )
            log.info("%s: %d sessions to read", self.client.context, len(todo))
            for work in todo:
                yield from _patiently(partial(self._read, work, part))

    def _read(self, work: Work, part: Part) -> Iterator[Rows]:
        """Read one session; what is wrong with this session alone is a row, not an end."""
        client, reference = self.client, work.session_reference_number
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
        yield INVOICE_READS, INVOICE_READS.arrow([reading])


def _patiently(step: Callable[[], Iterator[Rows]]) -> Iterator[Rows]:
    """Take a step up again after KSeF asked for a long wait, which lets other taxpayers go on."""
    while True:
        try:
            yield from step()
            return
        except Throttled as error:
            log.info("%s", error)
            yield SESSIONS, SESSIONS.schema.empty_table()


def _is_failed(rows: pa.Table, endpoint: str) -> pa.Array:
    if endpoint == "failed":
        return pa.array([True] * rows.num_rows)
    return pc.greater(rows["status_code"], ACCEPTED_STATUS_CODE)
