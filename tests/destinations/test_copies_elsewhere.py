"""The proof on every destination that is claimed: whatever befalls it, it equals the world."""

from datetime import timedelta
from pathlib import Path

import pytest

from ksef_emulator import Fault
from kseflow.errors import WarehouseError
from kseflow.raw.tables import TABLES
from kseflow.watch.status import status
from tests.company import Company, Draw
from tests.conftest import TUESDAY
from tests.destinations.conftest import Tried
from tests.faults.cuts import Cut, CuttingWire, cut_off
from tests.simulation import Wire

FAULTS = (
    Fault("500", path="/invoices$", nth=2, times=7),
    Fault("truncated", path="/sessions$", nth=2, times=2),
)


def cut_load(company: Company, cut: Cut) -> None:
    """Load until the cut, at a request or at a change of dlt's working files."""
    wire = Wire(company.app, 0.1, company.draw.seed)
    cutting = CuttingWire(wire, cut.nth) if cut.where == "request" else wire
    with cut_off(cut, company.folder.parent):
        company.load(0, wire=cutting)
        pytest.fail("the load was not cut off")


def counts(company: Company, *left_out: str) -> dict[str, int]:
    assert company.place
    with company.place.warehouse() as warehouse:
        names = [table for table in TABLES if table.name not in left_out]
        return {table.name: len(warehouse.rows("select * from {}", table)) for table in names}


def test_interrupted_repeated_and_restored_the_copy_equals_the_world(
    tmp_path: Path, tried: Tried
) -> None:
    company = Company(tmp_path / "company", Draw.only(), place=tried.place)
    cut_load(company, Cut("request", 12))
    company.load(0)
    tried.keep()
    company.clock.sleep(3 * 3600)
    cut_load(company, Cut("file", 90))
    company.load(0)
    tried.bring_back()
    company.app.schedule(FAULTS)
    company.clock.sleep(3600)
    company.load(0)
    company.app.schedule(())
    company.clock.sleep(30 * 3600)
    company.load(0)
    assert not any(company.differences(TUESDAY + timedelta(hours=8)).values())

    logs = ("api_requests", "sync_log", "export_packages")
    before = counts(company, *logs)
    company.load(0)
    assert counts(company, *logs) == before
    with tried.place.warehouse() as warehouse:
        (one, other) = status(warehouse, company.clock.now())
        assert one.stored_count + other.stored_count == before["session_invoices"]
        assert warehouse.environments() == {"http://127.0.0.1/v2"}


def test_two_loads_at_once_are_refused(tried: Tried) -> None:
    refused = pytest.raises(WarehouseError, match="another load is writing")
    with tried.place.held(0), refused, tried.place.held(0):
        pass
