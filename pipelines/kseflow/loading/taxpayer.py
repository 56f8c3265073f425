"""One taxpayer's share of a run: log in, discover what changed; drain and export follow."""

import logging
from collections.abc import Iterator, Sequence
from functools import partial

from kseflow.api.client import KsefClient
from kseflow.errors import ContractViolation
from kseflow.loading.drain import InvoicesLane, ReceiptsLane
from kseflow.loading.exports.lane import export_lanes, lacks_permission, wants_exports
from kseflow.loading.lane import Lane, Rows, Run, patiently
from kseflow.loading.sessions import SESSION_TYPES, Cursor, discover, modified_from
from kseflow.loading.worklist import INVOICE_TABLES
from kseflow.raw.tables import SESSIONS

log = logging.getLogger(__name__)

SEES_ALL_SESSIONS = {"Introspection", "EnforcementOperations"}


class LoginLane(Lane):
    """Log in, and learn the limits; everything else of the taxpayer's follows."""

    resource, group = "login", "other"

    def _walk(self) -> Iterator[Rows]:
        yield from patiently(self._log_in)

    def _log_in(self) -> Iterator[Rows]:
        self.client.rate_limits()
        permissions, warnings = self.client.permissions, []
        if permissions is not None and not permissions & SEES_ALL_SESSIONS:
            warnings.append(
                f"the login of {self.client.context} lacks the permission Introspection: "
                "KSeF silently shows only the sessions that this login itself opened. "
                "Make a token with Introspection to see all of them"
            )
        if wants_exports(self.run) and lacks_permission(self.client):
            warnings.append(
                f"the login of {self.client.context} lacks the permission InvoiceRead: nothing is "
                "exported. Make a token with InvoiceRead, or set exports_per_hour to 0"
            )
        if warnings:
            self.part.warn("; ".join(warnings))
        yield from ()

    def followers(self) -> Sequence[Lane]:
        if self.trouble is not None:
            return ()
        lanes = export_lanes(self.client, self.run)
        if SESSIONS.name in self.run.tables:
            longest_waiting = sorted(SESSION_TYPES, key=self._listed_at)
            return [SessionsLane(self.client, self.run, longest_waiting), *lanes]
        return [*drain_lanes(self.client, self.run), *lanes]

    def _listed_at(self, session_type: str) -> str:
        """Return when a session type was last listed whole."""
        return str(_cursor(self.client, self.run, session_type).get("listed_at", ""))


class SessionsLane(Lane):
    """List what changed among the sessions of one type; the next type follows, then the drain."""

    group = "sessionList"

    def __init__(self, client: KsefClient, run: Run, session_types: Sequence[str]) -> None:
        self._session_type, *self._following_types = session_types
        self.resource = f"sessions_{self._session_type.lower()}"
        super().__init__(client, run)

    def _walk(self) -> Iterator[Rows]:
        yield from patiently(self._list)

    def followers(self) -> Sequence[Lane]:
        # A session that breaks the contract keeps none of the others from being read.
        if self.trouble is not None and not isinstance(self.trouble, ContractViolation):
            return ()
        if self._following_types:
            return [SessionsLane(self.client, self.run, self._following_types)]
        return drain_lanes(self.client, self.run)

    def _list(self) -> Iterator[Rows]:
        context, session_type, part = self.client.context, self._session_type, self.part
        worklist, since = self.run.worklist, self.run.options.since
        cursor = partial(_cursor, self.client, self.run, session_type)
        oldest_open = worklist.oldest_open(context, session_type, self.client.now())
        part.modified_from = modified_from(cursor(), since, oldest_open)
        expected_count = 0
        if "listing" not in cursor():  # one taken up again lists only what it lacked
            expected_count = worklist.session_count(context, session_type, part.modified_from)
        listed: set[str] = set()
        for page in discover(
            self.client, session_type, cursor, since=since, oldest_open=oldest_open
        ):
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


def drain_lanes(client: KsefClient, run: Run) -> Sequence[Lane]:
    """Return the lanes that read what the taxpayer's warehouse lacks of listed sessions."""
    if not run.tables & INVOICE_TABLES:
        return ()
    backlog = run.worklist.backlog(
        client.context,
        client.now(),
        tables=run.tables & INVOICE_TABLES,
        in_progress=run.options.in_progress,
        detail=run.options.detail,
        budget=client.windows.remaining_count(InvoicesLane.group),
    )
    log.info(
        "%s: %d sessions to read, and %d receipts",
        client.context,
        len(backlog.invoices) + len(backlog.completion),
        len(backlog.receipts),
    )
    lanes: list[Lane] = [InvoicesLane(client, run, backlog)]
    return [*lanes, ReceiptsLane(client, run, backlog)] if backlog.receipts else lanes


def _cursor(client: KsefClient, run: Run, session_type: str) -> Cursor:
    context = client.context
    key = f"{context.type}:{context.id}:{session_type}"
    found: Cursor = run.cursors(SESSIONS.name).setdefault(key, {})
    return found
