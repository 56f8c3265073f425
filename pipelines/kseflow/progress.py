"""What is going on, while it goes on: a live display on a terminal, log lines elsewhere."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.logging import RichHandler
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from kseflow.constants import WARSAW
from kseflow.words import counted

if TYPE_CHECKING:  # a build does without what a load needs
    from kseflow.loading.extraction import Extraction
    from kseflow.loading.share import Lane

LANES_SHOWN = 12
NOTICEABLE_S = 2.0
WHAT = {
    "login": "logging in",
    "sessions_online": "listing Online sessions",
    "sessions_batch": "listing Batch sessions",
    "invoices": "reading invoices",
    "invoice_status": "reading single invoices",
    "upo": "reading receipts",
    "exports_subject1": "exporting as Subject1",
    "exports_subject2": "exporting as Subject2",
    "exports_subject3": "exporting as Subject3",
    "exports_subjectauthorized": "exporting as SubjectAuthorized",
}


class Narrator(logging.Handler):
    """The live display: the latest log line, and what every lane of a load is doing."""

    def __init__(self, what: str) -> None:
        super().__init__(logging.DEBUG)
        self._spinner = Spinner("dots", what)
        self._extraction: Extraction | None = None

    def emit(self, record: logging.LogRecord) -> None:
        # No markup: KSeF's own words are in it.
        self._spinner.update(text=Text(record.getMessage()))

    def watch(self, extraction: "Extraction") -> None:
        """Show the lanes of this extraction from now on."""
        self._extraction = extraction

    def __rich__(self) -> RenderableType:
        lanes = list(self._extraction.lanes) if self._extraction is not None else []
        running = [lane for lane in lanes if lane.log.outcome == "running"]
        if not running:
            return self._spinner
        rows = Table.grid(Column(no_wrap=True), *("" for _ in range(3)), padding=(0, 2))
        for lane in running[:LANES_SHOWN]:
            rows.add_row(*_cells(lane))
        more = len(running) - LANES_SHOWN
        return Group(rows, *([f"and {more} more"] if more > 0 else []), self._spinner)


def _cells(lane: "Lane") -> tuple[str, str, str, str]:
    """Say for whom, what, how far, and what the hour still takes or what it is waiting for."""
    log, left = lane.log, lane.left_count
    if left is not None:
        done = f"{log.session_count:,} of {counted(log.session_count + left, 'session')}"
    else:
        done = counted(log.page_count, "package" if "exports" in log.resource else "page")
    remaining = lane.client.windows.remaining_count(lane.group)
    state = "" if remaining is None else f"{counted(remaining, 'request')} left this hour"
    if (delay_s := lane.client.windows.delay_s(lane.group)) > NOTICEABLE_S:
        until = (lane.client.now() + timedelta(seconds=delay_s)).astimezone(WARSAW)
        state = f"waits until {until:%H:%M:%S %Z} for {lane.group}"
    return (
        str(lane.client.context),
        WHAT[log.resource],
        f"{done}, {counted(log.row_count, 'row')}",
        state,
    )


@contextmanager
def narrated(
    console: Console,
    *,
    what: str = "starting",
    level: int = logging.INFO,
    quiet: bool = False,
    as_json: bool = False,
) -> Iterator[Narrator]:
    """Show kseflow's log on `console`: live on a terminal, else lines from `level` on.

    `quiet` leaves warnings only; `as_json` writes one JSON object a line. `what` stands beside
    the spinner until the first line comes.
    """
    logger = logging.getLogger("kseflow")
    logger.setLevel(level)
    narrator = Narrator(what)
    if console.is_terminal and not quiet and not as_json:
        logger.setLevel(logging.DEBUG)  # the spinner shows even what passes quickly
        kept = RichHandler(logging.WARNING, console, show_path=False, show_time=False)
        with (
            Live(narrator, console=console, transient=True, refresh_per_second=5),
            _handling(logger, kept, narrator),
        ):
            yield narrator
        return
    lines = logging.StreamHandler(console.file)
    lines.setLevel(logging.WARNING if quiet else level)
    lines.setFormatter(_JsonLines() if as_json else _Lines())
    with _handling(logger, lines):
        yield narrator


@contextmanager
def _handling(logger: logging.Logger, *handlers: logging.Handler) -> Iterator[None]:
    for handler in handlers:
        logger.addHandler(handler)
    propagates, logger.propagate = logger.propagate, False  # dbt gives the root a handler
    try:
        yield
    finally:
        logger.propagate = propagates
        for handler in handlers:
            logger.removeHandler(handler)


class _Lines(logging.Formatter):
    """One line each: time (UTC), level and message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime


class _JsonLines(_Lines):
    """One object a line: time (UTC), level and message."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        return json.dumps(told, ensure_ascii=False)
