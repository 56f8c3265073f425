"""One run of the extraction: every taxpayer's lanes, interleaved so that no wait idles others."""

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC
from typing import Any

import pyarrow as pa

from kseflow.api.client import KsefClient
from kseflow.clock import TimeBox
from kseflow.constants import COMMIT_EVERY_S, COMMIT_ROWS
from kseflow.loading.lane import Lane, Rows, Run
from kseflow.loading.taxpayer import LoginLane
from kseflow.loading.warehouse import Warehouse
from kseflow.options import Options
from kseflow.raw.arrow import Table
from kseflow.raw.tables import API_REQUESTS, SYNC_LOG, TABLES, taxpayer_stamps

log = logging.getLogger(__name__)

COMMIT = None  # stands between rows where a commit is due


class Extraction:
    """Everything one run asks KSeF, as rows of the raw tables with the points to commit at."""

    def __init__(
        self,
        clients: Sequence[KsefClient],
        box: TimeBox,
        options: Options,
    ) -> None:
        self.clients = clients
        self.lanes: list[Lane] = []  # all that were begun
        self.run_id = f"{box.now().astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.is_done = False
        self._box = box
        self._options = options
        self._flow: Iterator[Rows | None] | None = None
        self._cursors: Callable[[str], dict[str, Any]]

    def rows(
        self,
        warehouse: Warehouse,
        cursors: Callable[[str], dict[str, Any]],
        tables: frozenset[str],
        *,
        until_commit: bool,
    ) -> Iterator[Rows]:
        """Yield rows, those of `tables` and the logs: all, or those up to the next commit.

        `cursors` returns the cursors of a resource in the state of the load package that the
        rows go into.
        """
        self._cursors = cursors
        if self._flow is None:
            self._flow = self._run(warehouse, tables)
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

    def _run(self, warehouse: Warehouse, tables: frozenset[str]) -> Iterator[Rows | None]:
        """Take the next answer from the lane whose windows have room first, to the end."""
        run = Run(
            options=self._options,
            tables=tables,
            worklist=warehouse.worklist(),
            asked_exports=warehouse.asked_exports(self._box.now()),
            cursors=lambda resource: self._cursors(resource),
        )
        self._restore_windows(warehouse)
        for table in TABLES:  # so that each exists after the first load, rows or none
            yield table, table.schema.empty_table()
        steps = self._begun(LoginLane(client, run) for client in self.clients)
        committed_at, row_count = self._box.now(), 0
        while steps:
            lane = min(steps, key=Lane.delay_s)
            waiting_s = max((self._box.now() - committed_at).total_seconds(), lane.delay_s())
            if row_count > COMMIT_ROWS or (row_count and waiting_s > COMMIT_EVERY_S):
                yield from self._accounts()
                log.info("saving %s rows", f"{row_count:,}")
                yield COMMIT
                committed_at, row_count = self._box.now(), 0
            rows = next(steps[lane], None)
            if rows is None:
                del steps[lane]
                steps |= self._begun(lane.followers())
                continue
            row_count += rows[1].num_rows
            yield rows
        yield from self._accounts()

    def _begun(self, lanes: Iterable[Lane]) -> dict[Lane, Iterator[Rows]]:
        begun = {lane: lane.rows() for lane in lanes}
        self.lanes.extend(begun)
        return begun

    def _restore_windows(self, warehouse: Warehouse) -> None:
        spent = warehouse.request_times(self._box.now())
        for client in self.clients:
            for (context, group), times in spent.items():
                if context == client.context:
                    client.windows.restore(group, times)

    def _accounts(self) -> Iterator[Rows]:
        """Yield the run's log and spending so far; later rows of the run replace them."""
        log_rows = [
            {
                **self._stamps(lane.client),
                "environment": lane.client.base_url,
                "taxpayer_name": lane.client.context.name,
                **vars(lane.part),
            }
            for lane in self.lanes
        ]
        spent_rows = []
        for client in self.clients:
            for group, spending in client.spending.items():
                times = [time.isoformat() for time in client.windows.request_times(group)]
                limit = client.windows.hourly_limit(group)
                spent_rows.append(
                    {
                        **self._stamps(client),
                        **vars(spending),
                        "api_group": group,
                        "hourly_limit": limit,
                        "requested_at": times if limit >= 0 else [],
                    }
                )
        yield SYNC_LOG, SYNC_LOG.arrow(log_rows)
        yield API_REQUESTS, API_REQUESTS.arrow(spent_rows)

    def _stamps(self, client: KsefClient) -> dict[str, Any]:
        context = client.context
        return {
            **taxpayer_stamps(context.type, context.id, self._box.now()),
            "run_id": self.run_id,
        }


def _joined(pages: dict[Table, list[pa.Table]]) -> Iterator[Rows]:
    """Join pages into one table each: dlt takes as long for ten rows as for ten thousand."""
    for table, parts in pages.items():
        yield table, pa.concat_tables(parts)
