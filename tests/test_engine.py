"""The engine: all taxpayers at once, on simulated time, with an emulator that takes its time."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from ksef_emulator import Backlog, Emulator, Fault, VirtualClock
from ksef_emulator.faults import Kind
from kseflow.api.client import KsefClient, make_clients
from kseflow.api.gateway import Gateway
from kseflow.api.limits import Gate
from kseflow.clock import SimulatedClock, SystemClock, TimeBox
from kseflow.context import Context
from kseflow.errors import ContractViolation, Unavailable
from kseflow.loading.agenda import Agenda
from kseflow.loading.summary import LoadSummary
from kseflow.loading.worklist import Worklist
from tests.conftest import Stage
from tests.simulation import Wire, asking

LISTS = {"sessionList", "sessionInvoiceList"}
NO_LOGS = "context_id, session_reference_number, reference_number, status_code, invoice_hash"


class Told:
    """A load over a wire, with what came of it."""

    def __init__(self, made: Stage, summary: LoadSummary, wire: Wire) -> None:
        self.summary, self.wire, self.requests = summary, wire, list(made.app.requests)

    def asked(self, *groups: str) -> int:
        return sum(request.group in groups for request in self.requests)

    def logs(self, resource: str) -> list[dict[str, Any]]:
        return [log for log in self.summary.logs if log["resource"] == resource]


def load_wired(
    made: Stage, *, latency_s: float = 0.1, seed: int = 1, wire: type[Wire] = Wire, **options: Any
) -> Told:
    """Load once without sockets, with answers that take their time."""
    made.app = Emulator(
        made.world, made.clock, made.limits, faults=made.faults, exports=made.exports
    )
    over = wire(made.app, latency_s, seed)
    box = TimeBox(SimulatedClock(made.clock), options.pop("max_time_s", None))
    clients = make_clients("http://127.0.0.1/v2", made.logins(), box, transport=over)
    return Told(made, made.load_with(clients, box, **options), over)


def order(told: Told) -> list[tuple[str, str, str]]:
    return [(r.context_id, r.method, r.path) for r in told.requests]


# -- many at once -------------------------------------------------------------------------------


def test_many_taxpayers_wait_together_and_never_meet_a_429(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=40, days=1, sessions_per_day=2, largest_session=3, limits="production")
    load_wired(made)
    began = made.clock.now()
    again = load_wired(made)
    took_s = (made.clock.now() - began).total_seconds()
    in_turn_s = 0.1 * len(again.requests) + 40
    assert took_s < in_turn_s / 8
    assert 8 < again.wire.most_in_flight_count <= 32
    assert 429 not in {request.status for request in again.requests}
    assert again.summary.failed_taxpayers == []


def test_many_at_once_ask_for_no_more_lists_than_there_are_pages_to_read(
    stage: Callable[..., Stage],
) -> None:
    made = stage(
        taxpayers=10, days=2, short_pages=False, limits="production", counted_failures="never"
    )
    told = load_wired(made, in_progress="all")
    sessions = [
        item
        for context in made.contexts
        for item in made.world.sessions(context.id, made.clock.now())
    ]
    assert told.asked("sessionList") == 2 * len(made.contexts)
    assert told.asked("sessionInvoiceList") == sum(
        math.ceil(item["totalInvoiceCount"] / 1000) for item in sessions
    )
    assert told.asked("other") == len(made.contexts)


def test_no_more_requests_are_in_flight_than_allowed(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=9, days=1, sessions_per_day=3, largest_session=3)
    made.app = Emulator(made.world, made.clock, made.limits)
    wire = Wire(made.app, 0.1)
    box = TimeBox(SimulatedClock(made.clock))
    clients = make_clients(
        "http://127.0.0.1/v2", made.logins(), box, transport=wire, requests_in_flight=3
    )
    made.load_with(clients, box)
    assert wire.most_in_flight_count == 3


def test_the_same_seed_gives_the_same_requests_in_the_same_order(
    stage: Callable[..., Stage], tmp_path: Path
) -> None:
    found = []
    for n in range(2):
        made = stage(taxpayers=5, days=2, limits="production", largest_session=30)
        made.database = tmp_path / str(n) / "ksef.duckdb"
        told = load_wired(made, latency_s=0.3)
        found.append((order(told), made.rows(f"select {NO_LOGS} from ksef_raw.session_invoices")))
    assert found[0] == found[1]
    other = stage(taxpayers=5, days=2, limits="production", largest_session=30)
    other.database = tmp_path / "other" / "ksef.duckdb"
    assert order(load_wired(other, latency_s=0.3, seed=2)) != found[0][0]


def test_failures_come_before_half_of_the_exports(stage: Callable[..., Stage]) -> None:
    made = stage(
        taxpayers=12,
        days=6,
        sessions_per_day=6,
        largest_session=20,
        limits="production",
        exports_per_hour=4,
        counted_failures="never",
    )
    told = load_wired(made, latency_s=0.2, exports_from=made.world.since - timedelta(300))
    now = made.clock.now()
    with_failures = {
        item["referenceNumber"]
        for context in made.contexts
        for item in made.world.sessions(context.id, now)
        if made.world.failed_invoices(context.id, item["referenceNumber"], made.at)
    }
    read, exports, seen = set(), 0, []
    for request in told.requests:
        if request.group == "sessionInvoiceList":
            read.add(request.path.split("/")[3])
        if request.group == "invoiceExport":
            exports += 1
        seen.append((len(with_failures - read), exports))
    assert exports > 50
    assert next(count for left, count in seen if left == 0) <= exports / 2
    firsts: dict[str, int] = {}
    asked = [r for r in told.requests if r.group == "sessionInvoiceList"]
    for place, request in enumerate(asked):
        firsts.setdefault(request.context_id, place)
    assert max(firsts.values()) < 2 * len(made.contexts)


# -- what requests cost, and what is told of them -----------------------------------------------


@pytest.mark.parametrize("nth", [2, 4])
def test_a_429_in_the_middle_of_a_session_costs_one_request_and_is_told_once(
    stage: Callable[..., Stage], tmp_path: Path, nth: int
) -> None:
    told = []
    for n, faults in enumerate(([], [Fault("429", path="/invoices$", nth=nth, retry_after_s=9)])):
        made = stage(
            taxpayers=1,
            days=3,
            short_pages=False,
            world_options={"backlog": Backlog("Batch", 2, 4_500, 0.02, 1.0)},
            faults=faults,
            counted_failures="never",
        )
        made.database = tmp_path / str(n) / "ksef.duckdb"
        told.append(load_wired(made, in_progress="all", detail="invoices"))
        rows = made.value("select count(*) from ksef_raw.session_invoices")
        (log,) = told[-1].logs("invoices")
        assert log["row_count"] == rows
        assert log["accepted_count"] + log["failed_count"] + log["pending_count"] == rows
        logged = "select row_count from ksef_raw.sync_log where resource = 'invoices'"
        assert made.value(logged) == rows >= 9_000
    assert told[1].asked(*LISTS) == told[0].asked(*LISTS) + 1


def test_lanes_that_wait_for_one_login_make_one(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1)
    with made.served() as base_url:
        box = made.box()
        with asking(KsefClient(base_url, made.logins()[0], clock=box)) as client:

            async def many(after_s: float) -> None:
                await box.sleep(after_s)
                async with asyncio.TaskGroup() as lanes:
                    for _ in range(6):
                        lanes.create_task(client.client.rate_limits())

            client.wait(many(0))
            client.wait(many(14.5 * 60))
            made.app.revoke_logins()
            client.wait(many(16 * 60))
    routes = Counter(request.route.removeprefix("/v2") for request in made.app.requests)
    assert routes["/auth/token/redeem"] == 2
    assert routes["/auth/token/refresh"] == 2  # the second is refused, for the login was revoked


def test_a_login_that_stays_pending_long_is_waited_for(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1, days=1, quirks={"pending_polls": 25})
    assert made.load(only=["sessions"]).failed_taxpayers == []


def test_public_keys_are_fetched_once_for_all_taxpayers(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=4, days=1)
    made.load_frozen(only=["sessions"])
    asked = [request.path for request in made.app.requests]
    assert sum(path.endswith("/public-key-certificates") for path in asked) == 1


def test_an_export_that_nobody_answered_is_told_as_such(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1, exports_per_hour=4, days=1)

    class Refusing(Wire):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST" and request.url.path.endswith("/exports"):
                raise httpx.ConnectError("connection refused")
            return await super().handle_async_request(request)

    told = load_wired(made, wire=Refusing, only=["export_packages"], subject_types=["Subject1"])
    (log,) = told.logs("exports_subject1")
    assert "no answer (ConnectError" in log["message"]
    assert "not sent again" in log["message"]
    assert "HTTP 5" not in log["message"]


def test_one_closed_client_leaves_the_connections_of_the_others_alone(
    stage: Callable[..., Stage],
) -> None:
    made = stage(taxpayers=2, days=1)
    with made.served() as base_url:
        box = made.box()
        one, other = make_clients(base_url, made.logins(), box)

        async def closed_then_asked() -> dict[str, Any]:
            async with one:
                await one.rate_limits()
            with pytest.raises(RuntimeError, match="this client is closed"):
                await one.rate_limits()
            return dict(await other.rate_limits())

        with asking(other) as asked:
            assert asked.wait(closed_then_asked())


# -- trouble stops the smallest unit ------------------------------------------------------------


@pytest.mark.parametrize("limits", [None, {}, {"perSecond": None, "perMinute": 1, "perHour": 9}])
def test_garbled_limits_of_one_taxpayer_stop_nobody(
    stage: Callable[..., Stage], limits: dict[str, int | None] | None
) -> None:
    made = stage(taxpayers=2, days=1)
    first = made.contexts[0].id

    class Garbled(Wire):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            served = made.app.requests[-1]
            if request.url.path.endswith("/rate-limits") and served.context_id == first:
                return httpx.Response(200, json={"sessionList": limits, "other": limits})
            return answer

    told = load_wired(made, wire=Garbled)
    assert told.summary.failed_taxpayers == []
    assert made.value("select count(distinct context_id) from ksef_raw.session_invoices") == 2


def test_a_bug_outside_the_lanes_stops_one_taxpayer_only(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(taxpayers=3, days=1)
    broken, *healthy = made.contexts
    decide = Worklist.agenda

    def agenda(self: Worklist, context: Context, *args: Any, **kwargs: Any) -> Agenda:
        if context == broken:
            raise ZeroDivisionError("a bug")
        return decide(self, context, *args, **kwargs)

    monkeypatch.setattr(Worklist, "agenda", agenda)
    told = load_wired(made)
    assert told.summary.failed_taxpayers == [broken]
    (trouble,) = made.rows("from ksef_raw.sync_log where outcome = 'failed'")
    assert "ZeroDivisionError: a bug" in trouble["message"]
    stored = {row["context_id"] for row in made.rows("from ksef_raw.session_invoices")}
    assert stored == {context.id for context in healthy}


@pytest.mark.parametrize("kind", ["500", "403-waf", "not-json", "dropped"])
def test_a_session_in_trouble_keeps_no_other_from_being_read_in_the_first_load(
    stage: Callable[..., Stage], kind: Kind
) -> None:
    made = stage(taxpayers=1, days=5, counted_failures="never")
    sessions = made.world.sessions(made.contexts[0].id, made.clock.now())
    bad = next(s for s in sessions if s["failedInvoiceCount"])["referenceNumber"]
    made.faults = [Fault(kind, path=f"/sessions/{bad}/invoices", times=10_000)]
    told = load_wired(made)
    (log,) = told.logs("invoices")
    assert log["outcome"] == "failed"
    assert bad in log["message"]
    read = made.rows("from ksef_raw.invoice_reads where error is null")
    assert len(read) > 8
    assert bad not in {row["session_reference_number"] for row in read}
    made.faults = []
    made.clock.sleep(60)
    load_wired(made)  # not later: a reading that went wrong is repeated at the next load
    assert made.rows(
        f"from ksef_raw.session_invoices where session_reference_number = '{bad}'"
    ) or made.rows(f"from ksef_raw.failed_invoices where session_reference_number = '{bad}'")
    assert made.value("select count(*) from ksef_raw.invoice_reads where error is not null") == 0


def test_when_every_session_is_in_trouble_the_lane_ends_soon(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1, days=5)
    made.faults = [Fault("500", path="/invoices", times=100_000)]
    told = load_wired(made)
    assert told.asked("sessionInvoiceList") == 5 * 5


@pytest.mark.parametrize("token", [7, "a\nb", "żółw", ["x"]])
def test_an_odd_continuation_token_costs_that_session_only(
    stage: Callable[..., Stage], token: int | str | list[str]
) -> None:
    made = stage(taxpayers=1, days=2, short_pages=False)
    odd: list[str] = []

    class Odd(Wire):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            if request.url.path.endswith("/invoices") and (not odd or request.url.path == odd[0]):
                odd[:] = [request.url.path]
                return httpx.Response(200, json=answer.json() | {"continuationToken": token})
            return answer

    told = load_wired(made, wire=Odd)
    (log,) = told.logs("invoices")
    assert log["outcome"] == "failed"
    errors = made.rows("from ksef_raw.invoice_reads where error is not null")
    assert [row["session_reference_number"] for row in errors] == [odd[0].split("/")[3]]
    assert made.value("select count(*) from ksef_raw.invoice_reads where error is null") > 5


@pytest.mark.parametrize("reference", ["x/../../y", "a\nb", "", "ż"])
def test_a_reference_that_is_none_never_becomes_part_of_a_path(
    stage: Callable[..., Stage], reference: str
) -> None:
    made = stage(taxpayers=1)
    box = made.box()
    with asking(KsefClient("http://127.0.0.1:9/v2", made.logins()[0], clock=box)) as client:
        with pytest.raises(ContractViolation, match="no reference or number"):
            client.session(reference)
        with pytest.raises(ContractViolation, match="no reference or number"):
            list(client.session_invoices(reference))


# -- rows that only await their end -------------------------------------------------------------


def test_rows_that_await_their_storage_date_are_asked_one_by_one(
    stage: Callable[..., Stage],
) -> None:
    made = stage(
        taxpayers=1,
        days=2,
        sessions_per_day=60,
        limits="production",
        counted_failures="never",
    )
    made.clock.sleep(1800)
    load_wired(made)
    awaiting = (
        "select count(*) from ksef_raw.session_invoices where status_code in (100, 150) "
        "or (status_code = 200 and permanent_storage_date is null)"
    )
    before = made.value(awaiting)
    assert before > 0
    asked, read = 0, set()
    for _ in range(6):
        made.clock.sleep(3600)
        told = load_wired(made)
        asked += told.asked("invoiceStatus")
        read |= {r.path.split("/")[3] for r in told.requests if r.group == "sessionInvoiceList"}
    assert asked > 0
    left = {
        row["s"]
        for row in made.rows(
            "select session_reference_number as s from ksef_raw.invoice_reads "
            "where endpoint = 'invoice'"
        )
    }
    assert left - read
    for context in made.contexts:
        for session in left - read:
            for item in made.world.invoices(context.id, session, made.clock.now()):
                stored = made.value(
                    "select permanent_storage_date from ksef_raw.session_invoices where "
                    f"reference_number = '{item['referenceNumber']}'"
                )
                assert (stored is None) == (item.get("permanentStorageDate") is None)


# -- places, memory, interruption ---------------------------------------------------------------


def test_places_go_by_value_then_fairly() -> None:
    async def granted() -> list[tuple[int, str]]:
        gate, order = Gate(1), []

        async def ask(value: int, who: str) -> None:
            async with gate.place(value, who):
                order.append((value, who))
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as lanes:
            for value, who in (
                (9, "x"),
                (4, "a"),
                (4, "a"),
                (4, "a"),
                (4, "b"),
                (1, "b"),
                (0, "c"),
            ):
                lanes.create_task(ask(value, who))
        return order

    assert asyncio.run(granted())[1:] == [
        (0, "c"), (1, "b"), (4, "a"), (4, "b"), (4, "a"), (4, "a"),
    ]  # fmt: skip


def test_a_place_is_given_back_when_its_holder_or_its_waiter_is_cancelled() -> None:
    async def reused() -> bool:
        gate = Gate(1)

        async def hold() -> None:
            async with gate.place(0, "a"):
                await asyncio.sleep(99)

        tasks = [asyncio.create_task(hold()) for _ in range(3)]
        await asyncio.sleep(0)
        for task in (tasks[1], tasks[0], tasks[2]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(1), gate.place(5, "b"):
            return True

    assert asyncio.run(reused())


def test_a_closed_gate_lets_nobody_pass_until_it_opens() -> None:
    async def passed() -> list[str]:
        gate, seen = Gate(2), []
        gate.close()

        async def ask() -> None:
            async with gate.place(0, "a"):
                seen.append("passed")

        task = asyncio.create_task(ask())
        await asyncio.sleep(0.01)
        seen.append("opened")
        gate.open()
        await task
        return seen

    assert asyncio.run(passed()) == ["opened", "passed"]


def test_rows_that_wait_for_dlt_are_bounded(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound no request goes out until dlt has taken what is there."""
    monkeypatch.setattr("kseflow.loading.kept.KEPT_ROWS", 500)
    monkeypatch.setattr("kseflow.loading.kept.COMMIT_ROWS", 400)
    made = stage(taxpayers=3, days=2, largest_session=300, counted_failures="never")
    told = load_wired(made, in_progress="all")
    assert told.summary.failed_taxpayers == []
    truth = sum(
        len(made.world.invoices(context.id, item["referenceNumber"], made.clock.now()))
        for context in made.contexts
        for item in made.world.sessions(context.id, made.clock.now())
    )
    assert truth > 800
    assert made.value("select count(*) from ksef_raw.session_invoices") == truth


