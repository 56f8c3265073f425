"""One run of the extraction: every taxpayer's share, interleaved so that no wait idles others.

A share is: log in, read the limits, discover (list what changed), drain (read what lacks). The
next request always belongs to the taxpayer whose windows have room first.
"""

import logging
import secrets
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from kseflow.client import KsefClient
from kseflow.clock import TimeBox
from kseflow.credentials import Context
from kseflow.discover import SESSION_TYPES, Cursor, discover, modified_from
from kseflow.errors import (
    AccessDenied,
    ContractViolation,
    KsefError,
    OutOfTime,
    RequestRejected,
    Throttled,
)
from kseflow.settings import ACCEPTED_STATUS_CODE, COMMIT_EVERY_S, COMMIT_ROWS
from kseflow.tables import (
    API_REQUESTS,
    FAILED_INVOICES,
    INVOICE_READS,
    SESSION_INVOICES,
    SESSIONS,
    SYNC_LOG,
    TABLES,
    Table,
    taxpayer_stamps,
)
from kseflow.warehouse import Warehouse
from kseflow.worklist import Work, Worklist

log = logging.getLogger(__name__)

Rows = tuple[Table, pa.Table]
COMMIT = None  # stands between rows where a commit is due
SEES_ALL_SESSIONS = {"Introspection", "EnforcementOperations"}
INVOICE_TABLES = {SESSION_INVOICES.name, FAILED_INVOICES.name}


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
        log.warning("%s: %s", self.resource, message)


@dataclass(eq=False)
class Share:
    """One taxpayer's part of the run: its client, what it does next, what it did."""

    client: KsefClient
    group: str = "anonymous"
    parts: dict[str, Part] = field(default_factory=dict)

    def delay_s(self) -> float:
        return self.client.windows.delay_s(self.group)

    @contextmanager
    def part(self, resource: str, group: str) -> Iterator[Part]:
        """Keep the log of one part; a part taken up again after a wait goes on counting."""
        now = self.client.now()
        part = self.parts.setdefault(resource, Part(resource, now, now))
        part.outcome, self.group = "running", group
        try:
            yield part
        except OutOfTime as error:
            if part.outcome == "running":
                part.outcome, part.message = "out of time", str(error)
            raise
        except Throttled:
            raise
        except KsefError as error:
            part.outcome, part.message = "failed", str(error)
            raise
        finally:
            part.ended_at = self.client.now()
        if part.outcome == "running":
            part.outcome = "ok"


