from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from ksef_emulator import Emulator, VirtualClock, World
from ksef_emulator.api.errors import TooManyRequests
from ksef_emulator.api.limits import FIXED, OFF, PRODUCTION, Limits
from tests.emulator.logging_in import Headers, bearer, finish_login, start_token_login

START = datetime(2026, 9, 22, 10, 30, tzinfo=UTC)


def refusals(limits: Limits, group: str, offsets_s: list[float]) -> list[int]:
    """Return Retry-After of each request, 0 for one that was let through."""
    waits = []
    for offset_s in offsets_s:
        try:
            limits.count("1", "10.0.0.1", group, at=START + timedelta(seconds=offset_s))
            waits.append(0)
        except TooManyRequests as refused:
            waits.append(refused.retry_after_s)
    return waits


def test_the_sixth_session_list_within_a_second_waits_for_the_window() -> None:
    assert refusals(Limits("production"), "sessionList", [0.0] * 6) == [0, 0, 0, 0, 0, 1]


def test_windows_slide_and_are_not_aligned_to_the_clock() -> None:
    # Ten a minute: the eleventh is let through once the first is a minute old.
    offsets = [6.0 * n for n in range(10)]
    waits = refusals(Limits("production"), "sessionList", [*offsets, 59.0, 60.5, 66.5])
    assert waits == [0] * 10 + [1, 0, 0]


def test_the_hour_counts_beside_the_minute() -> None:
    # One each ten seconds breaks no limit a second or a minute, but 60 an hour.
    waits = refusals(Limits("production"), "sessionList", [10.0 * n for n in range(61)])
    assert waits == [0] * 60 + [3000]


@pytest.mark.parametrize("group", ["sessionList", "sessionInvoiceList", "other:show"])
def test_waiting_retry_after_and_a_second_always_suffices(group: str) -> None:
    limits, clock = Limits("production"), VirtualClock(START)
    served = 0
    for number in range(600):
        clock.sleep(number % 7 / 3)
        try:
            limits.count("1", "10.0.0.1", group, at=clock.now())
        except TooManyRequests as refused:
            clock.sleep(refused.retry_after_s + 1)
            limits.count("1", "10.0.0.1", group, at=clock.now())
        served += 1
    assert served == 600


def test_who_calls_while_blocked_waits_longer_each_time() -> None:
    waits = refusals(Limits("production"), "sessionList", [0.0] * 5 + [0.1, 0.2, 0.3, 0.4])
    assert waits[4:] == sorted(waits[4:])
    assert waits[5] < 2 < 60 <= waits[6] < waits[7] < waits[8]


def test_who_waits_as_told_is_not_punished() -> None:
    waits = refusals(Limits("production"), "sessionList", [0.0] * 6 + [2.0] * 4 + [2.0, 61.0])
    assert waits[5] == 1
    assert waits[6:10] == [0] * 4
    assert waits[11] <= 60


def test_contexts_addresses_and_groups_are_counted_apart() -> None:
    limits = Limits("production")
    for context_id, address, group in [
        ("1", "10.0.0.1", "sessionList"),
        ("2", "10.0.0.1", "sessionList"),
        ("1", "10.0.0.2", "sessionList"),
        ("1", "10.0.0.1", "sessionMisc"),
    ]:
        for _ in range(5):
            limits.count(context_id, address, group, at=START)
    with pytest.raises(TooManyRequests):
        limits.count("1", "10.0.0.1", "sessionList", at=START)


def test_invoices_and_failed_invoices_share_a_counter(
    world: World, clock: VirtualClock, connect: Callable[[Emulator], httpx.Client]
) -> None:
    client, headers = logged_in(world, clock, connect)
    session = world.sessions(world.taxpayers[0].context_id, clock.now())[0]
    url = f"/sessions/{session['referenceNumber']}"
    for _ in range(5):
        assert client.get(f"{url}/invoices", headers=headers).status_code == 200
        assert client.get(f"{url}/invoices/failed", headers=headers).status_code == 200
    assert client.get(f"{url}/invoices", headers=headers).status_code == 429


def logged_in(
    world: World, clock: VirtualClock, connect: Callable[[Emulator], httpx.Client]
) -> tuple[httpx.Client, Headers]:
    client, taxpayer = connect(Emulator(world, clock)), world.taxpayers[0]
    tokens = finish_login(client, start_token_login(client, taxpayer.token, taxpayer.context_id))
    return client, bearer(tokens["accessToken"]["token"])


