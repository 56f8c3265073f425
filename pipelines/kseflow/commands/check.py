"""kseflow check"""

import json
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from kseflow.clock import SystemClock
from kseflow.commands.shared import Database, Json, Verbose
from kseflow.errors import ConfigurationError, KsefError

if TYPE_CHECKING:
    from kseflow.watch.check import Verdict


class UnknownUsage(typer.BadParameter):
    """Wrong options; to a monitor, click's own 2 would be an alarm."""

    exit_code = 3


def check(
    database: Database = Path("ksef.duckdb"),
    nip: Annotated[
        list[str] | None, typer.Option(help="Only this taxpayer of the file; may be repeated.")
    ] = None,
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
    from kseflow.watch.check import State, configured_thresholds
    from kseflow.watch.check import check as run_check
    from kseflow.watch.webhook import configured_webhook, text_of

    try:
        thresholds = configured_thresholds(warning or (), critical or ())
    except ConfigurationError as error:
        raise UnknownUsage(str(error)) from None
    url = webhook or configured_webhook()
    try:
        verdict = run_check(database, SystemClock().now(), thresholds, nip or ())
    except KsefError as error:
        if verbose:
            Console(stderr=True).print_exception()
        summary = f"KSEF UNKNOWN: {error}"
        told = {"state": "UNKNOWN", "summary": summary, "findings": []}
        print(json.dumps(told, ensure_ascii=False, indent=2) if as_json else summary)
        _post(url, summary)
        raise typer.Exit(State.UNKNOWN) from None
    _print(verdict, as_json=as_json)
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
        Console(stderr=True).print(f"[yellow]warning:[/] {error}", highlight=False, soft_wrap=True)


def _print(verdict: "Verdict", *, as_json: bool) -> None:
    """Print the line of a monitoring plugin, a line for each problem, and a line for each check."""
    from kseflow.terminal import moment_text, report_console

    if as_json:
        told: dict[str, Any] = {
            "state": verdict.state.name,
            "summary": verdict.summary,
            "as_of": verdict.as_of and verdict.as_of.isoformat(),
            "published_at": verdict.published_at.isoformat(),
            "findings": [finding.as_json() for finding in verdict.findings],
        }
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return
    console = report_console()
    for line in (verdict.summary, *map(str, verdict.problems)):
        console.print(escape(line), soft_wrap=True)
    console.print(_table(verdict))
    as_of = moment_text(verdict.as_of) if verdict.as_of else "nothing yet"
    console.print(f"As of {as_of}, published {moment_text(verdict.published_at)}")


def _table(verdict: "Verdict") -> Any:
    """Show each check once, with the taxpayer that is worst off."""
    from kseflow.terminal import table

    made = table("Worst of each check", "check", "state", "value", "warning", "critical", "of")
    by_name: dict[str, list[Any]] = {}
    for finding in verdict.findings:
        by_name.setdefault(finding.check.name, []).append(finding)
    for name, findings in by_name.items():
        worst = max(findings, key=lambda found: found.badness)
        form = worst.check.form
        value = "too few" if worst.value is None else f"{worst.value:{form}}"
        limits = [
            f"{limit:{form}}" if isfinite(limit) else "off"
            for limit in (worst.warning, worst.critical)
        ]
        made.add_row(name, worst.state.name, value, *limits, str(worst.taxpayer or "file"))
    return made
