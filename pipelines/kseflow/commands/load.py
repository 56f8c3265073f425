"""kseflow load"""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from kseflow.clock import SystemClock, TimeBox
from kseflow.commands.shared import (
    Database,
    Environment,
    Exit,
    Json,
    LogJson,
    Nips,
    Quiet,
    Verbose,
    Wait,
    told_in_plain_english,
    with_options,
)

Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TABLE",
        help="Only this table: sessions (list), session_invoices, failed_invoices, upo_documents, "
        "export_packages or invoice_metadata; may be repeated.",
    ),
]
MaxTime = Annotated[
    int, typer.Option(metavar="MINUTES", help="Stop in good time before the next load.")
]
Build = Annotated[
    bool, typer.Option("--build", help="Build the marts afterwards, and publish them.")
]


@with_options
def load(
    database: Database = Path("ksef.duckdb"),
    environment: Environment = None,
    nip: Nips = None,
    only: Only = None,
    max_time: MaxTime = 50,
    build: Build = False,
    wait: Wait = 60,
    as_json: Json = False,
    quiet: Quiet = False,
    log_json: LogJson = False,
    verbose: Verbose = False,
    **options: Any,
) -> None:
    """Load what changed since the last load, and what the database still lacks.

    Example: kseflow load --environment production --build
    """
    from kseflow.loading.run import load as run_load
    from kseflow.logins import configured_options
    from kseflow.marts.build import build_marts
    from kseflow.progress import narrated
    from kseflow.terminal import print_load

    with told_in_plain_english(verbose) as console:
        box = TimeBox(SystemClock(), max_time * 60)
        asked = vars(configured_options(**options))
        level = logging.DEBUG if verbose else logging.INFO
        voice = partial(narrated, console, level=level, quiet=quiet, as_json=log_json)
        more: dict[str, Any] = {"environment": environment, "nips": nip or (), "only": only or ()}
        with voice(what="logging in") as narrator, _stopping(box, console):
            more |= {"box": box, "watch": narrator.watch, "lock_wait_s": wait}
            summary = run_load(database, **more, **asked)
        built = None
        try:
            if build and not summary.is_stopped:
                with voice(what="building the marts"):
                    built = build_marts(database, lock_wait_s=wait)
        finally:
            print_load(summary, built, as_json=as_json, in_progress=asked["in_progress"])
        if summary.is_stopped:
            raise typer.Exit(Exit.STOPPED)
        if summary.failed_taxpayers or (built and built.left_out):
            raise typer.Exit(Exit.PARTIAL)


@contextmanager
def _stopping(box: TimeBox, console: Console) -> Iterator[None]:
    """Let the first Ctrl-C (or SIGTERM) end the load after its commit, the second at once."""

    def stop(number: int, frame: Any) -> None:
        console.print("stopping after the next commit; Ctrl-C again stops at once")
        box.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        console.print("stopped; what was committed stays, the next load goes on from there")
        raise typer.Exit(Exit.STOPPED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
