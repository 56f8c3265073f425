"""kseflow systemd"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from kseflow.commands.shared import Verbose, told_in_plain_english
from kseflow.constants import MOST_SHARDS


def systemd(
    database: Annotated[Path, typer.Option(help="The analysts' DuckDB file.")] = Path(
        "ksef.duckdb"
    ),
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who runs it; else the folder's owner.")
    ] = None,
    shards: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=MOST_SHARDS, help="Share the taxpayers among N loads at once."
        ),
    ] = 1,
    cron: Annotated[bool, typer.Option("--cron", help="Print lines for a crontab.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the units there, such as /etc/systemd/system."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Print units for systemd, or lines for cron, that load and check from this folder hourly.

    Example: sudo .venv/bin/kseflow systemd --out /etc/systemd/system
    """
    from kseflow.deploy.units import Installation, cron_lines, owner, units

    with told_in_plain_english(verbose):
        folder = Path.cwd()
        kseflow = Path(sys.executable).with_name("kseflow")
        here = Installation(kseflow, folder, user or owner(folder), database, shards)
        if cron:
            print(cron_lines(here), end="")
            return
        for name, text in units(here).items():
            if out is None:
                print(f"# {name}\n{text}")
            else:
                (out / name).write_text(text, encoding="utf-8")
                (out / name).chmod(0o644)
                print(out / name)