def test_both_bodies_of_429_say_how_long_to_wait(
    world: World, clock: VirtualClock, connect: Callable[[Emulator], httpx.Client]
) -> None:
    client, headers = logged_in(world, clock, connect)
    query = {"sessionType": "Online"}
    for _ in range(10):
        client.get("/sessions", params=query, headers=headers)
        clock.sleep(1)
    answer = client.get("/sessions", params=query, headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "50")
    text = "Przekroczono limit 10 żądań na minutę. Spróbuj ponownie po 50 sekundach."
    expected = {"code": 429, "description": "Too Many Requests", "details": [text]}
    assert answer.json() == {"status": expected}
    clock.sleep(70)
    for _ in range(6):
        answer = client.get(
            "/sessions", params=query, headers={**headers, "X-Error-Format": "problem-details"}
        )
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["detail"].startswith("Przekroczono limit 5 żądań na sekundę.")


def test_long_waits_are_told_in_minutes_and_seconds() -> None:
    assert TooManyRequests(20, "godzinę", 3036).detail == (
        "Przekroczono limit 20 żądań na godzinę. Spróbuj ponownie po 50 minutach i 36 sekundach."
    )


def test_a_context_may_override_its_limits_and_return_to_the_default(
    client: httpx.Client, headers: Headers
) -> None:
    values = {**PRODUCTION, "sessionList": {"perSecond": 1, "perMinute": 2, "perHour": 3}}
    url = "/testdata/rate-limits"
    assert client.post(url, json={"rateLimits": values}, headers=headers).status_code == 200
    shown = client.get("/rate-limits", headers=headers).json()
    assert {**values, **{group: OFF[group] for group in FIXED}} == shown
    query = {"sessionType": "Online"}
    answers = [client.get("/sessions", params=query, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert client.post(f"{url}/production", headers=headers).status_code == 200
    shown = client.get("/rate-limits", headers=headers).json()
    assert {**PRODUCTION, **{group: OFF[group] for group in FIXED}} == shown
    assert client.delete(url, headers=headers).status_code == 200
    assert client.get("/rate-limits", headers=headers).json()["sessionList"]["perHour"] == -1


def test_an_incomplete_override_is_refused(client: httpx.Client, headers: Headers) -> None:
    bodies: list[dict[str, object]] = [
        {},
        {"rateLimits": {}},
        {"rateLimits": {**PRODUCTION, "other": {"perHour": "1"}}},
    ]
    for body in bodies:
        answer = client.post("/testdata/rate-limits", json=body, headers=headers)
        assert answer.status_code == 400


def test_login_routes_allow_sixty_requests_a_second_for_an_address(
    world: World, clock: VirtualClock, connect: Callable[[Emulator], httpx.Client]
) -> None:
    client = connect(Emulator(world, clock))
    answers = [client.post("/auth/challenge").status_code for _ in range(61)]
    assert answers == [200] * 60 + [429]


def test_there_are_seventeen_groups_and_the_one_of_all_operations_is_off(
    world: World, clock: VirtualClock, connect: Callable[[Emulator], httpx.Client]
) -> None:
    client, headers = logged_in(world, clock, connect)
    groups = client.get("/rate-limits", headers=headers).json()
    assert len(groups) == 17
    assert set(groups["global"].values()) == {-1}
    assert groups["anonymous"] == {"perSecond": 60, "perMinute": -1, "perHour": -1}


def test_the_global_limit_is_of_an_address_whoever_asks_for_whatever(
    world: World, clock: VirtualClock, connect: Callable[[Emulator], httpx.Client]
) -> None:
    limits = {"global": {"perSecond": -1, "perMinute": 12, "perHour": -1}}
    client = connect(Emulator(world, clock, limits))
    logins = []
    for taxpayer in world.taxpayers:
        started = start_token_login(client, taxpayer.token, taxpayer.context_id)
        headers = bearer(finish_login(client, started)["accessToken"]["token"])
        logins.append(headers)
    # The two logins took six requests each.
    refused = client.get("/rate-limits", headers=logins[0])
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    clock.sleep(61)
    assert client.get("/rate-limits", headers=logins[1]).status_code == 200
