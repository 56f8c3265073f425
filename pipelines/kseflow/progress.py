"""What is going on, while it goes on: a spinner on a terminal, plain log lines elsewhere."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler
from rich.status import Status


class _Narrator(logging.Handler):
    """Show the latest log line beside the spinner."""

    def __init__(self, spinner: Status) -> None:
        super().__init__(logging.INFO)
        self._spinner = spinner

    def emit(self, record: logging.LogRecord) -> None:
        self._spinner.update(record.getMessage())


@contextmanager
def narrated(
    console: Console, *, level: int = logging.INFO, what: str = "starting"
) -> Iterator[None]:
    """Show kseflow's log on `console`: lines from `level` on where it is no terminal.

    `what` stands beside the spinner until the first line comes.
    """
    logger = logging.getLogger("kseflow")
    logger.setLevel(min(level, logging.INFO))
    if console.is_terminal:
        with console.status(what) as spinner:
            warnings = RichHandler(logging.WARNING, console, show_path=False, show_time=False)
            with _handling(logger, warnings, _Narrator(spinner)):
                yield
    else:
        lines = logging.StreamHandler(console.file)
        lines.setLevel(level)
        lines.setFormatter(_utc_formatter())
        with _handling(logger, lines):
            yield


@contextmanager
def _handling(logger: logging.Logger, *handlers: logging.Handler) -> Iterator[None]:
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)


def _utc_formatter() -> logging.Formatter:
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    return formatter
