"""kseflow status"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kseflow.clock import SystemClock
from kseflow.commands.shared import (
    Database,
    Destination,
    Json,
    Verbose,
    told_in_plain_english,
)


def status(
    database: Database = Path("ksef.duckdb"),
    destination: Destination = "",
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
        now, published, file = SystemClock().now(), None, load_file(database)
        if destination:
            from kseflow.loading.places import place_of  # which imports dlt

            with place_of(file, destination).warehouse() as warehouse:
                states = read_status(warehouse, now, in_progress=in_progress)
        else:
            states = read_status(Warehouse.of_file(file), now, in_progress=in_progress)
            published = last_published(database)
        print_status(states, as_json=as_json, published=published)