class Extraction:
    """Everything one run asks KSeF, as rows of the raw tables with the points to commit at."""

    def __init__(
        self,
        clients: Sequence[KsefClient],
        box: TimeBox,
        *,
        run_id: str,
        since: datetime | None = None,
        in_progress: str = "failed",
    ) -> None:
        self.shares = [Share(client) for client in clients]
        self.run_id = run_id
        self.is_done = False
        self._box = box
        self._since = since
        self._in_progress = in_progress
        self._flow: Iterator[Rows | None] | None = None

    def rows(
        self,
        warehouse: Warehouse,
        cursors: Callable[[], Cursor],
        tables: set[str],
        *,
        until_commit: bool,
    ) -> Iterator[Rows]:
        """Yield rows of the wanted `tables`: all there are, or those up to the next commit."""
        if self._flow is None:
            self._flow = self._run(warehouse, tables)
        self._cursors = cursors
        pages: dict[Table, list[pa.Table]] = {}
        for rows in self._flow:
            if rows is not COMMIT:
                pages.setdefault(rows[0], []).append(rows[1])
                continue
            yield from _joined(pages)
            if until_commit:
                return
            pages.clear()
        yield from _joined(pages)
        self.is_done = True

    def _run(self, warehouse: Warehouse, tables: set[str]) -> Iterator[Rows | None]:
        worklist = warehouse.worklist()
        self._restore_windows(warehouse)
        for table in TABLES:  # so that each exists after the first load, rows or none
            yield table, table.schema.empty_table()
        steps = {share: self._steps(share, worklist, tables) for share in self.shares}
        committed_at, row_count = self._box.now(), 0
        while steps:
            share = min(steps, key=Share.delay_s)
            age = self._box.now() - committed_at
            idle_s = share.delay_s()
            if row_count > COMMIT_ROWS or (
                row_count and max(age.total_seconds(), idle_s) > COMMIT_EVERY_S
            ):
                yield from self._accounts()
                yield COMMIT
                committed_at, row_count = self._box.now(), 0
            try:
                rows = next(steps[share], None)
            except Exception as error:  # one taxpayer's trouble, whatever it is, stops no other
                self._note_failure(share, error)
                rows = None
            if rows is None:
                del steps[share]
                continue
            row_count += rows[1].num_rows
            yield rows
        yield from self._accounts()

    def _restore_windows(self, warehouse: Warehouse) -> None:
        spent = warehouse.request_times(self._box.now())
        for share in self.shares:
            for (context, group), times in spent.items():
                if context == share.client.context:
                    share.client.windows.restore(group, times)

    def _note_failure(self, share: Share, error: Exception) -> None:
        if isinstance(error, OutOfTime):
            log.info("%s: %s", share.client.context, error)
            return
        log.error("%s: %s", share.client.context, error)
        if not isinstance(error, KsefError):  # a bug of ours: the log must show where
            log.error("%s", "".join(traceback.format_exception(error)))
            part = list(share.parts.values())[-1]
            part.outcome, part.message = "failed", f"{type(error).__name__}: {error}"

    # -- one taxpayer ---------------------------------------------------------------------------

    def _steps(self, share: Share, worklist: Worklist, tables: set[str]) -> Iterator[Rows]:
        yield from _patiently(partial(self._log_in, share))
        if SESSIONS.name in tables:
            waiting_longest = partial(self._listed_at, share.client.context)
            for session_type in sorted(SESSION_TYPES, key=waiting_longest):
                yield from _patiently(partial(self._list, share, session_type, worklist))
        if tables & INVOICE_TABLES:
            yield from self._drain(share, worklist, failed_only=SESSION_INVOICES.name not in tables)

    def _log_in(self, share: Share) -> Iterator[Rows]:
        with share.part("login", "other") as part:
            share.client.rate_limits()
            permissions = share.client.permissions
            if permissions is not None and not permissions & SEES_ALL_SESSIONS:
                part.warn(
                    f"the login of {share.client.context} lacks the permission Introspection: "
                    "KSeF silently shows only the sessions that this login itself opened. "
                    "Make a token with Introspection to see all of them"
                )
        return iter(())

    def _cursor(self, context: Context, session_type: str) -> Cursor:
        """Return the cursor in the state of the load package that rows go into now."""
        found: Cursor = self._cursors().setdefault(
            f"{context.type}:{context.id}:{session_type}", {}
        )
        return found

    def _listed_at(self, context: Context, session_type: str) -> str:
        return str(self._cursor(context, session_type).get("listed_at", ""))

    def _list(self, share: Share, session_type: str, worklist: Worklist) -> Iterator[Rows]:
        client = share.client
        context = client.context
        with share.part(f"sessions_{session_type.lower()}", "sessionList") as part:
            cursor = partial(self._cursor, context, session_type)
            oldest_open = worklist.oldest_open(context, session_type, client.now())
            part.modified_from = modified_from(cursor(), self._since, oldest_open)
            expected_count = 0
            if "listing" not in cursor():  # one taken up again lists only what it lacked
                expected_count = worklist.session_count(context, session_type, part.modified_from)
            listed: set[str] = set()
            pages = discover(
                client, session_type, cursor, since=self._since, oldest_open=oldest_open
            )
            for page in pages:
                part.page_count += 1
                part.row_count += page.num_rows
                listed.update(page["reference_number"].to_pylist())
                part.changed_count += worklist.note_listed(page)
                part.cursor_text = cursor().get("cursor")
                yield SESSIONS, page
            part.cursor_text = cursor()["cursor"]
            log.info("%s: %d %s sessions changed", context, part.changed_count, session_type)
            if len(listed) < expected_count:
                part.warn(
                    f"{context}: KSeF listed {len(listed)} {session_type} sessions where it listed "
                    f"{expected_count} before; does this login still have Introspection?"
                )

    def _drain(self, share: Share, worklist: Worklist, *, failed_only: bool) -> Iterator[Rows]:
        with share.part("invoices", "sessionInvoiceList") as part:
            todo = worklist.due(
                share.client.context,
                share.client.now(),
                in_progress=self._in_progress,
                budget=share.client.windows.remaining_count("sessionInvoiceList"),
                failed_only=failed_only,
            )
            log.info("%s: %d sessions to read", share.client.context, len(todo))
            for work in todo:
                yield from _patiently(partial(self._read, share, work, part))

    def _read(self, share: Share, work: Work, part: Part) -> Iterator[Rows]:
        """Read one session; what is wrong with this session alone is a row, not an end."""
        client, error, row_count = share.client, None, 0
        reference = work.session_reference_number
        read = client.failed_invoices if work.endpoint == "failed" else client.session_invoices
        stamps = taxpayer_stamps(client.context.type, client.context.id, client.now())
        try:
            for page in read(reference):
                stamps["read_at"] = page.received_at
                rows = SESSION_INVOICES.arrow_from_api(
                    page.items, session_reference_number=reference, **stamps
                )
                part.page_count += 1
                part.row_count += rows.num_rows
                row_count += rows.num_rows
                yield SESSION_INVOICES, rows
                yield FAILED_INVOICES, rows.filter(_is_failed(rows, work.endpoint))
        except AccessDenied:
            raise
        except (ContractViolation, RequestRejected) as trouble:
            error = f"session {reference}: {trouble}"
            log.error("%s: %s", client.context, error)
        reading = {
            **stamps,
            "session_reference_number": reference,
            "endpoint": work.endpoint,
            "session_date_updated": work.date_updated,
            "row_count": row_count,
            "error": error,
        }
        yield INVOICE_READS, INVOICE_READS.arrow([reading])
        if error:
            part.outcome, part.message = "failed", error

    # -- what the run did -----------------------------------------------------------------------

    def _accounts(self) -> Iterator[Rows]:
        """Yield the run's log and spending so far; later rows of the run replace them."""
        now = self._box.now()
        log_rows, spent_rows = [], []
        for share in self.shares:
            context = share.client.context
            stamps = {"run_id": self.run_id, **taxpayer_stamps(context.type, context.id, now)}
            for part in share.parts.values():
                environment = share.client.base_url
                log_rows.append({**stamps, "environment": environment, **vars(part)})
            for group, spending in share.client.spending.items():
                windows = share.client.windows
                spent_rows.append(
                    {
                        **stamps,
                        **vars(spending),
                        "api_group": group,
                        "hourly_limit": windows.hourly_limit(group),
                        "requested_at": [
                            time.isoformat(timespec="milliseconds")
                            for time in windows.request_times(group)
                        ],
                    }
                )
        yield SYNC_LOG, SYNC_LOG.arrow(log_rows)
        yield API_REQUESTS, API_REQUESTS.arrow(spent_rows)


def _patiently(step: Callable[[], Iterator[Rows]]) -> Iterator[Rows]:
    """Take a step up again after KSeF asked for a long wait, which lets other taxpayers go on."""
    while True:
        try:
            yield from step()
            return
        except Throttled as error:
            log.info("%s", error)
            yield SESSIONS, SESSIONS.schema.empty_table()


def _joined(pages: dict[Table, list[pa.Table]]) -> Iterator[Rows]:
    """Join pages into one table each: dlt takes as long for ten rows as for ten thousand."""
    for table, parts in pages.items():
        yield table, pa.concat_tables(parts)


def _is_failed(rows: pa.Table, endpoint: str) -> pa.Array:
    if endpoint == "failed":
        return pa.array([True] * rows.num_rows)
    return pc.greater(rows["status_code"], ACCEPTED_STATUS_CODE)


def new_run_id(now: datetime) -> str:
    """Name a run by its start (UTC) and a random part."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
