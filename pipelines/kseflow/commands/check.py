"""kseflow check"""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from kseflow.commands.shared import Database, Json, Nips, Verbose
from kseflow.console import PlainConsole
from kseflow.errors import ConfigurationError, KsefError


class UnknownUsage(typer.BadParameter):
    """Wrong options; to a monitor, click's own 2 would be an alarm."""

    exit_code = 3


def check(
    database: Database = Path("ksef.duckdb"),
    nip: Nips = None,
    warning: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Warn from this value; may be repeated."),
    ] = None,
    critical: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Alarm from this value; may be repeated."),
    ] = None,
    webhook: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Post findings there, as Slack takes them; a secret."),
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Judge the published file like a monitoring plugin: exit 0 OK, 1 warning, 2 critical.

    3 is unknown: nothing could be checked. Thresholds may stand in the sections
    check.warning and check.critical of .dlt/config.toml, the webhook in
    .dlt/secrets.toml as check.webhook.

    Example: kseflow check --critical failure_rate=0.1 --warning load_age_hours=6
    """
    from kseflow.terminal import print_json, print_verdict
    from kseflow.watch.check import check as run_check
    from kseflow.watch.check import configured_thresholds
    from kseflow.watch.finding import State, document
    from kseflow.watch.webhook import configured_webhook, text_of

    try:
        thresholds = configured_thresholds(warning or (), critical or ())
        url = webhook or configured_webhook()
    except ConfigurationError as error:
        raise UnknownUsage(str(error)) from None
    try:
        verdict = run_check(database, nips=nip or (), thresholds=thresholds)
    except KsefError as error:
        if verbose:
            PlainConsole(stderr=True).print_exception()
        summary = f"KSEF UNKNOWN: {error}"
        print_json(document(summary, [], State.UNKNOWN)) if as_json else print(summary)
        _post(url, summary)
        raise typer.Exit(State.UNKNOWN) from None
    print_json(verdict.as_json()) if as_json else print_verdict(verdict)
    if verdict.state is not State.OK:
        _post(url, text_of(verdict))
    raise typer.Exit(verdict.state)


def _post(url: str | None, text: str) -> None:
    """Post where a webhook is configured; a failure changes neither findings nor exit code."""
    from kseflow.watch.webhook import WebhookFailed, post

    if url is None:
        return
    try:
        post(url, text)
    except WebhookFailed as error:
        console = PlainConsole(stderr=True)
        console.print(f"[yellow]warning:[/] {escape(str(error))}", soft_wrap=True)
