"""The demo: an emulated KSeF, two taxpayers, two loads, and what an accountant would ask."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
from rich.console import Console
from rich.markup import escape

from ksef_emulator import Emulator, VirtualClock, World, serve
from kseflow.clock import TimeBox
from kseflow.credentials import Context, TokenCredentials
from kseflow.load import LoadSummary, load
from kseflow.report import moment_text, print_status, report_console, requests_text, table
from kseflow.source import make_clients
from kseflow.status import TaxpayerStatus, status
from kseflow.warehouse import Warehouse

START = datetime(2026, 11, 17, 8, 0, tzinfo=UTC)  # a Tuesday, 9:00 in Warsaw
HISTORY = timedelta(days=8)
BETWEEN_LOADS = timedelta(hours=6)

RATES_SQL = """
select
    context_id,
    sum(successful_invoice_count) as accepted,
    sum(failed_invoice_count) as failed
from ksef_raw.sessions
group by 1
order by 1
"""

REASONS_SQL = """
select
    status_code,
    any_value(status_description) as description,
    coalesce(any_value(json_extract_string(status_details, '$[0]')), '') as example,
    count(*) as invoices
from ksef_raw.failed_invoices
group by 1
order by invoices desc, status_code
limit 6
"""


def run_demo(folder: Path, seed: int) -> None:
    """Load an emulated world twice into `folder`/ksef.duckdb and print what is found."""
    database = _fresh_database(folder)
    console = report_console()
    clock = VirtualClock(START)
    world = World(
        seed=seed, taxpayers=2, since=START - HISTORY, sessions_per_day=12, largest_session=2_000
    )
    logins = [
        TokenCredentials(Context(taxpayer.context_type, taxpayer.context_id), taxpayer.token)
        for taxpayer in world.taxpayers
    ]
    with serve(Emulator(world, clock, limits="production")) as base_url:
        console.print(f"An emulated KSeF with {len(logins)} taxpayers answers at {base_url}.")

        def load_once() -> LoadSummary:
            box = TimeBox(clock)
            return load(make_clients(base_url, logins, box), database, box)

        first = load_once()
        before = _status(database, first.ended_at)
        _tell(console, "First load", first)
        clock.sleep(BETWEEN_LOADS.total_seconds())
        second = load_once()
        after = _status(database, second.ended_at)
        _tell(console, "Second load, incremental", second)
    _print_changes(console, before, after)
    print_status(after, as_json=False, console=console)
    _print_findings(console, database, {who.context_id: who.name for who in world.taxpayers})
    hours = (clock.now() - START).total_seconds() / 3600
    console.print(f"{hours:.1f} virtual hours have passed. Look around: duckdb {database}")


def _fresh_database(folder: Path) -> Path:
    """Make the folder and remove what an earlier demo left there."""
    database = folder / "ksef.duckdb"
    database.unlink(missing_ok=True)
    shutil.rmtree(folder / ".ksef-dlt", ignore_errors=True)
    return database


def _status(database: Path, now: datetime) -> list[TaxpayerStatus]:
    return status(Warehouse.of_file(database), now)


def _tell(console: Console, title: str, summary: LoadSummary) -> None:
    console.print(
        f"[bold]{title}[/], {moment_text(summary.started_at)} to {moment_text(summary.ended_at)}: "
        f"{sum(summary.request_counts.values())} requests "
        f"({requests_text(summary.request_counts)})"
    )


def _print_changes(
    console: Console, before: list[TaxpayerStatus], after: list[TaxpayerStatus]
) -> None:
    changes = table(
        "What the second load brought",
        "taxpayer",
        "new sessions",
        "new invoices",
        "new accepted",
        "new failed",
    )
    for old, new in zip(before, after, strict=True):
        changes.add_row(
            str(new.context),
            f"{new.session_count - old.session_count:+,}",
            f"{new.invoice_count - old.invoice_count:+,}",
            f"{new.accepted_count - old.accepted_count:+,}",
            f"{new.failed_count - old.failed_count:+,}",
        )
    console.print(changes)


def _print_findings(console: Console, database: Path, names: dict[str, str]) -> None:
    rates = table(
        "Success and failure",
        "taxpayer",
        "accepted",
        "failed",
        "success rate",
        "failure rate",
    )
    reasons = table("Top failure reasons", "KSeF status, for example", "invoices")
    with duckdb.connect(str(database), read_only=True) as connection:
        for nip, accepted, failed in connection.sql(RATES_SQL).fetchall():
            total = accepted + failed
            rates.add_row(
                f"{names[nip]} ({nip})",
                f"{accepted:,}",
                f"{failed:,}",
                f"{accepted / total:.1%}",
                f"{failed / total:.1%}",
            )
        for code, description, example, count in connection.sql(REASONS_SQL).fetchall():
            reasons.add_row(f"{code} {description}\n  [dim]{escape(example)}[/]", f"{count:,}")
    console.print(rates)
    console.print(reasons)
