"""Part 5: what a scheduled command costs when there is little to do, and when there is all.

Start-up beside a Python that imports DuckDB and ends; loads, builds and reports by the command
line. Builds are beside one scan of the same invoices, and beside the full build.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from ksef_emulator import World
from tests.bench.emulated import Login, emulator_process
from tests.bench.figures import Bound, Figure, Scale
from tests.bench.measured import Cost, bare_python, command, measured
from tests.bench.raw_tables import write_raw_tables

TITLE = "5. Little to do"
SIZES = {Scale.DEFAULT: 1_000_000, Scale.WHOLE: 10_000_000}
BUILD_ADDS_S = 0.5  # CPU seconds that --build may add to a load of nothing new

# One session gets one more failed invoice, as a load would have written it.
CHANGE_SQL = """
create temp table chosen as
select reference_number from ksef_raw.sessions order by date_created desc limit 1;

update ksef_raw.sessions
set total_invoice_count = total_invoice_count + 1, failed_invoice_count = failed_invoice_count + 1,
    date_updated = date_updated + interval 1 minute, read_at = read_at + interval 1 hour
where reference_number in (from chosen);

create temp table added as
select * replace (
    reference_number || 'X' as reference_number, 11::integer as ordinal_number,
    null as invoice_number, null as ksef_number, null as acquisition_date,
    null as permanent_storage_date, 430::integer as status_code, 'Błąd' as status_description,
    to_base64(unhex(md5('added') || md5('more'))) as invoice_hash,
    read_at + interval 1 hour as read_at
)
from ksef_raw.failed_invoices
where session_reference_number in (
    select session_reference_number from ksef_raw.failed_invoices limit 1
)
limit 1;
update added set session_reference_number = (from chosen), context_id = (
    select context_id from ksef_raw.sessions where reference_number in (from chosen)
);

