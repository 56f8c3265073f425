"""kseflow report"""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from kseflow.commands.shared import Database, LogJson, Nips, Quiet, Verbose, told_in_plain_english

DAY = ["%Y-%m-%d"]


def report(
    database: Database = Path("ksef.duckdb"),
    out: Annotated[Path, typer.Option(metavar="FILE", help="The HTML file to write.")] = Path(
        "report.html"
    ),
    nip: Nips = None,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=DAY, help="First Warsaw day.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=DAY, help="Last Warsaw day.")
    ] = None,
    quiet: Quiet = False,
    log_json: LogJson = False,
    verbose: Verbose = False,
) -> None:
    """Write the answers and their evidence as one HTML file that opens offline: did the invoices
    get in, is the copy complete, what must be done, is it getting better or worse.

    Example: kseflow report --from 2026-11-01 --out november.html
    """
    from kseflow.pages.html import write_report
    from kseflow.progress import narrated

    with (
        told_in_plain_english(verbose) as console,
        narrated(console, what="writing the report", quiet=quiet, as_json=log_json),
    ):
        written = write_report(database, out, nips=nip or (), first=_day(first), last=_day(last))
    if not quiet:
        print(written)


def _day(moment: datetime | None) -> date | None:
    return moment and moment.date()
