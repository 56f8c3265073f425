"""What commands have in common: options, exit codes, and how errors are told."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from kseflow.constants import WARSAW
from kseflow.errors import KsefError


class Exit(IntEnum):
    """What the exit code tells a scheduler."""

    OK = 0
    ERROR = 1  # nothing was loaded
    USAGE = 2  # wrong options
    PARTIAL = 3  # some taxpayers or sessions failed, the rest is loaded
    STOPPED = 130  # Ctrl-C; what was committed stays


class InProgress(StrEnum):
    """What is read of sessions that are still open."""

    FAILED = "failed"
    ALL = "all"


Database = Annotated[
    Path,
    typer.Option(help="The analysts' DuckDB file; loads write FILE-load.duckdb beside it."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more; show tracebacks.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but warnings and errors.")]
LogJson = Annotated[bool, typer.Option("--log-json", help="Log one JSON object a line.")]
Wait = Annotated[
    int, typer.Option(metavar="SECONDS", help="Wait for another load on the database.")
]
Environment = Annotated[
    str | None,
    typer.Option(help="production, demo, test or a base URL; else sources.ksef.environment."),
]


@contextmanager
def told_in_plain_english(verbose: bool) -> Iterator[Console]:
    """End on our own errors with one sentence on stderr instead of a traceback."""
    if not verbose:  # dlt logs what it also raises, and we tell it in one sentence
        os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    console = Console(stderr=True)
    try:
        yield console
    except KsefError as error:
        if verbose:
            console.print_exception()
        console.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(Exit.ERROR) from None


def moment(text: str | None) -> datetime | None:
    """Read a day or moment; without a zone it is Warsaw's."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no date; write 2026-11-20 or 2026-11-20T08:00"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=WARSAW)).astimezone(UTC)
