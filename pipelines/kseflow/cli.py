"""The command line: which commands there are."""

import os
import sys
from importlib import import_module
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated

import typer

COMMANDS = (
    "load",
    "status",
    "build",
    "report",
    "check",
    "doctor",
    "upo",
    "systemd",
    "demo",
    "emulate",
)

app = typer.Typer(
    name="kseflow",
    help="Load what happened to the invoices you sent to KSeF into DuckDB.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:  # each a function of its own name in a file of its own name
    app.command()(getattr(import_module(f"kseflow.commands.{command}"), command))


def _say_version(is_asked: bool) -> None:
    if is_asked:
        print(f"kseflow {version('kseflow')}")
        raise typer.Exit


@app.callback()
def root(
    is_version_asked: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Say which kseflow this is."
        ),
    ] = False,
) -> None:
    """Take the options that no command has."""


def main() -> None:
    """Run the command line; dlt's usage reports to its makers stay off unless asked for."""
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    # Ctrl-C is the command's: dlt would make a failure of one that comes while it commits.
    os.environ.setdefault("RUNTIME__INTERCEPT_SIGNALS", "false")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every terminal knows Polish letters
    try:
        os.getcwd()
    except OSError:
        sys.exit("error: the folder you are in was deleted; change to one that exists")
    app()


if __name__ == "__main__":
    main()
