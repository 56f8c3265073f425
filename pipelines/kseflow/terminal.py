"""What a person or a machine reads after a load: tables on a terminal, or one JSON document."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from math import isfinite
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kseflow.clock import moment_text
from kseflow.columns import print_table, table
from kseflow.console import report_console
from kseflow.constants import KSEF_BEGINS, WARSAW
from kseflow.context import Context
from kseflow.errors import WarehouseError, without_controls
from kseflow.loading.summary import LoadSummary
from kseflow.marts.publish import Published
from kseflow.watch.check import Verdict, line_of
from kseflow.watch.finding import Finding, State, document, worst
from kseflow.words import counted

if TYPE_CHECKING:
    from kseflow.marts.summary import BuildSummary
    from kseflow.watch.status import TaxpayerStatus

WORDS = {
    State.OK: ("green", "OK"),
    State.WARNING: ("yellow", "warning"),
    State.CRITICAL: ("bold red", "critical"),
}
NAME_WIDTH = 28  # characters of a taxpayer's name that leave the numbers their room


def print_load(
    summary: LoadSummary, built: "BuildSummary | None", *, as_json: bool, in_progress: str
) -> None:
    """Print what a load did, what is left, and what was built of it, if anything was.

    What is left stays out, null in JSON, while another load that has begun meanwhile writes.
    """
    states, trouble = _states_after(summary, in_progress)
    if as_json:
        taxpayers = None if trouble else [state.as_json() for state in states]
        print_json(summary.as_json() | {"taxpayers": taxpayers, "build": built and built.as_json()})
        return
    console = report_console()
    print_table(console, _load_table(summary))
    if trouble:
        console.print(f"kseflow status tells what is left: {escape(trouble)}", soft_wrap=True)
    else:
        print_status(states, as_json=False, console=console)
    took_s = (summary.ended_at - summary.started_at).total_seconds()
    console.print(
        f"Took {_duration(took_s)}, waited {_duration(summary.waited_s)} for KSeF's limits. "
        f"Requests: {requests_text(summary.request_counts)}",
        soft_wrap=True,
    )
    for log in summary.logs:
        if log["message"]:
            console.print(
                f"[yellow]{log['taxpayer']}, {log['resource']}: {log['outcome']}:[/] "
                f"{escape(log['message'])}",
                soft_wrap=True,
            )
    if built is not None:
        print_build(built, as_json=False)


def _states_after(summary: LoadSummary, in_progress: str) -> "tuple[list[TaxpayerStatus], str]":
    """Return each taxpayer's state, or why it cannot be read now."""
    from kseflow.watch.status import status  # pyarrow, which a build does without

    try:
        with summary.warehouse() as warehouse:
            return status(warehouse, summary.ended_at, in_progress=in_progress), ""
    except WarehouseError as error:
        return [], str(error)


def _load_table(summary: LoadSummary) -> Table:
    """Say what a load brought, by taxpayer."""
    made = table(
        "What this load brought",
        "taxpayer",
        "sessions changed",
        "sessions read",
        "accepted",
        "failed",
        "in process",
        "packages",
        "exported",
    )
    for taxpayer in dict.fromkeys(log["taxpayer"] for log in summary.logs):
        logs = [log for log in summary.logs if log["taxpayer"] == taxpayer]
        exports = [log for log in logs if log["resource"].startswith("exports")]
        counters = ("changed", "session", "accepted", "failed", "pending")
        numbers = [sum(log[f"{counter}_count"] for log in logs) for counter in counters]
        numbers += [sum(log[name] for log in exports) for name in ("page_count", "row_count")]
        made.add_row(str(taxpayer), *(f"{number:,}" for number in numbers))
    return made


def print_build(summary: "BuildSummary", *, as_json: bool, quiet: bool = False) -> None:
    """Print what a build did: steps that passed, warnings, what was published.

    `quiet` leaves what is wrong.
    """
    if as_json:
        print_json(summary.as_json())
        return
    console = report_console()
    steps = ", ".join(f"{count} {status}" for status, count in sorted(summary.node_counts.items()))
    if steps and not quiet:
        console.print(f"Built {summary.database} in {_duration(summary.seconds)}: {steps}")
    for warning in summary.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True)
    for odd in summary.left_out:
        console.print(
            f"[red]left out:[/] {odd.context}, whose rows break a promise of the marts; what is "
            f"published has nothing of it. {escape(odd.reason)}",
            soft_wrap=True,
        )
    if summary.published is not None and not quiet:
        what = "Published" if summary.is_published else "Nothing changed since it was published"
        console.print(f"{what}, {moment_text(summary.published.published_at)}")