insert into ksef_raw.session_invoices by name from added;
insert into ksef_raw.failed_invoices by name from added;
insert into ksef_raw._dlt_loads by name select '2' as load_id, 0 as status
"""


def small_company(now: datetime) -> World:
    """Return two taxpayers with a few sessions, all over long before now."""
    since = now - timedelta(days=4)
    return World(seed=7, since=since, sessions_per_day=4, largest_session=20)


def configured(base_url: str, logins: list[Login]) -> dict[str, str]:
    """Return an environment in which kseflow loads these taxpayers from there."""
    names = [f"t{number}" for number in range(len(logins))]
    told = {
        "SOURCES__KSEF__ENVIRONMENT": base_url,
        "SOURCES__KSEF__TAXPAYERS": json.dumps(names),
        "SOURCES__KSEF__EXPORTS_PER_HOUR": "0",
    }
    for name, (nip, token) in zip(names, logins, strict=True):
        told[f"SOURCES__KSEF__{name.upper()}__NIP"] = nip
        told[f"SOURCES__KSEF__{name.upper()}__TOKEN"] = token
    return unconfigured() | told


def unconfigured() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("CHECK__", "SOURCES__"))}


def often(times: int, run: Callable[..., Cost], *given: Any) -> float:
    """Return the median CPU seconds of some runs of what is short."""
    return median(run(*given).cpu_s for _ in range(times))


def figures(scale: Scale) -> Iterator[Figure]:
    """Yield start-up, a load of nothing new, and builds of some size."""
    yield from _commands(scale.of(1, 3))
    if scale in SIZES:
        yield from _builds(SIZES[scale])


def _commands(times: int) -> Iterator[Figure]:
    with (
        TemporaryDirectory() as name,
        emulator_process(small_company) as (base_url, logins),
    ):
        folder, environment = Path(name), configured(base_url, logins)
        of = often(times, bare_python, folder, unconfigured(), "import duckdb")
        bare = {"Python with duckdb": of}
        command(folder, environment, "load", "--build", "--quiet")
        for arguments in (["--help"], ["status"], ["check"]):
            spent_s = often(times, command, folder, environment, *arguments)
            yield Figure(f"kseflow {' '.join(arguments)}: CPU", spent_s, "s", bare)
        load_s = often(times, command, folder, environment, "load", "--quiet")
        both_s = often(times, command, folder, environment, "load", "--build", "--quiet")
        yield Figure("load, nothing new: CPU", load_s, "s", bare)
        written = command(folder, environment, "load", "--quiet").written_mb
        size_mb = (folder / "ksef-load.duckdb").stat().st_size / 1e6
        yield Figure("load, nothing new: written", written, "MB", {"the load's file": size_mb})
        most = round((load_s + BUILD_ADDS_S) / load_s, 2)
        bounds = (Bound("load", most=most),)
        yield Figure("load --build, nothing new: CPU", both_s, "s", {"load": load_s}, bounds)


@dataclass(frozen=True)
class Builds:
    """What a scan of all invoices costs, and builds and the report by the command line."""

    scan: Cost
    full: Cost
    nothing: Cost
    one_session: Cost
    report: Cost
    load_mb: float


def scan(database: Path) -> None:
    """Group all invoices by session and status, once."""
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("set enable_progress_bar = false")
        connection.execute(
            "select session_reference_number, status_code, count(*) "
            "from ksef_raw.session_invoices group by all"
        ).fetchmany(1)


def change_one_session(database: Path) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute(CHANGE_SQL)


@cache
def full_build(invoices: int) -> Cost:
    """Return what the first build of so many invoices costs, ten a session."""
    with raw_tables(invoices) as folder:
        return command(folder, unconfigured(), "build", "--quiet")


@cache
def builds(invoices: int) -> Builds:
    """Build raw tables of ten invoices a session, again unchanged, and with one session changed."""
    with raw_tables(invoices) as folder:
        database = folder / "ksef-load.duckdb"
        scanned = measured(scan, database)
        full, nothing = (command(folder, unconfigured(), "build", "--quiet") for _ in range(2))
        change_one_session(database)
        one_session = command(folder, unconfigured(), "build", "--quiet")
        report = command(folder, unconfigured(), "report", "--out", "report.html")
        load_mb = database.stat().st_size / 1e6
    codes = [cost.answer for cost in (full, nothing, one_session, report)]
    assert codes == [0] * len(codes), codes
    return Builds(scanned, full, nothing, one_session, report, load_mb)


@contextmanager
def raw_tables(invoices: int) -> Iterator[Path]:
    """Give a folder with the load's file of so many invoices."""
    with TemporaryDirectory() as name:
        database = Path(name) / "ksef-load.duckdb"
        write_raw_tables(database, sessions=invoices // 10, invoices=invoices)
        yield Path(name)


def _builds(invoices: int) -> Iterator[Figure]:
    told = builds(invoices)
    by_scan, by_full = {"a scan": told.scan.cpu_s}, {"full": told.full.cpu_s}
    most = 0.25 if invoices <= 1_000_000 else 0.15
    name = f"{invoices:,}"
    yield Figure(f"{name}: full build, time", told.full.seconds, "s", {"a scan": told.scan.seconds})
    yield Figure(f"{name}: full build, CPU", told.full.cpu_s, "s", by_scan)
    yield Figure(
        f"{name}: full build, memory", told.full.peak_mb, "MB", {"a scan": told.scan.peak_mb}
    )
    yield Figure(
        f"{name}: full build, written",
        told.full.written_mb,
        "MB",
        {"the load's file": told.load_mb},
    )
    yield Figure(
        f"{name}: one session changed, CPU",
        told.one_session.cpu_s,
        "s",
        by_full,
        (Bound("full", most=most),),
    )
    yield Figure(
        f"{name}: one session changed, written",
        told.one_session.written_mb,
        "MB",
        {"full": told.full.written_mb},
        (Bound("full", most=most),),
    )
    yield Figure(f"{name}: build, nothing new, CPU", told.nothing.cpu_s, "s", by_full)
    yield Figure(f"{name}: report, CPU", told.report.cpu_s, "s", by_scan | by_full)
