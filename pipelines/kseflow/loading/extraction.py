"""One run of the extraction: all taxpayers at once, and the door through which dlt takes rows."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

from kseflow.api.client import KsefClient
from kseflow.api.limits import Gate
from kseflow.clock import Loop, TimeBox
from kseflow.constants import WARSAW
from kseflow.errors import ConfigurationError
from kseflow.loading.cursor import Cursor
from kseflow.loading.kept import Commit, Kept
from kseflow.loading.share import Lane, Run, Share
from kseflow.loading.warehouse import Warehouse
from kseflow.options import Options
from kseflow.raw.tables import (
    API_REQUESTS,
    API_WARNINGS,
    EXPORT_PACKAGES,
    FAILED_INVOICES,
    SESSION_INVOICES,
    SESSIONS,
    SYNC_LOG,
    UPO_DOCUMENTS,
    taxpayer_stamps,
)

log = logging.getLogger(__name__)

WITH_CURSORS = (SESSIONS.name, EXPORT_PACKAGES.name)


class Extraction:
    """Everything one run asks KSeF; `take` gives it to dlt, commit by commit.

    Requests go out in an event loop of their own, also while dlt commits.
    """

    def __init__(
        self,
        clients: Sequence[KsefClient],
        box: TimeBox,
        options: Options,
        load_share: Callable[[Share], Coroutine[Any, Any, None]],
    ) -> None:
        """Ask through clients that share one gateway; `load_share` loads one taxpayer's share."""
        self.clients = clients
        self.lanes: list[Lane] = []  # all that were begun
        self.run_id = f"{box.now().astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.has_begun = self.is_done = False
        self.while_waiting: Callable[[], AbstractContextManager[None]] = nullcontext
        self._box = box
        self._options = _possible(options, box.now())
        self._load_share = load_share
        self._loop: Loop | None = None
        self._work: asyncio.Task[None] | None = None
        self._kept: Kept

    def begin(
        self,
        warehouse: Warehouse,
        cursors: Callable[[str], dict[str, Cursor]],
        tables: frozenset[str],
    ) -> None:
        """Read what earlier runs left; `cursors` returns those of a resource in dlt's state."""
        self.has_begun = True
        now = self._box.now()
        clients = {client.context: client for client in self.clients}
        for (context, group), times in warehouse.request_times(now).items():
            if context in clients:
                clients[context].windows.restore(group, times)
        gate = self.clients[0].gateway.gate if self.clients else Gate(1)  # a shard of nobody
        self._kept = Kept(self._box, gate, {name: cursors(name) for name in WITH_CURSORS})
        since = self._options.since
        run = Run(
            options=self._options,
            tables=tables,
            worklist=warehouse.worklist(
                with_failures=FAILED_INVOICES.name in tables,
                receipts=UPO_DOCUMENTS.name in tables and SESSION_INVOICES.name not in tables,
                lists=warehouse.lists(clients.keys(), cursors(SESSIONS.name), since, now),
            ),
            asked_exports=warehouse.asked_exports(now),
            exported_since=warehouse.exported_since(),
            kept=self._kept,
            lanes=self.lanes,
        )
        self._loop = self._box.loop()
        self._loop.__enter__()
        self._loop.run(self._start(run))

    def take(self) -> Commit:
        """Wait until a commit is due, and return it; the last one ends the extraction."""
        if self._loop is None:
            raise RuntimeError("begin comes first")
        with self.while_waiting():
            commit = self._loop.run(self._due())
        if commit.is_last:
            self.is_done = True
            self.close()
        elif any(rows.num_rows for _, rows in commit.rows):
            log.info("saving %s rows", f"{sum(rows.num_rows for _, rows in commit.rows):,}")
        return commit

    def close(self) -> None:
        """End the extraction, whatever it is doing; what was not taken is asked for again."""
        if self._loop is not None:
            loop, self._loop = self._loop, None
            loop.run(self._ended())
            loop.__exit__(None, None, None)

    async def _start(self, run: Run) -> None:
        self._work = asyncio.create_task(self._load(run))

    async def _load(self, run: Run) -> None:
        try:
            async with asyncio.TaskGroup() as shares:
                for client in self.clients:
                    shares.create_task(self._load_share(Share(client, run)))
        finally:
            self._kept.end()

    async def _due(self) -> Commit:
        await self._kept.due()
        if self._work is not None and self._work.done():
            self._work.result()
        for table, rows in (
            (SYNC_LOG, self._log_rows()),
            (API_REQUESTS, self._spent_rows()),
            (API_WARNINGS, self._warning_rows()),
        ):
            self._kept.keep(table, table.arrow(rows))
        return self._kept.take()

    async def _ended(self) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        for gateway in {client.gateway for client in self.clients}:
            await gateway.aclose()

    def _log_rows(self) -> list[dict[str, Any]]:
        """Return the run's log so far; later rows of the run replace these."""
        return [
            {
                **self._stamps(lane.client),
                "environment": lane.client.base_url,
                "taxpayer_name": lane.client.context.name,
                **vars(lane.log),
            }
            for lane in self.lanes
        ]

    def _spent_rows(self) -> list[dict[str, Any]]:
        """Return what the run spent so far; later rows of the run replace these."""
        rows = []
        for client in self.clients:
            for group, spending in client.spending.items():
                times = [time.isoformat() for time in client.windows.request_times(group)]
                limit = client.windows.hourly_limit(group)
                rows.append(
                    {
                        **self._stamps(client),
                        **vars(spending),
                        "api_group": group,
                        "hourly_limit": limit,
                        "requested_at": times if limit >= 0 else [],
                    }
                )
        return rows

    def _warning_rows(self) -> list[dict[str, Any]]:
        """Return what KSeF warned of so far; later rows of the run replace these."""
        return [
            {**self._stamps(client), "api_group": group, "message": message, **vars(heard)}
            for client in self.clients
            for group, spending in client.spending.items()
            for message, heard in spending.warnings.items()
        ]

    def _stamps(self, client: KsefClient) -> dict[str, Any]:
        context = client.context
        return {
            **taxpayer_stamps(context.type, context.id, self._box.now()),
            "run_id": self.run_id,
        }


def _possible(options: Options, now: datetime) -> Options:
    """Return the options; raises `ConfigurationError` for a beginning that has not come yet."""
    for name in ("since", "exports_from"):
        begin = getattr(options, name)
        if begin is not None and begin > now:
            raise ConfigurationError(
                f"{name} is {begin.astimezone(WARSAW):%Y-%m-%d %H:%M}, which has not come yet; "
                "give a day or moment in the past"
            )
    return options
