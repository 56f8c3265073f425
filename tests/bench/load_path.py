"""Part 4: from the bytes of KSeF's answers to rows in DuckDB, and the whole way from an emulator.

The floor is DuckDB alone: read_json of the same bytes and one MERGE. dlt's ways are what most
pipelines do: JSON parsed, dictionaries yielded, merged by key, as insert_values (its default) and
as parquet. All run in a process of their own; CPU seconds are without imports.
"""

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dlt
import duckdb
import httpx
import orjson

from ksef_emulator import Backlog, World
from kseflow.api.client import make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import SystemClock, TimeBox
from kseflow.context import Context
from kseflow.loading.run import load_clients
from kseflow.options import Options
from tests.bench import rest_api
from tests.bench.emulated import AT, Emulated, emulator_process
from tests.bench.figures import Bound, Figure, Scale
from tests.bench.measured import Cost, begin, measured
from tests.emulator.logging_in import finish_login, start_token_login
from tests.simulation import Wire

TITLE = "4. Load path"
A_SESSION = 1000  # invoices
SIZES = {Scale.QUICK: 40_000, Scale.DEFAULT: 200_000, Scale.WHOLE: 1_000_000}

MERGE_SQL = """
create table session_invoices (
    session varchar, reference varchar, ordinal integer, number varchar, ksef_number varchar,
    hash varchar, file_name varchar, mode varchar, invoicing timestamptz, acquisition timestamptz,
    storage timestamptz, code integer, description varchar, details varchar, extensions varchar,
    primary key (session, reference)
);
merge into session_invoices as stored using (
    with pages as (
        select split_part(parse_filename(filename), '.', 1) as session, unnest(invoices) as item
        from read_json('{pages}/*.invoices.json', filename = true, columns = {{
            invoices: 'struct(
                referenceNumber varchar, ordinalNumber integer, invoiceNumber varchar,
                ksefNumber varchar, invoiceHash varchar, invoiceFileName varchar,
                invoicingMode varchar, invoicingDate timestamptz, acquisitionDate timestamptz,
                permanentStorageDate timestamptz,
                status struct(
                    code integer, description varchar, details varchar[], extensions json))[]'
        }})
    )
    select session, item.referenceNumber as reference, item.ordinalNumber, item.invoiceNumber,
        item.ksefNumber, item.invoiceHash, item.invoiceFileName, item.invoicingMode,
        item.invoicingDate, item.acquisitionDate, item.permanentStorageDate, item.status.code,
        item.status.description, cast(item.status.details as varchar),
        cast(item.status.extensions as varchar)
    from pages
) as found using (session, reference)
when matched then update when not matched then insert
"""


class Recorded(Wire):
    """A wire that keeps the answers to lists as files, and answers from these where it can."""

    def __init__(self, wire: Wire, pages: Path) -> None:
        self.__dict__ = wire.__dict__
        self._pages = pages

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if not path.startswith("/v2/sessions"):
            return await super().handle_async_request(request)
        asked = f"{request.url.query!r} {request.headers.get('x-continuation-token')}"
        number = hashlib.sha256(asked.encode()).hexdigest()[:12]
        name = path.removeprefix("/v2/sessions").replace("/invoices", ".invoices").strip("/")
        file = self._pages / f"{name.replace('.', f'.{number}.')}.json"
        if not name:
            file = self._pages / f"{number}.sessions.json"
        if not file.exists():
            answer = await super().handle_async_request(request)
            file.write_bytes(await answer.aread())
        body = httpx.ByteStream(file.read_bytes())
        return httpx.Response(200, headers={"content-type": "application/json"}, stream=body)


