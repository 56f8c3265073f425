"""kseflow demo"""

import logging
from pathlib import Path
from typing import Annotated

import typer

from kseflow.commands.shared import Verbose, told_in_plain_english


def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo's database goes.")] = Path(
        "kseflow-demo"
    ),
    seed: Annotated[int, typer.Option(help="Another seed is another world.")] = 7,
    verbose: Verbose = False,
) -> None:
    """Emulate KSeF with two taxpayers, load them twice and show what happened."""
    from kseflow.progress import narrated

    level = logging.DEBUG if verbose else logging.WARNING
    with told_in_plain_english(verbose) as console, narrated(console, level=level):
        from kseflow.demo import run_demo
        from kseflow.loading.run import load_clients

        run_demo(folder, seed, load_clients)
