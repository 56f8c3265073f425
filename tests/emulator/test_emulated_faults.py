from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ksef_emulator import Emulator, Fault, VirtualClock, World
from tests.emulator.logging_in import NOW, Headers

Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(
    world: World,
    clock: VirtualClock,
    headers: Headers,
    connect: Callable[[Emulator], httpx.Client],
) -> Ask:
    """Ask for sessions of an emulator with the given faults."""

    def asked(*faults: Fault, path: str = "/sessions", times: int = 1) -> httpx.Response:
        client = connect(Emulator(world, clock, limits="off", faults=faults))
        for _ in range(times):
            answer = client.get(path, params={"sessionType": "Online"}, headers=headers)
        return answer

    return asked


def test_a_fault_strikes_the_nth_matching_request_and_so_many_after_it(
    world: World, clock: VirtualClock, headers: Headers, connect: Callable[[Emulator], httpx.Client]
) -> None:
    fault = Fault("500", path="/v2/sessions$", nth=2, times=2)
    client = connect(Emulator(world, clock, limits="off", faults=[fault]))
    query = {"sessionType": "Online"}
    statuses = []
    for _ in range(4):
        client.get("/rate-limits", headers=headers)
        statuses.append(client.get("/sessions", params=query, headers=headers).status_code)
    assert statuses == [200, 500, 500, 200]


def test_500_has_an_undocumented_json_body(ask: Ask) -> None:
    body = ask(Fault("500")).json()
    assert body["exception"]["exceptionDetailList"][0]["exceptionCode"] == 500


def test_502_is_html(ask: Ask) -> None:
    answer = ask(Fault("502"))
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")


def test_the_firewall_blocks_without_retry_after(ask: Ask) -> None:
    answer = ask(Fault("403-waf"))
    assert (answer.status_code, answer.json()["title"]) == (403, "Request blocked")
    assert "Retry-After" not in answer.headers


def test_429_tells_the_time_it_was_given(ask: Ask) -> None:
    answer = ask(Fault("429", retry_after_s=77))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "77")


def test_a_dropped_connection_is_an_error_of_the_connection(ask: Ask) -> None:
    with pytest.raises(ConnectionError):
        ask(Fault("dropped"))


def test_a_truncated_body_is_shorter_than_it_says(ask: Ask) -> None:
    answer = ask(Fault("truncated"))
    assert 0 < len(answer.content) < int(answer.headers["Content-Length"])


def test_a_slow_answer_takes_its_time_on_the_emulators_clock(ask: Ask, clock: VirtualClock) -> None:
    assert ask(Fault("slow", delay_s=45)).status_code == 200
    assert (clock.now() - NOW).total_seconds() == 45


@pytest.mark.parametrize("code", ["21173", "21184"])
def test_ksefs_own_passing_troubles_are_400(ask: Ask, world: World, code: Any) -> None:
    reference = world.sessions(world.taxpayers[0].context_id, NOW)[0]["referenceNumber"]
    answer = ask(Fault(code), path=f"/sessions/{reference}")
    detail = answer.json()["exception"]["exceptionDetailList"][0]
    assert (answer.status_code, detail["exceptionCode"]) == (400, int(code))
    assert reference in detail["details"][0]


def test_an_answer_may_not_be_json(ask: Ask) -> None:
    answer = ask(Fault("not-json"))
    assert answer.status_code == 200
    assert "json" not in answer.headers["Content-Type"]


def test_fields_go_missing_and_unknown_ones_turn_up(ask: Ask) -> None:
    changed = ask(Fault("missing-field", field="status"), Fault("extra-field", field="news"))
    for row in changed.json()["sessions"]:
        assert "status" not in row
        assert row["news"] == "unrecognised"
