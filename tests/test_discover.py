"""Listing sessions while they change, over many pages, with interruptions."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from ksef_emulator import Fault, VirtualClock
from kseflow.api.client import KsefClient, make_clients
from kseflow.constants import KSEF_BEGINS
from kseflow.loading.listing import modified_from
from tests.conftest import Stage
from tests.simulation import asking

ONE_LIST_A_MINUTE = {"sessionList": {"perSecond": 1, "perMinute": 1, "perHour": 60}}


def listed(stage: Stage) -> dict[tuple[str, str], str]:
    sql = "select context_id, reference_number, date_updated_text from ksef_raw.sessions"
    return {
        (row["context_id"], row["reference_number"]): row["date_updated_text"]
        for row in stage.rows(sql)
    }


def truth(stage: Stage) -> dict[tuple[str, str], str]:
    return {
        (context.id, item["referenceNumber"]): item["dateUpdated"]
        for context in stage.contexts
        for item in stage.world.sessions(context.id, stage.clock.now())
    }


@pytest.fixture
def busy(stage: Callable[..., Stage]) -> Stage:
    """Thousands of sessions, some of them changing from one page to the next."""
    return stage(days=2, taxpayers=1, sessions_per_day=2_000, largest_session=2)


def test_no_session_is_skipped_while_sessions_change_between_pages(busy: Stage) -> None:
    busy.limits = ONE_LIST_A_MINUTE
    busy.load(only=["sessions"])
    changed_while_listing = len(truth(busy).items() - listed(busy).items())
    assert changed_while_listing > 0, "the world must move for this test to mean anything"
    busy.limits = "off"
    busy.load_frozen(only=["sessions"])
    assert listed(busy) == truth(busy)


def test_an_interrupted_listing_goes_on_where_it_stopped(stage: Callable[..., Stage]) -> None:
    busy = stage(
        days=2,
        taxpayers=1,
        sessions_per_day=5_000,
        largest_session=2,
        limits=ONE_LIST_A_MINUTE,
        short_pages=False,
    )
    listed_whole: set[str] = set()
    runs = 0
    while len(listed_whole) < 2:
        summary = busy.load(only=["sessions"], max_time_s=150)
        listed_whole |= {part["resource"] for part in summary.logs if part["cursor_text"]}
        assert not [part for part in summary.logs if part["outcome"] in ("failed", "warning")]
        runs += 1
        assert runs < 20
    pages = sum(row["page_count"] for row in busy.rows("from ksef_raw.sync_log"))
    assert runs > 2, "the listing must have been interrupted"
    # Each run may ask for one page in vain; without resuming it would never come to an end.
    assert pages <= len(truth(busy)) / 1000 + 2 * runs + 2
    busy.limits = "off"
    busy.load_frozen(only=["sessions"])
    assert listed(busy) == truth(busy)


def test_a_forgotten_continuation_token_does_not_end_the_listing(busy: Stage) -> None:
    forgotten: list[str] = []

    class Forgetful(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if "x-continuation-token" in request.headers and not forgotten:
                forgotten.append(request.url.path)
                request.headers["x-continuation-token"] = "bm9uc2Vuc2U="
            return await super().handle_async_request(request)

    box = busy.box(clock=VirtualClock(busy.clock.now()))
    with busy.served() as base_url:
        clients = make_clients(base_url, busy.logins(), box, transport=Forgetful())
        busy.load_with(clients, box, only=["sessions"])
    assert forgotten
    assert listed(busy) == truth(busy)


def test_the_window_looks_back_behind_the_cursor_and_reaches_open_sessions() -> None:
    begin = KSEF_BEGINS.isoformat()
    cursor = {"cursor": "2026-11-17T12:00:00.000000+00:00", "reaches_back_to": begin}
    noon = datetime(2026, 11, 17, 12, tzinfo=UTC)
    assert modified_from(cursor, None, None) == noon - timedelta(hours=2)
    assert modified_from(cursor, None, noon - timedelta(hours=9)) == noon - timedelta(hours=9)
    assert modified_from(cursor, None, noon) == noon - timedelta(hours=2)
    assert modified_from(cursor, noon - timedelta(days=9), noon) == noon - timedelta(days=9)
    assert modified_from({}, noon, None) == noon
    assert modified_from({}, None, None) == KSEF_BEGINS < noon - timedelta(days=365)
    late = cursor | {"reaches_back_to": noon.isoformat()}
    assert modified_from(late, None, None) == KSEF_BEGINS
    assert modified_from(late, noon + timedelta(hours=1), None) == noon - timedelta(hours=2)


def test_counters_that_follow_late_are_seen_by_the_next_load(stage: Callable[..., Stage]) -> None:
    late = stage(days=1, lag_s=900, sessions_per_day=200, taxpayers=1, largest_session=9)
    columns = "reference_number, date_updated_text, successful_invoice_count"
    sql = f"select {columns} from ksef_raw.sessions"
    followed_late = set()
    before: dict[str, dict[str, Any]] = {}
    for _ in range(6):
        late.load_frozen(only=["sessions"])
        stored = {row.pop("reference_number"): row for row in late.rows(sql)}
        assert stored == {
            item["referenceNumber"]: {
                "date_updated_text": item["dateUpdated"],
                "successful_invoice_count": item["successfulInvoiceCount"],
            }
            for item in late.world.sessions(late.contexts[0].id, late.clock.now())
        }
        followed_late |= {
            name
            for name, row in before.items()
            if row != stored[name] and row["date_updated_text"] == stored[name]["date_updated_text"]
        }
        before = stored
        late.clock.sleep(1200)
    assert followed_late, "some counters must have moved without dateUpdated"


def test_a_session_that_breaks_the_contract_is_named_and_keeps_the_cursor_back(
    stage: Callable[..., Stage],
) -> None:
    broken = stage(taxpayers=1, short_pages=False)
    broken.faults = [Fault("missing-field", path="/sessions$", nth=1, field="dateUpdated")]
    summary = broken.load_frozen(only=["sessions"])
    (trouble,) = [p for p in summary.logs if p["outcome"] == "failed"]
    assert "dateUpdated" in trouble["message"]
    assert "is missing" in trouble["message"]
    assert trouble["cursor_text"] is None
    broken.faults = []
    broken.load_frozen(only=["sessions"])
    assert listed(broken) == truth(broken)


def test_a_session_that_breaks_the_contract_keeps_no_other_from_being_loaded(
    stage: Callable[..., Stage],
) -> None:
    broken = stage(taxpayers=1, short_pages=False)
    fault = Fault("missing-field", path="/sessions$", nth=1, field="dateUpdated")
    broken.faults = [fault]
    summary = broken.load_frozen()
    outcomes = {part["resource"]: part["outcome"] for part in summary.logs}
    assert sorted(outcomes.values()) == ["failed", "ok", "ok", "ok"]
    assert outcomes["invoices"] == "ok"
    assert broken.value("select count(*) from ksef_raw.session_invoices") > 0


def test_since_lists_again_from_that_moment(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1, short_pages=False)
    made.load_frozen(only=["sessions"])
    again = made.load_frozen(only=["sessions"], since=made.world.since)
    assert sum(p["row_count"] for p in again.logs) == len(truth(made))
    usual = made.load_frozen(only=["sessions"])
    assert sum(p["row_count"] for p in usual.logs) < len(truth(made))


def test_the_emulator_itself_shows_the_skip_that_a_bounded_window_suffers(busy: Stage) -> None:
    """Why `discover` sends no dateModifiedTo: with it, this listing misses sessions."""
    with ExitStack() as stack:
        base_url = stack.enter_context(busy.served())
        busy.limits = "off"
        box = busy.box(clock=VirtualClock(busy.clock.now()))
        client = stack.enter_context(asking(KsefClient(base_url, busy.logins()[0], clock=box)))
        client.rate_limits()
        start = busy.clock.now()
        before = {
            item["referenceNumber"]
            for item in busy.world.sessions(busy.contexts[0].id, start)
            if item["sessionType"] == "Online"
        }
        seen = set()
        bound = start.strftime("%Y-%m-%dT%H:%M:%SZ")
        for page in client.sessions("Online", dateModifiedTo=bound):
            seen |= {item["referenceNumber"] for item in page.items}
            busy.clock.sleep(600)
        after = {
            item["referenceNumber"]: item["dateUpdated"]
            for item in busy.world.sessions(busy.contexts[0].id, busy.clock.now())
        }
        never_changed = {ref for ref in before if after[ref] <= start.isoformat()}
        assert never_changed - seen


def test_an_open_session_is_listed_again_and_nothing_is_missed_whichever_bounds_are_included(
    stage: Callable[..., Stage],
) -> None:
    made = stage(seed=8, days=1, short_pages=False, quirks={"inclusive_bounds": False})
    for _ in range(4):
        summary = made.load_frozen(only=["sessions"])
        assert {log["outcome"] for log in summary.logs} == {"ok"}
        assert listed(made) == truth(made)
        made.clock.sleep(3600)


# -- what the list shows late -------------------------------------------------------------------


def load_at_hours(made: Stage, *hours: float) -> None:
    for hour in hours:
        due_at = made.at + timedelta(hours=hour)
        made.clock.sleep((due_at - made.clock.now()).total_seconds())
        made.load_frozen(only=["sessions"])


def settled(made: Stage, rows: dict[tuple[str, str], str]) -> set[tuple[tuple[str, str], str]]:
    return {item for item in rows.items() if item[1] < str(made.at + timedelta(hours=8))}


def test_sessions_that_the_list_shows_hours_late_are_found(stage: Callable[..., Stage]) -> None:
    made = stage(days=1, taxpayers=1, quirks={"list_lag_s": 12 * 3600}, largest_session=3)
    load_at_hours(made, *range(0, 14, 2), 30)
    assert settled(made, truth(made)) <= settled(made, listed(made))


def test_counters_that_follow_days_late_are_found(stage: Callable[..., Stage]) -> None:
    made = stage(days=1, taxpayers=1, lag_s=4 * 86_400, largest_session=3)
    load_at_hours(made, 0, 12, 24, 48, 72, 96, 5 * 24)
    sql = "select reference_number, successful_invoice_count from ksef_raw.sessions"
    stored = {row["reference_number"]: row["successful_invoice_count"] for row in made.rows(sql)}
    for item in made.world.sessions(made.contexts[0].id, made.clock.now()):
        if item["dateUpdated"] < made.at.isoformat():
            assert stored[item["referenceNumber"]] == item["successfulInvoiceCount"]


def test_a_sweep_costs_no_more_than_ten_requests(stage: Callable[..., Stage]) -> None:
    made = stage(days=2, taxpayers=1, sessions_per_day=9_000, largest_session=1, short_pages=False)
    made.load_frozen(only=["sessions"])
    made.clock.sleep(7 * 3600)
    summary = made.load_frozen(only=["sessions"])
    page_count = sum(log["page_count"] for log in summary.logs)
    assert 10 <= page_count <= 2 * 11 + 4
    made.clock.sleep(3600)
    usual = made.load_frozen(only=["sessions"])
    assert sum(log["page_count"] for log in usual.logs) < page_count
