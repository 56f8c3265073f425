"""kseflow doctor"""

from pathlib import Path

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
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Examine configuration, network, clock, logins, permissions, limits and database.

    Says what to do about all that is not right, and never shows a secret.
    Asks KSeF for its public keys, and for each taxpayer's login and limits.
    Ends with 1 if something is critical.
    """
    from kseflow.terminal import print_examination
    from kseflow.watch.doctor.examine import examine
    from kseflow.watch.finding import State

    with told_in_plain_english(verbose):
        findings = examine(database, SystemClock(), environment=environment, ids=nip or ())
        state = print_examination(findings, as_json=as_json)
    raise typer.Exit(Exit.ERROR if state is State.CRITICAL else Exit.OK)
