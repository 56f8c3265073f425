"""A lane: one part of a taxpayer's share that waits for limits of its own.

KSeF counts each group of endpoints apart, so a share is walked in several lanes; the extraction
takes the next answer from whichever lane of whichever taxpayer has room first.
"""

import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pyarrow as pa

from kseflow.api.client import KsefClient
from kseflow.context import Context
from kseflow.errors import KsefError, OutOfTime, Throttled
from kseflow.loading.warehouse import AskedExport
from kseflow.loading.worklist import Worklist
from kseflow.options import Options
from kseflow.raw.arrow import Table
from kseflow.raw.tables import SESSIONS

log = logging.getLogger(__name__)

Rows = tuple[Table, pa.Table]
Answer = TypeVar("Answer")

NOTHING: Rows = (SESSIONS, SESSIONS.schema.empty_table())  # lets other lanes go on


@dataclass
class Part:
    """One part of a taxpayer's share, a row of `sync_log`.

    Not stored there: the sessions whose invoices were read, and these invoices by outcome.
    """

    resource: str
    started_at: datetime
    ended_at: datetime
    modified_from: datetime | None = None
    cursor_text: str | None = None
    page_count: int = 0
    row_count: int = 0
    changed_count: int = 0
    session_count: int = 0
    accepted_count: int = 0
    failed_count: int = 0
    pending_count: int = 0
    outcome: str = "running"
    message: str | None = None

    def warn(self, message: str) -> None:
        self.outcome, self.message = "warning", message
        log.warning("%s", message)

    def fail(self, message: str) -> None:
        self.outcome, self.message = "failed", message
        log.error("%s", message)


@dataclass(frozen=True)
class Run:
    """What all lanes of a run share.

    `cursors` returns the cursors of a resource, in the state of the load package that rows go
    into now; `asked_exports` are those of the last day, by taxpayer and subject type.
    """

    options: Options
    tables: frozenset[str]
    worklist: Worklist
    asked_exports: dict[tuple[Context, str], list[AskedExport]]
    cursors: Callable[[str], dict[str, Any]]


class Lane(ABC):
    """One part of a share: its rows, what it waits for, and the lanes that its end opens.

    `group` is KSeF's group of limits it waits for, `trouble` the error that ended it.
    """

    resource: str
    group: str

    def __init__(self, client: KsefClient, run: Run) -> None:
        now = client.now()
        self.client = client
        self.run = run
        self.part = Part(self.resource, now, now)
        self.trouble: KsefError | None = None
        self._idle_until: datetime | None = None

    def delay_s(self) -> float:
        """Return the seconds until this lane has something to ask, and KSeF takes it."""
        delay_s = self.client.windows.delay_s(self.group)
        if self._idle_until is None:
            return delay_s
        return max(delay_s, (self._idle_until - self.client.now()).total_seconds())

    def rows(self) -> Iterator[Rows]:
        """Yield the rows of each answer; trouble that ends the lane is told in its part."""
        try:
            with self._told():
                yield from self._walk()
        except KsefError as error:
            self.trouble = error

    def left_count(self) -> int | None:
        """Return how many sessions or pages are still to be read, None when nobody knows."""
        return None

    def followers(self) -> Sequence["Lane"]:
        """Return the lanes that may start now that this one has ended."""
        return ()

    @abstractmethod
    def _walk(self) -> Iterator[Rows]:
        """Yield the rows of each answer; errors end the lane."""

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell in the part how the lane ends."""
        part, context = self.part, self.client.context
        part.started_at = self.client.now()
        try:
            yield
        except OutOfTime as error:
            log.info("%s: %s", context, error)
            if part.outcome == "running":
                part.outcome, part.message = "out of time", str(error)
            raise
        except KsefError as error:
            part.fail(f"{context}: {error}")
            raise
        except Exception as error:  # a bug of ours stops no other taxpayer; the log shows where
            log.debug("%s", traceback.format_exc())
            part.fail(f"{context}: {type(error).__name__}: {error} (a bug; -v shows where)")
            raise KsefError from error
        finally:
            part.ended_at = self.client.now()
        if part.outcome == "running":
            part.outcome = "ok"

    def _idle(self, seconds: float) -> Iterator[Rows]:
        """Let other lanes go on for a while, and wait for what is left of it."""
        self._idle_until = self.client.now() + timedelta(seconds=seconds)
        yield NOTHING
        self.client.sleep((self._idle_until - self.client.now()).total_seconds())
        self._idle_until = None


def patiently(step: Callable[[], Iterator[Rows]]) -> Iterator[Rows]:
    """Take a step up again after KSeF asked for a long wait, which lets other lanes go on."""
    while True:
        try:
            yield from step()
            return
        except Throttled as error:
            log.info("%s", error)
            yield NOTHING


def answered(call: Callable[[], Answer]) -> Generator[Rows, Any, Answer]:
    """Return what a call returns, taken up again in the same way."""
    while True:
        try:
            return call()
        except Throttled as error:
            log.info("%s", error)
            yield NOTHING
