"""kseflow emulate"""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kseflow.commands.shared import moment, told_in_plain_english
from kseflow.errors import ConfigurationError


def emulate(
    port: Annotated[
        int, typer.Option(help="Loopback port; 0 takes a free one.", min=0, max=65_535)
    ] = 0,
    seed: Annotated[int, typer.Option(help="Another seed is another world.")] = 7,
    taxpayers: Annotated[int, typer.Option(help="How many taxpayers.", min=1)] = 2,
    at: Annotated[
        datetime | None,
        typer.Option(metavar="TIME", parser=moment, help="The emulator's time at the start; now."),
    ] = None,
    speed: Annotated[
        float, typer.Option(help="Emulated seconds a second; 0 freezes the clock.", min=0)
    ] = 1.0,
    limits: Annotated[
        Literal["production", "off"], typer.Option(help="Rate limits to enforce.")
    ] = "production",
    latency_ms: Annotated[
        float, typer.Option(help="Real milliseconds that each answer comes late.", min=0)
    ] = 0.0,
    configure: Annotated[
        bool,
        typer.Option(help="Write .dlt/config.toml and secrets.toml here, to load from it."),
    ] = False,
) -> None:
    """Serve an emulated KSeF API on loopback until stopped.

    Example: kseflow emulate --port 8080 --limits off --configure

    The first line printed is JSON: base URL, time, and each taxpayer's NIP, KSeF token and
    certificate files, so that any KSeF client can be pointed at it.
    """
    with told_in_plain_english(False):
        from ksef_emulator.command import emulate as serve_emulator

        serve_emulator(
            port=port,
            seed=seed,
            taxpayers=taxpayers,
            at=at,
            speed=speed,
            limits=limits,
            latency_ms=latency_ms,
            before=_write_configuration if configure else None,
        )


def _write_configuration(introduction: dict[str, Any]) -> None:
    """Write dlt's files for all taxpayers of an emulator. Raises `ConfigurationError`."""
    folder = Path(".dlt")
    config, secrets = folder / "config.toml", folder / "secrets.toml"
    if config.exists() or secrets.exists():
        raise ConfigurationError(f"{folder} holds a configuration already; it was left as it is")
    folder.mkdir(exist_ok=True)
    logins = {f"emulated{n}": who for n, who in enumerate(introduction["taxpayers"], start=1)}
    sections = [f'[sources.ksef.{name}]\nnip = "{who["nip"]}"\n' for name, who in logins.items()]
    tokens = [f'[sources.ksef.{name}]\ntoken = "{who["token"]}"\n' for name, who in logins.items()]
    source = (
        f'[sources.ksef]\nenvironment = "{introduction["base_url"]}"\n'
        f"taxpayers = {json.dumps(list(logins))}\n"
    )
    config.write_text("\n".join([source, *sections]))
    secrets.touch(mode=0o600)
    secrets.write_text("\n".join(tokens))
