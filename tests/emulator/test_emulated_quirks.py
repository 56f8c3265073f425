"""Knobs for what nobody knows about KSeF: each does what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from ksef_emulator import Emulator, ExportSettings, Oddities, Quirks, VirtualClock, World
from ksef_emulator.clock import to_ticks
from tests.emulator.exporting import Exporter
from tests.emulator.logging_in import NOW, SINCE, bearer, finish_login, start_token_login


class Caller:
    """The first taxpayer, logged in at an emulator of its own."""

    def __init__(self, client: httpx.Client, token: str, nip: str) -> None:
        self.client = client
        tokens = finish_login(client, start_token_login(client, token, nip))
        self.headers = bearer(tokens["accessToken"]["token"])

    def get(self, path: str, **params: str) -> httpx.Response:
        return self.client.get(path, params=params, headers=self.headers)

    def online(self, **params: str) -> list[dict[str, Any]]:
        answer = self.get("/sessions", sessionType="Online", pageSize="1000", **params)
        found: list[dict[str, Any]] = answer.json()["sessions"]
        return found


README = Path(__file__).parents[2] / "pipelines/ksef_emulator/README.md"
Call = Callable[..., Caller]


@pytest.fixture
def call(connect: Callable[[Emulator], httpx.Client], world: World, clock: VirtualClock) -> Call:
    def made(
        *, world: World = world, limits: Any = "off", token: str | None = None, **quirks: Any
    ) -> Caller:
        quirks = {"short_pages": False, **quirks}
        app = Emulator(world, clock, limits, quirks=Quirks(**quirks))
        taxpayer = world.taxpayers[0]
        return Caller(connect(app), token or taxpayer.token, taxpayer.context_id)

    return made


def largest(world: World) -> str:
    rows = world.sessions(world.taxpayers[0].context_id, NOW)
    return str(max(rows, key=lambda row: int(row["successfulInvoiceCount"]))["referenceNumber"])


def test_each_knob_is_in_the_readme() -> None:
    told = set(re.findall(r"^\| `(\w+)", README.read_text(), re.MULTILINE))
    ways = {"late_outcome_s", "late_code", "late_updates", "large_invoice_bytes"}
    known = {field.name for knobs in (Quirks, Oddities, ExportSettings) for field in fields(knobs)}
    assert {field.name for field in fields(Quirks)} | ways <= told
    assert told - known == {"limits", "lag_s", "storage_updates"}


def test_a_list_refuses_a_span_that_is_too_long(call: Call) -> None:
    caller = call(list_span_days=5)
    for name in ("dateModifiedFrom", "dateCreatedFrom", "dateClosedFrom"):
        begin = (NOW - timedelta(days=5, seconds=1)).isoformat()
        answer = caller.get("/sessions", sessionType="Online", **{name: begin})
        assert answer.status_code == 400
        (detail,) = answer.json()["exception"]["exceptionDetailList"]
        assert (detail["exceptionCode"], name in str(detail["details"])) == (21405, True)
    end = (NOW - timedelta(days=1)).isoformat()
    assert caller.online(dateModifiedFrom=begin, dateModifiedTo=end)
    assert caller.online(dateModifiedFrom=(NOW - timedelta(days=5)).isoformat())


def test_a_list_that_lags_shows_sessions_as_they_were(call: Call) -> None:
    busy = World(since=NOW - timedelta(days=3), sessions_per_day=200, largest_session=3)
    lagging, prompt = call(world=busy, list_lag_s=24 * 3600), call(world=busy)
    late = {row["referenceNumber"]: row for row in lagging.online()}
    now = {row["referenceNumber"]: row for row in prompt.online()}
    assert late.keys() < now.keys()
    assert any(late[name] != now[name] for name in late)
    long_over = {n: r for n, r in now.items() if r["dateUpdated"] < str(NOW - timedelta(hours=25))}
    assert {name: late.get(name) for name in long_over} == long_over


def test_invoices_may_come_in_any_order(call: Call, world: World) -> None:
    path = f"/sessions/{largest(world)}/invoices"
    ordered, mixed = (
        [i["ordinalNumber"] for i in caller.get(path, pageSize="1000").json()["invoices"]]
        for caller in (call(), call(invoice_order="any"))
    )
    assert ordered == sorted(mixed)
    assert ordered != mixed


def test_fields_without_a_value_may_be_null(call: Call, world: World) -> None:
    path = f"/sessions/{largest(world)}"
    absent, null = call(), call(null_fields=True)
    for inner in ("", "/invoices", "/invoices/failed"):
        here, there = absent.get(path + inner).json(), null.get(path + inner).json()
        assert here != there
        assert without_nulls(here) == without_nulls(there)
    (row, *_) = null.get(f"{path}/invoices").json()["invoices"]
    assert row["status"]["extensions"] is None


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        signed = ("upoDownloadUrl", "downloadUrl")
        return {n: without_nulls(v) for n, v in value.items() if v is not None and n not in signed}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("way", "status"), [("403", 403), ("21173", 400)])
def test_a_hidden_session_is_refused_in_either_way(
    call: Call, world: World, way: str, status: int
) -> None:
    writer = call(token=world.taxpayers[0].write_only_token, hidden_session=way)
    seen = {row["referenceNumber"] for row in writer.online()}
    hidden = next(r["referenceNumber"] for r in call().online() if r["referenceNumber"] not in seen)
    assert writer.get(f"/sessions/{hidden}").status_code == status


def test_a_bad_bearer_may_be_refused_with_an_empty_403(call: Call) -> None:
    caller = call(empty_403=True)
    answer = caller.client.get("/rate-limits", headers=bearer("worn.out.token"))
    assert (answer.status_code, answer.content) == (403, b"")


def test_the_firewall_meets_its_share_of_requests_and_counts_none(
    connect: Callable[[Emulator], httpx.Client], world: World, clock: VirtualClock
) -> None:
    client = connect(Emulator(world, clock, "off", quirks=Quirks(firewall_share=0.25)))
    answers = [client.post("/auth/challenge") for _ in range(400)]
    pages = [a for a in answers if a.headers["Content-Type"].startswith("text/html")]
    assert 60 < len(pages) < 140
    assert {page.status_code for page in pages} == {200}


def test_failed_invoices_may_have_a_counter_of_their_own(call: Call, world: World) -> None:
    path = f"/sessions/{largest(world)}/invoices"
    limits = {"sessionInvoiceList": {"perSecond": 1, "perMinute": 1, "perHour": 1}}
    shared, apart = call(limits=limits), call(limits=limits, failed_apart=True)
    for caller in (shared, apart):
        assert caller.get(path).status_code == 200
    assert shared.get(f"{path}/failed").status_code == 429
    assert apart.get(f"{path}/failed").status_code == 200
    assert apart.get(f"{path}/failed").status_code == 429


def test_a_refused_request_may_count(call: Call, clock: VirtualClock) -> None:
    limits = {"sessionList": {"perSecond": 2, "perMinute": -1, "perHour": 4}}
    statuses = []
    for counts in (False, True):
        caller = call(limits=limits, refused_count=counts)
        for wait_s in (0, 0, 0, 2, 0):
            clock.sleep(wait_s)
            statuses.append(caller.get("/sessions", sessionType="Online").status_code)
    assert statuses == [200, 200, 429, 200, 200, 200, 200, 429, 200, 429]


def test_all_taxpayers_of_an_address_may_share_one_limit(
    connect: Callable[[Emulator], httpx.Client], world: World, clock: VirtualClock
) -> None:
    unbounded = {"perSecond": -1, "perMinute": -1, "perHour": -1}
    app = Emulator(world, clock, {"global": {**unbounded, "perMinute": 12}})
    client = connect(app)
    callers = [Caller(client, who.token, who.context_id) for who in world.taxpayers]
    assert callers[0].get("/rate-limits").status_code == 429
    clock.sleep(61)
    statuses = [c.get("/rate-limits").status_code for _ in range(7) for c in callers]
    assert statuses == [200] * 12 + [429] * 2
    assert callers[0].client is callers[1].client


def test_a_token_ends_so_many_days_after_it_was_made(
    connect: Callable[[Emulator], httpx.Client], world: World, clock: VirtualClock
) -> None:
    made_on = datetime(2026, 1, 2, tzinfo=UTC)
    days = (NOW - made_on).days
    who = world.taxpayers[0]
    for token_days, code in ((days, 450), (days + 1, 200)):
        client = connect(Emulator(world, clock, "off", quirks=Quirks(token_days=token_days)))
        begun = start_token_login(client, who.token, who.context_id).json()
        headers = bearer(begun["authenticationToken"]["token"])
        for _ in range(2):
            answer = client.get(f"/auth/{begun['referenceNumber']}", headers=headers)
        assert answer.json()["status"]["code"] == code


# -- what there is to tell --------------------------------------------------------------------


@pytest.mark.parametrize("late_updates", [False, True])
@pytest.mark.parametrize("late_code", [150, 170, 380])
def test_outcomes_may_come_when_their_session_is_long_over(
    late_updates: bool, late_code: int
) -> None:
    oddities = Oddities(late_outcome_s=36_000, late_code=late_code, late_updates=late_updates)
    world = World(since=SINCE, largest_session=300, oddities=oddities, lag_s=0)
    nip, late = world.taxpayers[0].context_id, NOW + timedelta(hours=36)
    before = [s for s in world.sessions(nip, NOW) if s["status"]["code"] == 200]
    after = {s["referenceNumber"]: s for s in world.sessions(nip, late)}
    changed = [s for s in before if s != after[s["referenceNumber"]]]
    assert changed
    for session in changed:
        name = session["referenceNumber"]
        codes = {i["status"]["code"] for i in world.invoices(nip, name, NOW)}
        assert late_code in codes
        assert late_code not in {i["status"]["code"] for i in world.invoices(nip, name, late)}
        assert (session["dateUpdated"] != after[name]["dateUpdated"]) is late_updates
        decided = [i for i in world.invoices(nip, name, late) if i["status"]["code"] == 200]
        assert after[name]["successfulInvoiceCount"] == len(decided)


def test_files_may_be_as_large_as_an_application_allows() -> None:
    oddities = Oddities(large_invoice_bytes=4_000_000)
    world = World(since=SINCE, largest_session=300, oddities=oddities)
    places = world.repository.places(
        world.taxpayers[0].context_id, "Subject1", "PermanentStorage", 0, to_ticks(NOW)
    )
    sizes = [len(place.invoice().xml()) for _, place in zip(range(400), places, strict=False)]
    assert max(sizes) > 4_000_000
    assert sorted(sizes)[350] < 10_000


def test_the_high_water_mark_steps_back_and_what_was_forgotten_is_found(
    connect: Callable[[Emulator], httpx.Client], world: World, clock: VirtualClock
) -> None:
    settings = ExportSettings(duration_s=0, hwm_steps_back_s=6 * 3600, hwm_lag_s=60)
    client = connect(Emulator(world, clock, "off", exports=settings))
    evening = datetime(2026, 9, 22, 18, tzinfo=UTC)
    dates = {"from": (evening - timedelta(hours=8)).isoformat(), "to": evening.isoformat()}
    told, counts, who = [], [], world.taxpayers[0]
    for minutes in (-1, 1, 120):
        moment = evening + timedelta(minutes=minutes)
        clock.sleep((moment - clock.now()).total_seconds())
        headers = Caller(client, who.token, who.context_id).headers
        package = Exporter(client, headers, clock).package(dates=dates)
        told.append(datetime.fromisoformat(package["permanentStorageHwmDate"][:26] + "+00:00"))
        counts.append(package["invoiceCount"])
    assert told == [evening - timedelta(minutes=2), evening - timedelta(hours=6), evening]
    assert counts[1] < counts[0] < counts[2]