def print_status(
    states: "Sequence[TaxpayerStatus]",
    *,
    as_json: bool,
    published: Published | None = None,
    console: Console | None = None,
) -> None:
    """Print how complete each taxpayer's copy is, and how old what analysts read is."""
    if as_json:
        told = [state.as_json() for state in states]
        print_json({"taxpayers": told, "published": published and asdict(published)})
        return
    rows = table(
        "Rows stored (of KSeF's count, where it differs); times of Europe/Warsaw",
        "taxpayer",
        "sessions",
        "invoices",
        "accepted",
        "failed",
        "newest change",
        "exported to",
    )
    for state in states:
        rows.add_row(
            _title(state.context),
            f"{state.session_count:,}",
            _of(state.stored_count, state.invoice_count),
            _of(state.stored_accepted_count, state.accepted_count),
            _of(state.stored_failed_count, state.failed_count),
            _cursor_text(state),
            _short_text(min(state.exported_to.values(), default=None)),
        )
    console = console or report_console()
    print_table(console, rows)
    for state in states:
        if state.worklist_session_count:
            console.print(f"{state.context}: {_left_text(state)}", soft_wrap=True)
        if state.reaches_back_to is not None and state.reaches_back_to > KSEF_BEGINS:
            console.print(
                f"{state.context}: no sessions from before {moment_text(state.reaches_back_to)}; "
                "load without --since for those",
                soft_wrap=True,
            )
    if published is not None:
        looked = published.looked_at
        seen = f"; found to be up to date {moment_text(looked)}" if looked else ""
        console.print(f"Published for analysts: {moment_text(published.published_at)}{seen}")


def print_verdict(verdict: Verdict) -> None:
    """Print the line of a monitoring plugin, a line for each problem, and a line for each check."""
    console = report_console()
    for line in (verdict.summary, *map(line_of, verdict.problems)):
        console.print(escape(line), soft_wrap=True)
    print_table(console, _checks_table(verdict))
    as_of = moment_text(verdict.as_of) if verdict.as_of else "nothing yet"
    console.print(f"As of {as_of}, published {moment_text(verdict.published_at)}")


def _checks_table(verdict: Verdict) -> Table:
    """Show each check once, with the taxpayer that is worst off."""
    made = table("Worst of each check", "check", "state", "value", "warning", "critical", "of")
    for name in dict.fromkeys(finding.topic for finding in verdict.findings):
        measured = [
            (finding.state, finding.measure.badness, finding.measure, finding.taxpayer)
            for finding in verdict.findings
            if finding.topic == name and finding.measure
        ]
        state, _, measure, taxpayer = max(measured, key=lambda found: found[:2])
        value = "not judged" if measure.value is None else f"{measure.value:{measure.form}}"
        limits = [
            f"{limit:{measure.form}}" if isfinite(limit) else "off"
            for limit in (measure.warning, measure.critical)
        ]
        made.add_row(name, state.name, value, *limits, str(taxpayer or "file"))
    return made


def print_examination(findings: Iterable[Finding], *, as_json: bool) -> State:
    """Print the doctor's findings as they become known; return the worst state."""
    console, found = report_console(), []
    for finding in findings:
        found.append(finding)
        if not as_json:
            who = f", {finding.taxpayer}" if finding.taxpayer else ""
            told = escape(f"{finding.topic}{who}: {finding.text}")
            style, word = WORDS[finding.state]
            console.print(f"[{style}]{word:<9}[/]{told}", soft_wrap=True)
    counts = Counter(finding.state for finding in found)
    summary = ", ".join(f"{counts[state]} {word}" for state, (_, word) in WORDS.items())
    if as_json:
        print_json(document(summary, found, worst(found)))
    else:
        console.print(summary)
    return worst(found)


def requests_text(counts: dict[str, int]) -> str:
    """Write requests by group of KSeF's limits."""
    return ", ".join(f"{count} {group}" for group, count in sorted(counts.items())) or "none"


def _of(stored: int, counted: int) -> str:
    return f"{stored:,}" if stored == counted else f"{stored:,} of {counted:,}"


def _left_text(state: "TaxpayerStatus") -> str:
    """Say what is still to be read, and when it will have been."""
    told = f"{counted(state.worklist_session_count, 'session')} to read"
    if state.unknown_outcome_count:
        told += f", {counted(state.unknown_outcome_count, 'invoice')} of unknown outcome"
    left = state.remaining_requests.get("sessionInvoiceList")
    if left is not None:
        told += f"; {counted(left, 'request')} for invoices left this hour"
    if state.done_by is None:
        return told + "; KSeF is not done with them, later loads ask again"
    return told + f"; done by {moment_text(state.done_by)} with hourly loads"


def _title(context: Context) -> str:
    """Write a taxpayer's name, if it has one, above its identifier."""
    if context.name is None:
        return str(context)
    return f"{escape(shorten(context.name, NAME_WIDTH, placeholder='…'))}\n{context}"


def _cursor_text(state: "TaxpayerStatus") -> str:
    cursors = [text for part, text in state.cursors.items() if part.startswith("sessions")]
    return _short_text(max(map(datetime.fromisoformat, cursors), default=None))


def _short_text(moment: datetime | None) -> str:
    """Write a moment for a column under a title that tells its zone."""
    return "—" if moment is None else f"{moment.astimezone(WARSAW):%m-%d %H:%M}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def print_json(value: Any) -> None:
    """Print one JSON document, moments in ISO form."""
    print(without_controls(json.dumps(value, default=_plain, ensure_ascii=False, indent=2)))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
