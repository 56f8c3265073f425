"""What commands have in common: options, exit codes, and how errors are told."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum, StrEnum
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from kseflow.console import PlainConsole
from kseflow.context import plain_id
from kseflow.errors import ConfigurationError, KsefError
from kseflow.files import file_problem, private_files
from kseflow.options import OPTIONS, Called, Option
from kseflow.options import moment as read_moment
from kseflow.shard import Shard

EMULATOR = "pip install 'kseflow[emulator]' brings the emulator of KSeF that this needs"


class Exit(IntEnum):
    """What the exit code tells a scheduler."""

    OK = 0
    ERROR = 1  # nothing was loaded
    USAGE = 2  # wrong options
    PARTIAL = 3  # some taxpayers or sessions failed, the rest is loaded
    STOPPED = 130  # Ctrl-C; what was committed stays


Database = Annotated[
    Path,
    typer.Option(help="The analysts' DuckDB file; loads write FILE-load.duckdb beside it."),
]
Destination = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Where loads write instead: duckdb (another file), postgres, delta or iceberg, as "
        "destination.NAME in .dlt/secrets.toml describes it.",
    ),
]
Nips = Annotated[
    list[str] | None,
    typer.Option(
        "--nip", parser=plain_id, metavar="NIP", help="Only this taxpayer; may be repeated."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more; show tracebacks.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but warnings and errors.")]
LogJson = Annotated[bool, typer.Option("--log-json", help="Log one JSON object a line.")]
Wait = Annotated[
    int, typer.Option(metavar="SECONDS", help="Wait for another load on the database.", min=0)
]
Environment = Annotated[
    str | None,
    typer.Option(help="production, demo, test or a base URL; else sources.ksef.environment."),
]


@contextmanager
def told_in_plain_english(verbose: bool) -> Iterator[Console]:
    """End on what a person can mend with one sentence on stderr instead of a traceback.

    Whatever a command writes is its user's alone.
    """
    if not verbose:  # dlt logs what it also raises, and we tell it in one sentence
        os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    console = PlainConsole(stderr=True)
    try:
        with private_files():
            yield console
    except KeyboardInterrupt:
        console.print("stopped")
        raise typer.Exit(Exit.STOPPED) from None
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("ksef_emulator", "werkzeug"):
            raise
        _tell(console, EMULATOR)
        raise typer.Exit(Exit.ERROR) from None
    except BrokenPipeError:  # whoever reads has seen enough
        raise
    except (KsefError, OSError) as error:
        if verbose:
            console.print_exception()
        _tell(console, file_problem(error) if isinstance(error, OSError) else str(error))
        raise typer.Exit(Exit.ERROR) from None


def _tell(console: Console, problem: str) -> None:
    console.print(f"[bold red]error:[/] {escape(problem)}", soft_wrap=True)


def moment(text: str) -> datetime:
    """Read a day or moment; without a zone it is Warsaw's."""
    try:
        return read_moment("it", text)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None


def share(text: str) -> Shard:
    """Read a share of the taxpayers."""
    try:
        return Shard.of(text)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None


PARSERS: dict[type, Any] = {datetime: moment, Shard: share}


def with_options(command: Called) -> Called:
    """Give a command that takes `**options` a flag for each, which is None when it is left out."""
    own = signature(command)
    named = [p for p in own.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    flags = [
        Parameter(
            option.name,
            Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[_kind(option), _flag(option)],
        )
        for option in OPTIONS
    ]
    command.__signature__ = own.replace(parameters=[*named, *flags])  # type: ignore[attr-defined]
    return command


def _kind(option: Option) -> Any:
    if not option.is_many:
        return option.annotation
    choices: Any = {choice: choice for choice in option.choices}
    one: Any = StrEnum(option.name, choices)  # type: ignore[misc]  # typer takes no list of Literal
    return list[one] | None


def _flag(option: Option) -> Any:
    told = option.help[0].upper() + option.help[1:]
    default = f" Else {option.default_text}." if option.default_text else ""
    return typer.Option(
        option.flag,
        help=f"{told}.{default}",
        metavar=option.metavar,
        min=option.least,
        max=option.most,
        parser=PARSERS.get(option.kind),
        rich_help_panel="What is loaded and how; all but --since may stand in config.toml",
    )
