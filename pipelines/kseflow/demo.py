"""The demo: an emulated KSeF, two taxpayers, two loads, and what an accountant would ask."""

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ksef_emulator import Emulator, ExportSettings, Oddities, VirtualClock, World, serve
from kseflow.api.client import KsefClient, make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import SimulatedClock, TimeBox, moment_text
from kseflow.columns import print_table, table
from kseflow.console import report_console
from kseflow.context import Context
from kseflow.database import load_file, own_files, published
from kseflow.errors import ConfigurationError
from kseflow.loading.summary import LoadSummary
from kseflow.loading.warehouse import Warehouse
from kseflow.marts.build import build
from kseflow.options import Options
from kseflow.pages.html import write_report
from kseflow.terminal import print_status, requests_text
from kseflow.watch.status import TaxpayerStatus, status

START = datetime(2026, 11, 17, 8, 0, tzinfo=UTC)  # a Tuesday, 9:00 in Warsaw
HISTORY = timedelta(days=13)  # each taxpayer sent more than a package of 10,000 holds
PACKAGES = ExportSettings(size_cap_bytes=300_000)  # 1 GB of XML would take minutes
REPORT = "report.html"
XML = "xml"
CLAIM = ".kseflow-demo"  # the emulators that demos in this folder started, a line each
BETWEEN_LOADS = timedelta(hours=6)

RATES_SQL = """
select
    context_id,
    sum(accepted_count) as accepted,
    sum(failed_count) as failed,
    sum(first_pass_count) / sum(first_attempt_count) as first_pass_rate
from marts.daily_outcomes
group by 1
order by 1
"""

REASONS_SQL = """
select category, normalised_message, sum(failed_count) as failed
from marts.failure_reasons
group by 1, 2
order by failed desc, category, normalised_message
limit 6
"""


def run_demo(
    folder: Path,
    seed: int,
    load_clients: Callable[[Sequence[KsefClient], Path, TimeBox, Options], LoadSummary],
) -> None:
    """Load an emulated world twice, publish it as `folder`/ksef.duckdb, tell what is found."""
    database = _fresh_database(folder)
    load_database = load_file(database)
    console = report_console()
    clock, world = VirtualClock(START), _world(seed)
    logins = [
        TokenCredentials(Context(taxpayer.context_type, taxpayer.context_id), taxpayer.token)
        for taxpayer in world.taxpayers
    ]
    with serve(Emulator(world, clock, limits="production", exports=PACKAGES)) as base_url:
        _claim(folder, base_url)
        console.print(f"An emulated KSeF with {len(logins)} taxpayers answers at {base_url}.")
        console.print(_packages_text())

        def load_once(xml_folder: Path | None = None) -> LoadSummary:
            options = Options(exports_from=world.since, xml_folder=xml_folder)
            box = TimeBox(SimulatedClock(clock))
            clients = make_clients(
                base_url, logins, box, requests_in_flight=1
            )  # the same each time
            return load_clients(clients, load_database, box, options)

        first = load_once()
        before = _status(load_database, first.ended_at)
        _tell(console, "First load", first)
        clock.sleep(BETWEEN_LOADS.total_seconds())
        second = load_once(folder / XML)
        after = _status(load_database, second.ended_at)
        _tell(console, "Second load, incremental, with XML", second)
    _print_changes(console, before, after)
    print_status(after, as_json=False, console=console)
    steps = sum(build(load_database, database).node_counts.values())
    console.print(f"{steps} models and tests built and passed, published as {database}")
    _print_findings(console, database, {who.context_id: who.name for who in world.taxpayers})
    hours = (clock.now() - START).total_seconds() / 3600
    console.print(f"{hours:.1f} virtual hours have passed. Look around: duckdb {database}")
    _print_report(console, database, clock.now())


def _world(seed: int) -> World:
    return World(
        seed=seed,
        taxpayers=2,
        since=START - HISTORY,
        sessions_per_day=12,
        largest_session=2_000,
        # A 420 counts 10,001 refused invoices, more than these two firms send in a week.
        oddities=Oddities(counted_failures="unread"),
    )


def _packages_text() -> str:
    """Say how large packages may be, because the demo's are smaller than KSeF's."""
    return (
        f"The emulated KSeF's packages hold {PACKAGES.cap:,} invoices, as KSeF's do, or "
        f"{PACKAGES.size_cap_bytes / 1e6:g} MB of XML, where KSeF's hold 1,000 MB."
    )


def _print_report(console: Console, database: Path, now: datetime) -> None:
    """Write the report and print where it is, or what it would take."""
    try:
        written = write_report(database, database.parent / REPORT, now=now)
        console.print(f"The same as charts: {written}")
    except ConfigurationError as error:  # the notebooks' packages are optional
        console.print(f"No report: {error}")


def _fresh_database(folder: Path) -> Path:
    """Remove what an earlier demo left in the folder, and nothing else.

    Raises `ConfigurationError` where what the demo would write is there and no demo made it.
    """
    database = folder / "ksef.duckdb"
    own = [database, *own_files(load_file(database)), folder / XML, folder / REPORT]
    there = [path for path in own if path.exists()]
    if there and not _is_demos(folder, database):
        raise ConfigurationError(
            f"{there[0]} was not made by a demo and was left as it is; name another --folder"
        )
    for path in there:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return database


def _is_demos(folder: Path, database: Path) -> bool:
    """Tell whether all that was loaded here came from emulators that demos started."""
    try:
        emulators = set((folder / CLAIM).read_text().split())
    except OSError:
        return False
    if not (loaded := load_file(database)).exists():
        return not database.exists()  # which a demo publishes from the other, and removes first
    return Warehouse.of_file(loaded).environments() <= emulators


def _claim(folder: Path, base_url: str) -> None:
    """Write down which emulator is loaded from here, before anything of it is."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / CLAIM).open("a") as claim:
        claim.write(f"{base_url}\n")


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
    print_table(console, changes)


def _print_findings(console: Console, database: Path, names: dict[str, str]) -> None:
    rates = table(
        "Success and failure",
        "taxpayer",
        "accepted",
        "failed",
        "success rate",
        "failure rate",
        "first-pass rate",
    )
    reasons = table("Top failure reasons", "reason", "invoices")
    with published(database) as connection:
        for nip, accepted, failed, first_pass_rate in connection.sql(RATES_SQL).fetchall():
            total = accepted + failed
            rates.add_row(
                f"{names[nip]} ({nip})",
                f"{accepted:,}",
                f"{failed:,}",
                f"{accepted / total:.1%}",
                f"{failed / total:.1%}",
                f"{first_pass_rate:.1%}",
            )
        for category, message, count in connection.sql(REASONS_SQL).fetchall():
            reasons.add_row(f"[bold]{category}[/] {escape(message)}", f"{count:,}")
    print_table(console, rates)
    print_table(console, reasons)
