"""The command line: each command reads its options and calls one function."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from kseflow.clock import SystemClock, TimeBox
from kseflow.errors import ConfigurationError, KsefError
from kseflow.settings import WARSAW

app = typer.Typer(
    name="kseflow",
    help="Load what happened to the invoices you sent to KSeF into DuckDB.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


class Limits(StrEnum):
    PRODUCTION = "production"
    OFF = "off"


Database = Annotated[
    Path,
    typer.Option(help="The analysts' DuckDB file; loads write FILE-load.duckdb beside it."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more; show tracebacks.")]
Wait = Annotated[
    int, typer.Option(metavar="SECONDS", help="Wait for another load on the database.")
]
Environment = Annotated[
    str | None,
    typer.Option(help="production, demo, test or a base URL; else sources.ksef.environment."),
]


@app.command()
def load(
    database: Database = Path("ksef.duckdb"),
    environment: Environment = None,
    nip: Annotated[
        list[str] | None, typer.Option(help="Only this configured taxpayer; may be repeated.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this table: sessions, session_invoices or failed_invoices."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="List sessions changed since this day or moment (Warsaw time unless it has a "
            "zone), instead of since the last load.",
        ),
    ] = None,
    max_time: Annotated[
        int, typer.Option(metavar="MINUTES", help="Stop in good time before the next load.")
    ] = 50,
    in_progress: Annotated[
        InProgress, typer.Option(help="What to read of sessions that are still open.")
    ] = InProgress.FAILED,
    build: Annotated[
        bool, typer.Option("--build", help="Build the marts afterwards, and publish them.")
    ] = False,
    wait: Wait = 60,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Load what changed since the last load, and what the database still lacks.

    Example: kseflow load --environment production --build
    """
    from kseflow.build import build as run_build
    from kseflow.config import configured_credentials, configured_environment
    from kseflow.load import load as run_load
    from kseflow.progress import narrated
    from kseflow.report import print_load
    from kseflow.source import make_clients
    from kseflow.warehouse import load_file

    listed_since = _moment(since)
    with _told_in_plain_english(verbose) as console:
        box = TimeBox(SystemClock(), max_time * 60)
        credentials = configured_credentials()
        if nip:
            unknown = set(nip) - {login.context.id for login in credentials}
            if unknown:
                raise ConfigurationError(f"--nip {min(unknown)}: no such taxpayer is configured")
            credentials = [login for login in credentials if login.context.id in nip]
        clients = make_clients(environment or configured_environment(), credentials, box)
        level = logging.DEBUG if verbose else logging.INFO
        with narrated(console, level=level), _stopping(box, console):
            summary = run_load(
                clients,
                load_file(database),
                box,
                since=listed_since,
                in_progress=in_progress,
                only=only or (),
                lock_wait_s=wait,
            )
        built = None
        try:
            if build and not summary.is_stopped:
                with narrated(console, level=level, what="building the marts"):
                    built = run_build(summary.database, database, lock_wait_s=wait)
        finally:
            print_load(summary, built, as_json=as_json, in_progress=in_progress)
        if summary.is_stopped:
            raise typer.Exit(Exit.STOPPED)
        if summary.failed_taxpayers:
            raise typer.Exit(Exit.PARTIAL)


@app.command()
def status(
    database: Database = Path("ksef.duckdb"),
    in_progress: Annotated[
        InProgress, typer.Option(help="What counts as lacking of sessions that are still open.")
    ] = InProgress.FAILED,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show per taxpayer how complete the copy is: KSeF's counters against the rows stored."""
    from kseflow.build import last_published
    from kseflow.report import print_status
    from kseflow.status import status as read_status
    from kseflow.warehouse import Warehouse, load_file

    with _told_in_plain_english(verbose):
        states = read_status(
            Warehouse.of_file(load_file(database)), SystemClock().now(), in_progress=in_progress
        )
        print_status(states, as_json=as_json, published=last_published(database))


@app.command()
def build(
    database: Database = Path("ksef.duckdb"),
    publish: Annotated[
        bool,
        typer.Option(help="Put staging and marts into the analysts' file when all tests passed."),
    ] = True,
    wait: Wait = 60,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Build the marts from what was loaded, test them, and publish them for analysts.

    A failed test ends with exit code 1, its name and sample rows; the published file stays.
    """
    from kseflow.build import build as run_build
    from kseflow.progress import narrated
    from kseflow.report import print_build
    from kseflow.warehouse import load_file

    with _told_in_plain_english(verbose) as console, narrated(console, what="building the marts"):
        summary = run_build(load_file(database), database if publish else None, lock_wait_s=wait)
    print_build(summary, as_json=as_json)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo's database goes.")] = Path(
        "kseflow-demo"
    ),
    seed: Annotated[int, typer.Option(help="Another seed is another world.")] = 7,
    verbose: Verbose = False,
) -> None:
    """Emulate KSeF with two taxpayers, load them twice and show what happened."""
    from kseflow.demo import run_demo
    from kseflow.progress import narrated

    level = logging.DEBUG if verbose else logging.WARNING
    with _told_in_plain_english(verbose) as console, narrated(console, level=level):
        run_demo(folder, seed)


@app.command()
def emulate(
    port: Annotated[int, typer.Option(help="Loopback port; 0 takes a free one.")] = 0,
    seed: Annotated[int, typer.Option(help="Another seed is another world.")] = 7,
    taxpayers: Annotated[int, typer.Option(help="How many taxpayers.", min=1)] = 2,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="The emulator's time at the start; now.")
    ] = None,
    speed: Annotated[
        float, typer.Option(help="Emulated seconds a second; 0 freezes the clock.", min=0)
    ] = 1.0,
    limits: Annotated[Limits, typer.Option(help="Rate limits to enforce.")] = Limits.PRODUCTION,
) -> None:
    """Serve an emulated KSeF API on loopback until stopped.

    The first line printed is JSON: base URL, time, and each taxpayer's NIP, KSeF token and
    certificate files, so that any KSeF client can be pointed at it.
    """
    from ksef_emulator.command import emulate as serve_emulator

    with _told_in_plain_english(False):
        serve_emulator(
            port=port,
            seed=seed,
            taxpayers=taxpayers,
            at=_moment(at),
            speed=speed,
            limits=limits.value,
        )


def main() -> None:
    """Run the command line; dlt's usage reports to its makers stay off unless asked for."""
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    app()


@contextmanager
def _told_in_plain_english(verbose: bool) -> Iterator[Console]:
    """End on our own errors with one sentence on stderr instead of a traceback."""
    if not verbose:  # dlt logs what it also raises, and we tell it in one sentence
        os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    console = Console(stderr=True)
    try:
        yield console
    except KsefError as error:
        if verbose:
            console.print_exception()
        console.print(f"[bold red]error:[/] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(Exit.ERROR) from None


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


def _moment(text: str | None) -> datetime | None:
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


if __name__ == "__main__":
    main()
