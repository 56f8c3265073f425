"""Hours until the outcome of every invoice of a backlog is known, with and without receipts.

python tests/bench/bench_detail.py [--scale 0.1]

Runs the real extraction against the emulator in process, under production limits, on a virtual
clock; rows are counted and thrown away. Prints, for each backlog and way, virtual hours, requests
by group, real seconds, and the ratio of hours to `detail="invoices"`.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from ksef_emulator import Backlog, Emulator, VirtualClock, World
from kseflow.api.client import make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.context import Context
from kseflow.loading.extraction import Extraction
from kseflow.loading.taxpayer import load_share
from kseflow.loading.warehouse import Warehouse
from kseflow.options import Options
from kseflow.raw.arrow import Table
from kseflow.raw.tables import (
    FAILED_INVOICES,
    SESSION_INVOICES,
    SESSIONS,
    TABLES,
    UPO_DOCUMENTS,
)

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.simulation import Wire

START = datetime(2026, 11, 17, 6, 0, tzinfo=UTC)
DAYS = 30
BACKLOGS: tuple[tuple[str, Literal["Online", "Batch"], int, int], ...] = (
    ("small sessions", "Online", 100_000, 3),
    ("batch sessions", "Batch", 200, 10_000),
)
Detail = Literal["auto", "invoices"]
DETAILS: tuple[Detail, ...] = ("invoices", "auto")


def taken(extraction: Extraction) -> Iterator[tuple[Table, pa.Table]]:
    """Yield what an extraction gives to dlt."""
    while not extraction.is_done:
        yield from extraction.take().rows


def run(backlog: Backlog, detail: Detail) -> tuple[float, dict[str, int], float]:
    """Return virtual hours, requests by group and real seconds of one extraction."""
    world = World(seed=7, taxpayers=1, since=START - timedelta(DAYS + 2), backlog=backlog)
    clock = VirtualClock(START)
    (taxpayer,) = world.taxpayers
    login = TokenCredentials(Context("Nip", taxpayer.context_id), taxpayer.token)
    app = Emulator(world, clock, "production")
    box = TimeBox(SimulatedClock(clock))
    clients = make_clients("http://127.0.0.1/v2", [login], box, transport=Wire(app))
    options = Options(detail=detail, exports_per_hour=0)
    extraction = Extraction(clients, box, options, load_share)
    nothing = Warehouse(lambda sql: None, str)
    tables = frozenset(table.name for table in TABLES)
    accepted_count, begun = 0, time.perf_counter()
    failed: set[str] = set()
    counted: dict[str, tuple[int, int]] = {}
    extraction.begin(nothing, lambda name: {}, tables)
    for table, rows in taken(extraction):
        if table is SESSIONS:
            counts = (rows["successful_invoice_count"], rows["failed_invoice_count"])
            found = zip(rows["reference_number"], *counts, strict=True)
            counted |= {reference: (a.as_py(), f.as_py()) for reference, a, f in found}
        elif table is SESSION_INVOICES:
            accepted_count += pc.sum(pc.equal(rows["status_code"], 200)).as_py() or 0
        elif table is FAILED_INVOICES:
            failed.update(rows["reference_number"].to_pylist())
        elif table is UPO_DOCUMENTS:
            accepted_count += rows.num_rows
    assert accepted_count == sum(accepted for accepted, _ in counted.values())
    assert len(failed) == sum(rejected for _, rejected in counted.values())
    assert {lane.log.outcome for lane in extraction.lanes} == {"ok"}
    hours = (clock.now() - START).total_seconds() / 3600
    spent = {group: s.request_count for group, s in clients[0].spending.items()}
    return hours, spent, time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of sessions")
    scale = parser.parse_args().scale
    for name, kind, sessions, size in BACKLOGS:
        backlog = Backlog(kind, round(sessions * scale), size, 0.02, DAYS)
        baseline = None
        for detail in DETAILS:
            hours, spent, seconds = run(backlog, detail)
            baseline = baseline or hours
            print(
                f"{backlog.sessions:,} {name} of {size:,}, detail={detail}: {hours:.1f} h "
                f"({hours / baseline:.2f} x), requests {spent}, {seconds:.0f} s real",
                flush=True,
            )


if __name__ == "__main__":
    main()
