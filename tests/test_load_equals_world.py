"""The proof: after a load the warehouse equals the emulated world, row by row."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ksef_emulator import Fault
from kseflow.loading.warehouse import Warehouse
from tests.conftest import Stage
from tests.copies import INVOICE_FIELDS, SESSION_FIELDS, expected, stored_rows


def stored(
    stage: Stage, table: str, fields: dict[str, str]
) -> dict[tuple[str, ...], dict[str, Any]]:
    return stored_rows(stage.rows(f"from ksef_raw.{table}"), fields)


def world_sessions(stage: Stage) -> dict[tuple[str, ...], dict[str, Any]]:
    return {
        (context.id, "", item["referenceNumber"]): expected(item, SESSION_FIELDS)
        for context in stage.contexts
        for item in stage.world.sessions(context.id, stage.clock.now())
    }


def world_invoices(stage: Stage) -> dict[tuple[str, ...], dict[str, Any]]:
    return {
        (context, session, item["referenceNumber"]): expected(item, INVOICE_FIELDS)
        for context, _, session in world_sessions(stage)
        for item in stage.world.invoices(context, session, stage.clock.now())
    }


def lacking(stage: Stage, **options: Any) -> set[str]:
    worklist = Warehouse.of_file(stage.database).worklist()
    return set(worklist.lacking(**options)["reference_number"].to_pylist())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_load_of_everything_equals_the_world_at_that_moment(
    stage: Callable[..., Stage], seed: int
) -> None:
    made = stage(seed=seed, days=4)
    made.load_frozen(in_progress="all")
    invoices = world_invoices(made)
    assert stored(made, "sessions", SESSION_FIELDS) == world_sessions(made)
    assert stored(made, "session_invoices", INVOICE_FIELDS) == invoices
    failed = {key: row for key, row in invoices.items() if row["status_code"] > 200}
    assert stored(made, "failed_invoices", INVOICE_FIELDS) == failed


@pytest.mark.parametrize("seed", [4, 5])
@pytest.mark.parametrize("storage_updates", [False, True])
def test_incremental_loads_equal_the_world_but_for_storage_dates_on_the_worklist(
    stage: Callable[..., Stage], seed: int, storage_updates: bool
) -> None:
    made = stage(seed=seed, days=1, storage_updates=storage_updates)
    for hours in (0, 0.5, 3, 20, 0.1):
        made.clock.sleep(hours * 3600)
        made.load_frozen(in_progress="all")
        assert stored(made, "sessions", SESSION_FIELDS) == world_sessions(made)
        found = stored(made, "session_invoices", INVOICE_FIELDS)
        truth = world_invoices(made)
        assert found.keys() == truth.keys()
        differing = [key for key in truth if found[key] != truth[key]]
        assert {session for _, session, _ in differing} <= lacking(made, in_progress="all")
        for key in differing:
            assert found[key] | {"permanent_storage_date": None} == truth[key] | {
                "permanent_storage_date": None
            }


@pytest.mark.parametrize("seed", [6, 7])
def test_by_default_only_accepted_and_pending_invoices_of_open_sessions_lack(
    stage: Callable[..., Stage], seed: int
) -> None:
    made = stage(seed=seed, days=1)
    made.clock.sleep(3600)
    made.load_frozen()
    found = stored(made, "session_invoices", INVOICE_FIELDS)
    truth = world_invoices(made)
    sessions = world_sessions(made)
    assert found.items() <= truth.items()
    for context, session, invoice in truth.keys() - found.keys():
        assert sessions[context, "", session]["status_code"] in (100, 150, 170)
        assert truth[context, session, invoice]["status_code"] in (100, 150, 200)


def test_with_too_little_budget_only_what_the_worklist_lists_lacks(
    stage: Callable[..., Stage],
) -> None:
    made = stage(days=6, limits="production", sessions_per_day=60)
    summary = made.load(max_time_s=20 * 60, detail="invoices")
    assert {part["outcome"] for part in summary.logs if part["resource"] == "invoices"} == {
        "out of time"
    }
    # Ask the world as it was when each session was listed: nothing of it changes later on.
    listed = {row["reference_number"]: row for row in made.rows("from ksef_raw.sessions")}
    found = stored(made, "session_invoices", INVOICE_FIELDS)
    to_read = lacking(made)
    for context, _, session in world_sessions(made):
        if session in to_read or session not in listed:
            continue
        if listed[session]["status_code"] in (100, 150, 170):
            continue
        for item in made.world.invoices(context, session, made.clock.now()):
            assert (context, session, item["referenceNumber"]) in found


@pytest.mark.parametrize("seed", [8, 9, 10])
def test_interrupted_loads_lose_and_double_nothing(stage: Callable[..., Stage], seed: int) -> None:
    made = stage(
        seed=seed,
        days=3,
        sessions_per_day=60,
        limits="production",
        faults=[
            Fault("500", path="/sessions/.*/invoices", nth=5, times=7),
            Fault("dropped", path="/sessions$", nth=2, times=2),
            Fault("21184", path="/invoices", nth=20, times=3),
            Fault("truncated", path="/invoices", nth=30, times=9),
            Fault("429", path="/invoices", nth=60, times=1, retry_after_s=400),
            Fault("500", path="/sessions$", nth=9, times=6),
        ],
    )
    for minutes in (1, 3, 9, 30):
        made.load(max_time_s=minutes * 60)
        made.clock.sleep(minutes * 300)
    made.faults, made.limits = [], "off"
    made.clock.sleep(timedelta(hours=2).total_seconds())
    made.load_frozen(in_progress="all")
    assert stored(made, "sessions", SESSION_FIELDS) == world_sessions(made)
    found = stored(made, "session_invoices", INVOICE_FIELDS)
    truth = world_invoices(made)
    assert found.keys() == truth.keys()
    differing = {session for (_, session, _), row in truth.items() for _ in [row]} - {
        session for (_, session, _) in (key for key in truth if found[key] == truth[key])
    }
    assert differing <= lacking(made, in_progress="all")


def test_a_load_with_nothing_to_do_spends_two_lists_and_changes_nothing(
    stage: Callable[..., Stage],
) -> None:
    made = stage(short_pages=False)
    made.load_frozen(in_progress="all")
    before = made.rows("from ksef_raw.session_invoices order by all")
    summary = made.load_frozen(in_progress="all")
    assert summary.request_counts["sessionList"] == 2 * len(made.contexts)
    assert sum(part["changed_count"] for part in summary.logs) == 0
    assert made.rows("from ksef_raw.session_invoices order by all") == before or (
        summary.request_counts["sessionInvoiceList"] > 0
    )
