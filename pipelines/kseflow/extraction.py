"""One run of the extraction: every taxpayer's share, interleaved so that no wait idles others."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import pyarrow as pa

from kseflow.client import KsefClient
from kseflow.clock import TimeBox
from kseflow.discover import Cursor
from kseflow.settings import COMMIT_EVERY_S, COMMIT_ROWS
from kseflow.share import Rows, Scope, Share
from kseflow.tables import API_REQUESTS, SYNC_LOG, TABLES, Table, taxpayer_stamps
from kseflow.warehouse import Warehouse

COMMIT = None  # stands between rows where a commit is due


class Extraction:
    """Everything one run asks KSeF, as rows of the raw tables with the points to commit at."""

    def __init__(
        self,
        clients: Sequence[KsefClient],
        box: TimeBox,
        *,
        since: datetime | None = None,
        in_progress: str = "failed",
    ) -> None:
        self.clients = clients
        self.shares: list[Share] = []
        self.run_id = f"{box.now().astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.is_done = False
        self._box = box
        self._since = since
        self._in_progress = in_progress
        self._flow: Iterator[Rows | None] | None = None
        self._cursors: Callable[[], Cursor]

    def rows(
        self,
        warehouse: Warehouse,
        cursors: Callable[[], Cursor],
        tables: frozenset[str],
        *,
        until_commit: bool,
    ) -> Iterator[Rows]:
        """Yield rows, those of `tables` and the logs: all, or those up to the next commit.

        `cursors` returns the cursors in the state of the load package that the rows go into.
        """
        self._cursors = cursors
        if self._flow is None:
            self._flow = self._run(warehouse, Scope(tables, self._since, self._in_progress))
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

    def _run(self, warehouse: Warehouse, scope: Scope) -> Iterator[Rows | None]:
        """Take the next answer from the taxpayer whose windows have room first, to the end."""
        worklist = warehouse.worklist()
        self._restore_windows(warehouse)
        self.shares = [Share(client, worklist, lambda: self._cursors()) for client in self.clients]
        for table in TABLES:  # so that each exists after the first load, rows or none
            yield table, table.schema.empty_table()
        steps = {share: share.rows(scope) for share in self.shares}
        committed_at, row_count = self._box.now(), 0
        while steps:
            share = min(steps, key=Share.delay_s)
            waiting_s = max((self._box.now() - committed_at).total_seconds(), share.delay_s())
            if row_count > COMMIT_ROWS or (row_count and waiting_s > COMMIT_EVERY_S):
                yield from self._accounts()
                yield COMMIT
                committed_at, row_count = self._box.now(), 0
            rows = next(steps[share], None)
            if rows is None:
                del steps[share]
                continue
            row_count += rows[1].num_rows
            yield rows
        yield from self._accounts()

    def _restore_windows(self, warehouse: Warehouse) -> None:
        spent = warehouse.request_times(self._box.now())
        for client in self.clients:
            for (context, group), times in spent.items():
                if context == client.context:
                    client.windows.restore(group, times)

    def _accounts(self) -> Iterator[Rows]:
        """Yield the run's log and spending so far; later rows of the run replace them."""
        log_rows, spent_rows = [], []
        for share in self.shares:
            client = share.client
            stamps = taxpayer_stamps(client.context.type, client.context.id, self._box.now())
            stamps["run_id"] = self.run_id
            for part in share.parts.values():
                log_rows.append({**stamps, "environment": client.base_url, **vars(part)})
            for group, spending in client.spending.items():
                times = [time.isoformat() for time in client.windows.request_times(group)]
                limit = client.windows.hourly_limit(group)
                spent_rows.append(
                    {
                        **stamps,
                        **vars(spending),
                        "api_group": group,
                        "hourly_limit": limit,
                        "requested_at": times if limit >= 0 else [],
                    }
                )
        yield SYNC_LOG, SYNC_LOG.arrow(log_rows)
        yield API_REQUESTS, API_REQUESTS.arrow(spent_rows)


def _joined(pages: dict[Table, list[pa.Table]]) -> Iterator[Rows]:
    """Join pages into one table each: dlt takes as long for ten rows as for ten thousand."""
    for table, parts in pages.items():
        yield table, pa.concat_tables(parts)
