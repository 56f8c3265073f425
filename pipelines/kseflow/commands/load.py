"""kseflow load"""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from kseflow.clock import SystemClock, TimeBox
from kseflow.commands.shared import (
    Database,
    Destination,
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
from kseflow.errors import ConfigurationError

if TYPE_CHECKING:
    from kseflow.loading.summary import LoadSummary
    from kseflow.marts.summary import BuildSummary
    from kseflow.shard import Shard

LONGEST = 366 * 24 * 60  # minutes
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TABLE",
        help="Only this table: sessions (list), session_invoices, failed_invoices, upo_documents, "
        "export_packages or invoice_metadata; may be repeated.",
    ),
]
MaxTime = Annotated[
    int,
    typer.Option(
        metavar="MINUTES", help="Stop in good time before the next load.", min=1, max=LONGEST
    ),
]
Build = Annotated[
    bool, typer.Option("--build", help="Build the marts afterwards, and publish them.")
]


@with_options
def load(
    database: Database = Path("ksef.duckdb"),
    destination: Destination = "",
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
    from kseflow.terminal import print_build, print_load

    with told_in_plain_english(verbose) as console:
        box = TimeBox(SystemClock(), max_time * 60)
        asked = vars(configured_options(**options))
        level = logging.DEBUG if verbose else logging.INFO
        voice = partial(narrated, console, level=level, quiet=quiet, as_json=log_json)
        more: dict[str, Any] = {"environment": environment, "destination": destination}
        more |= {"nips": nip or (), "only": only or ()}
        if build:
            _check_build(database, asked["shard"], destination)
        with voice(what="logging in") as narrator, _stopping(box, console):
            more |= {"box": box, "watch": narrator.watch, "lock_wait_s": wait}
            summary = run_load(database, **more, **asked)
        built = None
        try:
            if build and not summary.is_stopped:
                with voice(what="building the marts"):
                    where = destination or "duckdb"
                    built = build_marts(database, lock_wait_s=wait, destination=where)
        finally:
            if as_json or not quiet:
                print_load(summary, built, as_json=as_json, in_progress=asked["in_progress"])
            elif built is not None:
                print_build(built, as_json=False, quiet=True)
    raise typer.Exit(_exit_code(summary, built))


def _check_build(database: Path, shard: "Shard | None", destination: str) -> None:
    """Refuse now, not after the load, what cannot be built, or a file that is somebody else's."""
    from kseflow.marts.publish import last_published

    if destination not in ("", "postgres"):
        raise ConfigurationError(
            f"--build makes no marts of {destination}; load without --destination for them"
        )
    if shard is not None:
        raise ConfigurationError(
            "--build builds from all shards: run kseflow build when their loads have ended"
        )
    last_published(database)


def _exit_code(summary: "LoadSummary", built: "BuildSummary | None") -> Exit:
    if summary.is_stopped:
        return Exit.STOPPED
    if summary.is_in_vain:
        return Exit.ERROR
    is_partial = summary.failed_taxpayers or (built and built.left_out)
    return Exit.PARTIAL if is_partial else Exit.OK


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
