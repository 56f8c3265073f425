"""kseflow build"""

from pathlib import Path
from typing import Annotated

import typer

from kseflow.commands.shared import (
    Database,
    Exit,
    Json,
    LogJson,
    Quiet,
    Verbose,
    Wait,
    told_in_plain_english,
)


def build(
    database: Database = Path("ksef.duckdb"),
    publish: Annotated[
        bool,
        typer.Option(help="Put staging and marts into the analysts' file when all tests passed."),
    ] = True,
    full: Annotated[
        bool, typer.Option("--full", help="Build also when neither data nor models changed.")
    ] = False,
    destination: Annotated[
        str, typer.Option(help="Where the rows are: duckdb, or postgres with dlt's credentials.")
    ] = "duckdb",
    wait: Wait = 60,
    as_json: Json = False,
    quiet: Quiet = False,
    log_json: LogJson = False,
    verbose: Verbose = False,
) -> None:
    """Build the marts from what was loaded, test them, and publish them for analysts.

    When neither data nor models changed since, it only notes that, for status and check.
    A failed test ends with exit code 1, its name and sample rows; the published file stays. If
    it is of one taxpayer's rows, the others are published without it: exit code 3. In another
    destination the marts are built where the rows are, and nothing is published or left out.

    Example: kseflow build --database /srv/ksef/ksef.duckdb
    """
    from kseflow.marts.build import build_marts
    from kseflow.progress import narrated
    from kseflow.terminal import print_build

    with (
        told_in_plain_english(verbose) as console,
        narrated(console, what="building the marts", quiet=quiet, as_json=log_json),
    ):
        summary = build_marts(
            database, publish=publish, lock_wait_s=wait, full=full, destination=destination
        )
    print_build(summary, as_json=as_json, quiet=quiet)
    if summary.left_out:
        raise typer.Exit(Exit.PARTIAL)
