"""The doctor's lines about the two files: what loads write, and what analysts read."""

import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import duckdb

from kseflow.api.address import is_loopback
from kseflow.clock import moment_text
from kseflow.constants import DATASET
from kseflow.context import Context
from kseflow.database import is_locked, load_file, locked, own_files
from kseflow.errors import WarehouseError
from kseflow.files import open_to_others
from kseflow.loading.warehouse import Warehouse
from kseflow.marts.publish import last_published
from kseflow.raw.tables import SYNC_LOG, TABLES
from kseflow.settings import configuration_files
from kseflow.watch.finding import Finding, critical, ok, warning

FREE_BYTES = 1_000_000_000  # for dlt's working files, beside what a build needs
BUILD_SIZES = 5  # a build's copy of the load's file, and what is built of that, in such files
DLT_TABLES = ("_dlt_loads", "_dlt_pipeline_state", "_dlt_version")
COLUMNS_SQL = f"""
select table_name, list(column_name) as names
from information_schema.columns
where table_schema = '{DATASET}'
group by all
"""


def examine_databases(database: Path, base_url: str | None) -> Iterator[Finding]:
    """Examine the analysts' file and the load's own; `base_url` is where loads ask."""
    own = load_file(database)
    yield _disk_line(database, own)
    yield from _modes_lines(database, own)
    if not own.exists():
        yield warning("database", f"{own} does not exist yet", "Run kseflow load")
        return
    yield _writing_line(own)
    try:
        warehouse = Warehouse.of_file(own, wait_s=0)
        yield from _content_lines(warehouse, own, base_url)
        yield _published_line(database, warehouse)
    except (WarehouseError, duckdb.Error) as problem:
        yield critical("database", f"not examined: {problem}", "See above, and try again")


def spent_requests(database: Path, now: datetime) -> Mapping[tuple[Context, str], int]:
    """Return the requests of the last hour that the database knows, by taxpayer and group."""
    try:
        times = Warehouse.of_file(load_file(database), wait_s=0).request_times(now)
    except (WarehouseError, duckdb.Error):
        return {}
    return {key: len(moments) for key, moments in times.items()}


def _disk_line(database: Path, own: Path) -> Finding:
    folder = next(path for path in own.resolve().parents if path.exists())
    free = shutil.disk_usage(folder).free
    own_bytes, published_bytes = (p.stat().st_size if p.exists() else 0 for p in (own, database))
    needed = FREE_BYTES + BUILD_SIZES * own_bytes + published_bytes
    told = f"{_size(free)} free in {folder}"
    if not os.access(folder, os.W_OK):
        return critical("disk", f"{folder} cannot be written", "Correct the folder's permissions")
    if free < needed:
        return warning("disk", told, f"Make room: a load with its build needs {_size(needed)}")
    return ok("disk", told)


def _modes_lines(database: Path, own: Path) -> Iterator[Finding]:
    """Say who else may read, and with that lock, what loads write, or may read secrets."""
    secrets = [path for path in configuration_files() if path.name == "secrets.toml"]
    modes = {path: open_to_others(path) for path in [*secrets, *own_files(own)] if path.exists()}
    if database.exists() and int(open_to_others(database) or "0", 8) & 0o007:
        modes[database] = open_to_others(database)  # a group may have been let in on purpose
    found = [f"{path} ({mode})" for path, mode in modes.items() if mode]
    if found:
        told = f"others than their owner may read {', '.join(found)}"
        paths = " ".join(str(path) for path, mode in modes.items() if mode)
        yield warning("files", told, f"Run chmod go= {paths}")


def _writing_line(own: Path) -> Finding:
    """Open the file as a load does."""
    size = _size(own.stat().st_size)
    try:
        with locked(own, 0):
            return ok("database", f"{own}, {size}, can be written")
    except WarehouseError as problem:
        held = problem.__cause__ is None or is_locked(problem.__cause__)
        made = warning if held else critical
        return made("database", str(problem), "A load that runs is no fault; else close it")


def _content_lines(warehouse: Warehouse, own: Path, base_url: str | None) -> Iterator[Finding]:
    known = {url for url in warehouse.environments() if not is_loopback(url)}
    told = f"data of {', '.join(sorted(warehouse.environments())) or 'no environment yet'}"
    if known and base_url and base_url not in known and not is_loopback(base_url):
        remedy = "Use another --database for each environment"
        yield critical("environment", f"{own} holds {told}, not of {base_url}", remedy)
    else:
        yield ok("environment", f"{base_url or 'not configured'}; {own} holds {told}")
    found = {row["table_name"]: set(row["names"]) for row in warehouse.rows(COLUMNS_SQL)}
    expected = {table.name: set(table.schema.names) for table in TABLES}
    odd = [f"{name} is missing" for name in DLT_TABLES if name not in found]
    for name in expected.keys() & found.keys():
        odd += [f"{name} lacks {column}" for column in sorted(expected[name] - found[name])]
        more = {c for c in found[name] - expected[name] if not c.startswith("_dlt_")}
        odd += [f"{name} has {column} as well" for column in sorted(more)]
    if odd:
        remedy = "Load with the newest kseflow of those that use this file: loads add what lacks"
        yield warning("tables", "; ".join(sorted(odd)), remedy)
    else:
        count = len(expected.keys() & found.keys())
        yield ok("tables", f"{count} of {len(TABLES)} loaded so far, all columns as expected")


def _published_line(database: Path, warehouse: Warehouse) -> Finding:
    """Compare what analysts read with the last load."""
    published = last_published(database)
    if published is None:
        told = "is written to by another program" if database.exists() else "does not exist yet"
        return warning("marts", f"{database} {told}", "Run kseflow build, or load with --build")
    (row,) = warehouse.rows("select max(run_id) as run_id from {}", SYNC_LOG)
    as_of = moment_text(published.as_of) if published.as_of else "nothing yet"
    told = f"{database}, {_size(database.stat().st_size)}, as of {as_of}"
    if published.run_id != row["run_id"]:
        return warning("marts", f"{told}: older than the last load", "Run kseflow build")
    if published.kseflow_version != version("kseflow"):
        made_by = f"{told}: made by kseflow {published.kseflow_version}"
        return warning("marts", made_by, "Run kseflow build")
    return ok("marts", f"{told}, of the last load")


def _size(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:,.1f} MB"
