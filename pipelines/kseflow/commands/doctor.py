"""kseflow doctor"""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from kseflow.clock import SystemClock
from kseflow.commands.shared import (
    Database,
    Environment,
    Exit,
    Json,
    Verbose,
    told_in_plain_english,
)


def doctor(
    database: Database = Path("ksef.duckdb"),
    environment: Environment = None,
    nip: Annotated[
        list[str] | None, typer.Option(help="Only this configured taxpayer; may be repeated.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Examine configuration, network, clock, logins, permissions, limits and database.

    Says what to do about all that is not right, and never shows a secret.
    Asks KSeF for its public keys, and for each taxpayer's login and limits.
    Ends with 1 if there is an error.
    """
    from kseflow.terminal import report_console
    from kseflow.watch.doctor.examine import Health, examine

    styles = {Health.OK: "green", Health.WARNING: "yellow", Health.ERROR: "bold red"}
    console = report_console()
    lines = []
    with told_in_plain_english(verbose):
        for line in examine(database, SystemClock(), environment=environment, ids=nip or ()):
            lines.append(line)
            if as_json:
                continue
            about = f"{line.topic}, {line.taxpayer}" if line.taxpayer else line.topic
            told = f"{about}: {line.message}" + (f". {line.remedy}." if line.remedy else "")
            state = f"[{styles[line.health]}]{line.health:<8}[/]"
            console.print(state + escape(told), soft_wrap=True)
    counts = Counter(line.health for line in lines)
    if as_json:
        told_lines = [line.as_json() for line in lines]
        counted = {health.value: counts[health] for health in Health}
        print(json.dumps({"counts": counted, "lines": told_lines}, ensure_ascii=False, indent=2))
    else:
        console.print(", ".join(f"{counts[health]} {health}" for health in Health))
    raise typer.Exit(Exit.ERROR if counts[Health.ERROR] else Exit.OK)
