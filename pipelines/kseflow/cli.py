"""The command line: which commands there are."""

import os

import typer

from kseflow.commands.build import build
from kseflow.commands.check import check
from kseflow.commands.demo import demo
from kseflow.commands.doctor import doctor
from kseflow.commands.emulate import emulate
from kseflow.commands.load import load
from kseflow.commands.report import report
from kseflow.commands.status import status
from kseflow.commands.upo import upo

app = typer.Typer(
    name="kseflow",
    help="Load what happened to the invoices you sent to KSeF into DuckDB.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (load, status, build, report, check, doctor, upo, demo, emulate):
    app.command()(command)


def main() -> None:
    """Run the command line; dlt's usage reports to its makers stay off unless asked for."""
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    app()


if __name__ == "__main__":
    main()