def world_until(rows: int, now: datetime) -> World:
    """Return one taxpayer's batches of a month, 2 % of the invoices refused."""
    backlog = Backlog("Batch", max(1, rows // A_SESSION), A_SESSION, 0.02, 30)
    return World(seed=7, taxpayers=1, since=now - timedelta(31), backlog=backlog)


def by_kseflow(pages: Path, rows: int) -> int:
    """Load the recorded pages; return how many invoices are stored."""
    ksef = Emulated(world_until(rows, AT))
    ksef.wire = Recorded(ksef.wire, pages)
    begin()  # the emulator's keys cost more than the load
    with TemporaryDirectory() as folder:
        database = Path(folder) / "ksef-load.duckdb"
        ksef.load(database)
        return _count(database, "ksef_raw.session_invoices")


def by_duckdb(pages: Path, rows: int) -> int:
    with TemporaryDirectory() as folder:
        database = Path(folder) / "floor.duckdb"
        with duckdb.connect(str(database)) as connection:
            connection.execute("set enable_progress_bar = false")
            connection.execute(MERGE_SQL.format(pages=pages))
        return _count(database, "session_invoices")


def by_dlt(file_format: Any, pages: Path, rows: int) -> int:
    """Load as many rows of the pages as asked through dlt's dictionaries."""
    files = sorted(pages.glob("*.invoices.json"))[: rows // A_SESSION]

    @dlt.resource(primary_key=["session", "referenceNumber"], write_disposition="merge")
    def session_invoices() -> Iterator[list[dict[str, Any]]]:
        for file in files:
            session = file.name.partition(".")[0]
            items = orjson.loads(file.read_bytes())["invoices"]
            yield [{**item, "session": session} for item in items]

    with TemporaryDirectory() as folder:
        database = Path(folder) / "dlt.duckdb"
        pipeline = dlt.pipeline(
            "dicts",
            destination=dlt.destinations.duckdb(str(database)),
            dataset_name="ksef_raw",
            pipelines_dir=folder,
        )
        pipeline.run(session_invoices(), loader_file_format=file_format)
        return _count(database, "ksef_raw.session_invoices")


def _count(database: Path, table: str) -> int:
    with duckdb.connect(str(database), read_only=True) as connection:
        found = connection.execute(f"select count(*) from {table}").fetchone()
    return int(found[0]) if found else 0


Way = Callable[[Path, int], int]
WAYS: dict[str, Way] = {
    "read_json, MERGE": by_duckdb,
    "dlt, dicts": partial(by_dlt, "insert_values"),
    "dlt, dicts, parquet": partial(by_dlt, "parquet"),
}


@cache
def recorded(rows: int) -> tuple[TemporaryDirectory[str], Path]:
    """Return a folder with the answers of a first load of so many invoices."""
    folder = TemporaryDirectory()
    by_kseflow(Path(folder.name), rows)
    return folder, Path(folder.name)


@cache
def cost_of(way: Way, pages_of: int, rows: int) -> Cost:
    """Return what it costs to load so many rows of the pages of so many."""
    _, pages = recorded(pages_of)
    cost = measured(way, pages, rows)
    assert cost.answer == rows, f"{cost.answer} rows of {rows}"
    return cost


def rows_a_cpu_s(cost: Cost) -> float:
    return float(cost.answer / cost.cpu_s)


def figures(scale: Scale) -> Iterator[Figure]:
    """Yield rows for each CPU second, memory, and the whole way from an emulator."""
    rows = SIZES[scale]
    few = scale.of(4_000, 40_000, 100_000)  # of the slowest way, whose pace is the same for many
    ours = cost_of(by_kseflow, rows, rows)
    theirs = {
        name: cost_of(way, rows, few if name == "dlt, dicts" else rows)
        for name, way in WAYS.items()
    }
    better = max(rows_a_cpu_s(theirs[name]) for name in ("dlt, dicts", "dlt, dicts, parquet"))
    yield Figure(
        f"{rows:,} rows: rows a CPU second",
        rows_a_cpu_s(ours),
        "",
        {name: rows_a_cpu_s(cost) for name, cost in theirs.items()} | {"better of dlt's": better},
        (Bound("read_json, MERGE", least=0.286), Bound("better of dlt's", least=5)),
    )
    memory = {name: cost.peak_mb for name, cost in theirs.items()}
    yield Figure(f"{rows:,} rows: memory", ours.peak_mb, "MB", memory)
    _, pages = recorded(rows)
    received_mb = sum(file.stat().st_size for file in pages.iterdir()) / 1e6
    yield Figure(f"{rows:,} rows: written", ours.written_mb, "MB", {"received": received_mb})
    if scale is not Scale.QUICK:
        yield from _end_to_end(scale.of(0, 20_000, 100_000))


def _end_to_end(rows: int) -> Iterator[Figure]:
    """Yield CPU and time of a first load over HTTP, beside dlt's `rest_api`."""
    with emulator_process(partial(world_until, rows)) as (base_url, ((nip, token),)):
        today = measured(load_by_rest_api, base_url, nip, token)
        ours = measured(load_over_http, base_url, nip, token)
    assert ours.answer == today.answer == rows
    name = "rest_api by 1,000"
    yield Figure(f"{rows:,} rows from an emulator: CPU", ours.cpu_s, "s", {name: today.cpu_s})
    yield Figure(f"{rows:,} rows from an emulator: time", ours.seconds, "s", {name: today.seconds})


def load_over_http(base_url: str, nip: str, token: str) -> int:
    """Load everything but exports; return how many invoices are stored."""
    box = TimeBox(SystemClock())
    clients = make_clients(base_url, [TokenCredentials(Context("Nip", nip), token)], box)
    with TemporaryDirectory() as folder:
        database = Path(folder) / "ksef-load.duckdb"
        load_clients(clients, database, box, Options(exports_per_hour=0))
        return _count(database, "ksef_raw.session_invoices")


def load_by_rest_api(base_url: str, nip: str, token: str) -> int:
    """Load the same with dlt's `rest_api`; return how many invoices are stored."""
    with httpx.Client(base_url=base_url) as client:
        tokens = finish_login(client, start_token_login(client, token, nip))
    with TemporaryDirectory() as folder:
        pipeline = rest_api.pipeline(Path(folder))
        pipeline.run(rest_api.source(base_url, tokens["accessToken"]["token"], A_SESSION))
        return _count(Path(folder) / rest_api.DATABASE, "ksef_raw.invoices")
