"""kseflow doctor"""

from pathlib import Path
from typing import Annotated

import typer

from kseflow.clock import SystemClock
from kseflow.commands.shared import (
    Database,
    Environment,
    Exit,
    Json,
    Nips,
    Verbose,
    told_in_plain_english,
)


def doctor(
    database: Database = Path("ksef.duckdb"),
    environment: Environment = None,
    nip: Nips = None,
    record: Annotated[
        Path | None,
        typer.Option(
            help="Write a login, the limits and two lists of one taxpayer into this new file, "
            "for a bug report: names, numbers and secrets are replaced by stand-ins."
        ),
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Examine configuration, network, clock, logins, permissions, limits and database.

    Says what to do about all that is not right, and never shows a secret.
    Asks KSeF for its public keys and its OpenAPI document, and for each taxpayer's login and
    limits.
    Ends with 1 if something is critical.
    """
    from kseflow.terminal import print_examination
    from kseflow.watch.doctor.examine import examine
    from kseflow.watch.finding import State

    with told_in_plain_english(verbose):
        findings = examine(
            database, SystemClock(), environment=environment, ids=nip or (), record=record
        )
        state = print_examination(findings, as_json=as_json)
    raise typer.Exit(Exit.ERROR if state is State.CRITICAL else Exit.OK)
