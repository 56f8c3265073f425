"""kseflow status"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kseflow.clock import SystemClock
from kseflow.commands.shared import (
    Database,
    Json,
    Verbose,
    told_in_plain_english,
)


def status(
    database: Database = Path("ksef.duckdb"),
    in_progress: Annotated[
        Literal["failed", "all"],
        typer.Option(help="What counts as lacking of sessions that are still open."),
    ] = "failed",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show per taxpayer how complete the copy is: KSeF's counters against the rows stored.

    Example: kseflow status --json
    """
    from kseflow.database import load_file
    from kseflow.loading.warehouse import Warehouse
    from kseflow.marts.publish import last_published
    from kseflow.terminal import print_status
    from kseflow.watch.status import status as read_status

    with told_in_plain_english(verbose):
        states = read_status(
            Warehouse.of_file(load_file(database)), SystemClock().now(), in_progress=in_progress
        )
        print_status(states, as_json=as_json, published=last_published(database))