def test_requests_go_on_while_dlt_commits(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=2, days=3, counted_failures="never")
    with made.served(VirtualClock(made.clock.now())) as base_url:
        box = TimeBox(SystemClock(), 300)
        summary = made.load_with(make_clients(base_url, made.logins(), box), box)
    assert {log["outcome"] for log in summary.logs} == {"ok"}
    assert made.value("select count(*) from ksef_raw.session_invoices") > 0


@pytest.mark.parametrize("seed", range(4))
def test_an_interruption_at_any_await_loses_nothing(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Each load dies at another answer, with no chance to tidy up; the last comes to its end."""
    monkeypatch.setattr("kseflow.loading.kept.COMMIT_ROWS", 60)
    made = stage(
        seed=seed, taxpayers=2, days=2, largest_session=40, exports_per_hour=4,
        counted_failures="never",
    )  # fmt: skip

    class Dead(BaseException):
        pass

    class Dying(Wire):
        answers_left = 10 + 7 * seed

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            Dying.answers_left -= 1
            if Dying.answers_left == 0:
                raise Dead
            return answer

    deaths = 0
    for _ in range(30):
        Dying.answers_left = 9 + 13 * deaths + seed
        try:
            load_wired(made, wire=Dying, in_progress="all", exports_from=made.world.since)
            break
        except BaseExceptionGroup as group:
            if not group.split(Dead)[0]:
                raise
            deaths += 1
            made.clock.sleep(600)
    assert deaths > 3
    made.clock.sleep(24 * 3600)
    load_wired(made, in_progress="all")
    now = made.clock.now()
    stored = {
        (row["context_id"], row["reference_number"], row["status_code"])
        for row in made.rows("from ksef_raw.session_invoices")
    }
    truth = {
        (context.id, item["referenceNumber"], item["status"]["code"])
        for context in made.contexts
        for session in made.world.sessions(context.id, now)
        for item in made.world.invoices(context.id, session["referenceNumber"], now)
    }
    assert stored == truth
    for context in made.contexts:
        hwm = made.value(
            "select max(permanent_storage_hwm_date) from ksef_raw.export_packages where "
            f"context_id = '{context.id}' and subject_type = 'Subject1'"
        )
        exported = {row["ksefNumber"] for row in made.world.exported(context.id, "Subject1", hwm)}
        assert exported
        assert exported == {
            row["ksef_number"]
            for row in made.rows(
                "from ksef_raw.invoice_metadata where subject_type = 'Subject1' "
                f"and context_id = '{context.id}'"
            )
        }


def test_a_stop_ends_requests_that_hang_at_once(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1)

    class Hanging(Wire):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asyncio.get_running_loop().call_later(1, box.stop)
            await asyncio.sleep(10_000)
            raise AssertionError("the stop came first")

    made.app = Emulator(made.world, made.clock, made.limits)
    box = TimeBox(SimulatedClock(made.clock))
    gateway = Gateway("http://127.0.0.1/v2", box, transport=Hanging(made.app))
    summary = made.load_with([KsefClient(gateway, made.logins()[0])], box)
    assert summary.is_stopped
    assert made.clock.now() - made.at < timedelta(seconds=5)


def test_an_answer_that_drips_for_ever_ends_as_unavailable(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1)

    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(2)
                yield b" "

    class Dripping(Wire):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=Drip())

    made.app = Emulator(made.world, made.clock, made.limits)
    box = TimeBox(SimulatedClock(made.clock))
    gateway = Gateway("http://127.0.0.1/v2", box, transport=Dripping(made.app))
    with (
        asking(KsefClient(gateway, made.logins()[0])) as client,
        pytest.raises(Unavailable, match="TimeoutError"),
    ):
        client.public_key_certificates()
