"""What the lanes of a run share, and one taxpayer's share of it.

A lane is one part of a share that waits for limits of its own; trouble ends the lane it
concerns, is told in the lane's log, and goes no further.
"""

import asyncio
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from kseflow.api.client import KsefClient
from kseflow.constants import FAILURES_FIRST_S, TROUBLES_IN_A_ROW
from kseflow.context import Context
from kseflow.errors import KsefError, OutOfTime, RequestRejected
from kseflow.files import file_problem
from kseflow.loading.cursor import Cursor
from kseflow.loading.exports.windows import AskedExport
from kseflow.loading.kept import Kept
from kseflow.loading.worklist import Worklist
from kseflow.options import Options
from kseflow.raw.arrow import Table
from kseflow.raw.tables import taxpayer_stamps

log = logging.getLogger(__name__)


@dataclass
class Log:
    """What one lane did, a row of `sync_log`.

    Not stored there: the sessions whose invoices were read, and these invoices by outcome.
    """

    resource: str
    started_at: datetime
    ended_at: datetime
    modified_from: datetime | None = None
    cursor_text: str | None = None
    reaches_back_to: datetime | None = None
    page_count: int = 0
    row_count: int = 0
    changed_count: int = 0
    session_count: int = 0
    accepted_count: int = 0
    failed_count: int = 0
    pending_count: int = 0
    credential: str | None = None
    credential_issued_at: datetime | None = None
    credential_ends_at: datetime | None = None
    outcome: str = "running"
    message: str | None = None

    def warn(self, message: str) -> None:
        self.outcome, self.message = "warning", message
        log.warning("%s", message)

    def fail(self, message: str) -> None:
        self.outcome, self.message = "failed", message
        log.error("%s", message)


@dataclass
class Lane:
    """A lane as others see it: whose, its log, KSeF's group of limits it waits for, what is left.

    `left_count` are sessions still to be read, None where nobody knows; `trouble` ended it.
    """

    client: KsefClient
    log: Log
    group: str
    left_count: int | None = None
    trouble: KsefError | None = None
    _troubles_in_a_row: int = 0

    def note(self, trouble: KsefError | None) -> None:
        """Take note of how a session went; raises the trouble that one after the other has."""
        if isinstance(trouble, RequestRejected) and trouble.is_of_one_session:
            return
        self._troubles_in_a_row = self._troubles_in_a_row + 1 if trouble else 0
        if trouble and self._troubles_in_a_row >= TROUBLES_IN_A_ROW:
            raise trouble


class Failures:
    """Sessions with failures still to be read, over all taxpayers; exports wait for them."""

    def __init__(self) -> None:
        self._count = 0
        self._none_left = asyncio.Event()
        self._none_left.set()

    def add(self, count: int) -> None:
        """Take note of so many more; fewer when negative."""
        self._count += count
        if self._count > 0:
            self._none_left.clear()
        else:
            self._none_left.set()

    async def read(self) -> None:
        """Wait until none is left, but no longer than is fair to exports."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAILURES_FIRST_S):
                await self._none_left.wait()


@dataclass(frozen=True)
class Run:
    """What all shares of a run have in common.

    By taxpayer and subject type, `asked_exports` are those of the last day, and `exported_since`
    is where the earliest window of any package begins.
    """

    options: Options
    tables: frozenset[str]
    worklist: Worklist
    asked_exports: dict[tuple[Context, str], list[AskedExport]]
    exported_since: dict[tuple[Context, str], datetime]
    kept: Kept
    lanes: list[Lane]
    failures: Failures = field(default_factory=Failures)
    # Unpacked packages are what needs memory.
    unpacking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))


def trouble_of(error: Exception) -> KsefError:
    """Return what to tell of an error: a bug of ours stops no other session or taxpayer either."""
    if isinstance(error, KsefError):
        return error
    if isinstance(error, OSError):
        return KsefError(file_problem(error))
    log.debug("%s", "".join(traceback.format_exception(error)))
    return KsefError(f"{type(error).__name__}: {error} (a bug; -v shows where)")


class Share:
    """One taxpayer's share: the client to ask, and where rows and cursors go."""

    def __init__(self, client: KsefClient, run: Run) -> None:
        self.client = client
        self.run = run
        self.context = client.context

    def fail(self, error: Exception) -> None:
        """Tell of an error outside the lanes, in the log of the first."""
        own = [lane for lane in self.run.lanes if lane.client is self.client]
        own[0].log.fail(f"{self.context}: {trouble_of(error)}")

    def keep(self, table: Table, rows: pa.Table, cursor: tuple[str, Cursor] | None = None) -> None:
        """Put rows, and the cursor (by its name) that they earned, into the open commit."""
        if cursor is not None:
            name, value = cursor
            cursor = self._key(name), value
        self.run.kept.keep(table, rows, cursor)

    def cursor(self, table: Table, name: str) -> Cursor:
        """Return a copy of a cursor of this taxpayer, empty at first."""
        return self.run.kept.cursor(table.name, self._key(name))

    def stamps(self, read_at: datetime | None = None) -> dict[str, Any]:
        """Return the columns that every row has; `read_at` is now if not said."""
        return taxpayer_stamps(self.context.type, self.context.id, read_at or self.client.now())

    @contextmanager
    def lane(self, resource: str, group: str) -> Iterator[Lane]:
        """Begin a lane, and tell in its log how it ends; only cancellation goes further."""
        now = self.client.now()
        lane = Lane(self.client, Log(resource, now, now), group)
        self.run.lanes.append(lane)
        try:
            yield lane
        except OutOfTime as error:
            log.info("%s: %s", self.context, error)
            lane.trouble = error
            if lane.log.outcome == "running":
                lane.log.outcome, lane.log.message = "out of time", str(error)
        except Exception as error:
            # Kept to the end of the run, but not what its frames hold.
            lane.trouble = trouble_of(error).with_traceback(None)
            lane.log.fail(f"{self.context}: {lane.trouble}")
        finally:
            lane.log.ended_at = self.client.now()
        if lane.log.outcome == "running":
            lane.log.outcome = "ok"

    def _key(self, name: str) -> str:
        return f"{self.context.type}:{self.context.id}:{name}"
