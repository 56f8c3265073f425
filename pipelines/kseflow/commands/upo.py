"""kseflow upo"""

from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer

from kseflow.clock import SystemClock, TimeBox
from kseflow.commands.shared import Environment, Verbose, told_in_plain_english
from kseflow.context import plain_id
from kseflow.errors import ConfigurationError


def upo(
    session: Annotated[str, typer.Option(metavar="REF", help="The session's reference number.")],
    invoice: Annotated[
        str | None, typer.Option(metavar="REF", help="One invoice, by its reference number.")
    ] = None,
    ksef_number: Annotated[
        str | None, typer.Option(metavar="NR", help="One invoice, by its KSeF number.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the XML files go.")] = Path(),
    environment: Environment = None,
    nip: Annotated[
        str | None,
        typer.Option(
            parser=plain_id, metavar="NIP", help="The taxpayer, where several are configured."
        ),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Save official receipts (UPO): of a whole session, or of one of its invoices.

    Example: kseflow upo --session 20261117-SO-2F14610000-242991F8C9-B4 --out receipts
    """
    from kseflow.api.client import KsefClient
    from kseflow.api.gateway import Gateway
    from kseflow.loading.upo import save_upo
    from kseflow.logins import configured_credentials, configured_environment, configured_options

    if invoice and ksef_number:
        raise typer.BadParameter("give --invoice or --ksef-number, not both")
    with told_in_plain_english(verbose):
        credentials = configured_credentials([nip] if nip else ())
        if len(credentials) > 1:
            raise ConfigurationError("several taxpayers are configured: say which one with --nip")
        box = TimeBox(SystemClock())
        factor = configured_options().size_factor
        gateway = Gateway(environment or configured_environment(), box, size_factor=factor)

        async def saved() -> list[Path]:
            async with aclosing(gateway), KsefClient(gateway, credentials[0]) as client:
                return await save_upo(
                    client, out, session, invoice=invoice, ksef_number=ksef_number
                )

        with box.loop() as loop:
            for path in loop.run(saved()):
                print(path)
