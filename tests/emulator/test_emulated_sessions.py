from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from werkzeug.test import Client

from ksef_emulator import Emulator, Quirks, VirtualClock, World
from tests.emulator.logging_in import NOW, Headers, bearer, finish_login, start_token_login

Login = Callable[[str, str], Headers]


def pages(
    client: httpx.Client, url: str, headers: Headers, **query: Any
) -> Iterator[dict[str, Any]]:
    token = ""
    while token is not None:
        page = client.get(url, params=query, headers={**headers, "x-continuation-token": token})
        assert page.status_code == 200, page.text
        yield page.json()
        token = page.json().get("continuationToken")


def listed(client: httpx.Client, headers: Headers, **query: Any) -> list[dict[str, Any]]:
    query = {"sessionType": "Online", "pageSize": 100, **query}
    return [
        row for page in pages(client, "/sessions", headers, **query) for row in page["sessions"]
    ]


def truth(world: World, session_type: str = "Online", at: datetime = NOW) -> list[dict[str, Any]]:
    rows = world.sessions(world.taxpayers[0].context_id, at)
    return [
        {name: value for name, value in row.items() if name != "sessionType"}
        for row in rows
        if row["sessionType"] == session_type
    ]


def codes(answer: httpx.Response) -> list[int]:
    details = answer.json()["exception"]["exceptionDetailList"]
    return [detail["exceptionCode"] for detail in details]


def largest(world: World) -> dict[str, Any]:
    succeeded = [row for row in truth(world, "Batch") if row["status"]["code"] == 200]
    return max(succeeded, key=lambda row: int(row["failedInvoiceCount"]))


@pytest.mark.parametrize("session_type", ["Online", "Batch"])
@pytest.mark.parametrize("page_size", [10, 37, 1000])
def test_all_pages_together_are_the_world(
    client: httpx.Client, headers: Headers, world: World, session_type: str, page_size: int
) -> None:
    rows = listed(client, headers, sessionType=session_type, pageSize=page_size)
    assert rows == truth(world, session_type)


def test_short_and_empty_pages_come_before_the_last_one_unless_switched_off(
    client: httpx.Client,
    connect: Callable[[Emulator], httpx.Client],
    headers: Headers,
    world: World,
    clock: VirtualClock,
) -> None:
    def lengths(of: httpx.Client) -> list[int]:
        found = pages(of, "/sessions", headers, sessionType="Online", pageSize=10)
        return [len(page["sessions"]) for page in found]

    assert {0, 6, 10} <= set(lengths(client)[:-1])
    even = Emulator(world, clock, limits="off", quirks=Quirks(short_pages=False))
    # Tokens are signed by the seed, so another emulator of this world accepts the login.
    assert set(lengths(connect(even))[:-1]) == {10}


def test_invoices_and_failed_invoices_are_the_world(
    client: httpx.Client, headers: Headers, world: World
) -> None:
    reference = largest(world)["referenceNumber"]
    nip = world.taxpayers[0].context_id
    expected = {
        "invoices": world.invoices(nip, reference, NOW),
        "invoices/failed": world.failed_invoices(nip, reference, NOW),
    }
    for path, rows in expected.items():
        found = [
            {name: value for name, value in row.items() if not name.startswith("upo")}
            for page in pages(client, f"/sessions/{reference}/{path}", headers, pageSize=50)
            for row in page["invoices"]
        ]
        assert found == rows
    assert len(expected["invoices/failed"]) > 10


def test_one_invoice_is_shown_as_in_the_list(
    client: httpx.Client, headers: Headers, world: World
) -> None:
    url = f"/sessions/{largest(world)['referenceNumber']}/invoices"
    row = client.get(url, headers=headers).json()["invoices"][3]
    assert client.get(f"{url}/{row['referenceNumber']}", headers=headers).json() == row
    unknown = client.get(f"{url}/20260907-EE-0000000000-0000000000-00", headers=headers)
    assert codes(unknown) == [21405]


def test_links_are_signed_anew_on_each_poll(
    client: httpx.Client, headers: Headers, world: World, clock: VirtualClock
) -> None:
    row = next(row for row in truth(world) if row["status"]["code"] == 200)
    url = f"/sessions/{row['referenceNumber']}"
    first = client.get(url, headers=headers).json()["upo"]["pages"][0]
    clock.sleep(1)
    second = client.get(url, headers=headers).json()["upo"]["pages"][0]
    assert first["referenceNumber"] == second["referenceNumber"]
    assert first["downloadUrl"] != second["downloadUrl"]


def test_a_session_leaves_out_zero_counters_and_has_a_upo_only_when_it_succeeded(
    client: httpx.Client, headers: Headers, world: World
) -> None:
    for row in truth(world) + truth(world, "Batch"):
        shown = client.get(f"/sessions/{row['referenceNumber']}", headers=headers).json()
        assert shown["status"] == row["status"]
        assert shown.get("invoiceCount", 0) == row["totalInvoiceCount"]
        assert 0 not in (shown.get("successfulInvoiceCount"), shown.get("failedInvoiceCount"))
        assert ("upo" in shown) == (row["status"]["code"] == 200)


@pytest.mark.parametrize("name", ["dateCreated", "dateModified", "dateClosed"])
def test_date_filters_cut_the_list_at_both_ends(
    client: httpx.Client, headers: Headers, world: World, name: str
) -> None:
    low, high = NOW - timedelta(days=9), NOW - timedelta(days=4)
    query = {f"{name}From": low.isoformat(), f"{name}To": high.isoformat()}
    found = listed(client, headers, **query)
    field = "dateCreated" if name == "dateCreated" else "dateUpdated"
    if name == "dateClosed":
        # A session is closed before its last status, an open one never.
        assert all(row["dateCreated"] <= high.isoformat() for row in found)
        assert 0 < len(found) < len(truth(world))
    else:
        expected = [r for r in truth(world) if low <= datetime.fromisoformat(r[field]) <= high]
        assert found == expected


def test_bounds_are_inclusive_by_setting(
    client: httpx.Client,
    connect: Callable[[Emulator], httpx.Client],
    headers: Headers,
    world: World,
    clock: VirtualClock,
) -> None:
    row = truth(world)[20]
    query = {"dateModifiedFrom": row["dateUpdated"], "dateModifiedTo": row["dateUpdated"]}
    exclusive = Emulator(world, clock, limits="off", quirks=Quirks(inclusive_bounds=False))
    assert row in listed(client, headers, **query)
    assert listed(connect(exclusive), headers, **query) == []


def test_statuses_may_be_repeated_and_split_the_list(
    client: httpx.Client, headers: Headers, world: World
) -> None:
    names = ["InProgress", "Succeeded", "Failed", "Cancelled"]
    apart = [row for name in names for row in listed(client, headers, statuses=name)]
    assert sorted(r["referenceNumber"] for r in apart) == sorted(
        r["referenceNumber"] for r in truth(world)
    )
    assert {r["status"]["code"] for r in listed(client, headers, statuses=names[2:])} == {
        415,
        440,
        445,
    }


def test_a_reference_number_finds_one_session(
    client: httpx.Client, headers: Headers, world: World
) -> None:
    row = truth(world)[7]
    assert listed(client, headers, referenceNumber=row["referenceNumber"]) == [row]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({}, "The SessionType field is required."),
        ({"sessionType": "online"}, "The value 'online' is not valid for SessionType."),
        (
            {"sessionType": "Batch", "statuses": "Open"},
            "The value 'Open' is not valid for Statuses.",
        ),
        (
            {"sessionType": "Batch", "pageSize": "many"},
            "The value 'many' is not valid for PageSize.",
        ),
        (
            {"sessionType": "Batch", "pageSize": "1001"},
            "'pageSize' must be between 10 and 1000. You entered 1001.",
        ),
        (
            {"sessionType": "Batch", "dateCreatedFrom": "2026-09-07T00:00:00 02:00"},
            "The value '2026-09-07T00:00:00 02:00' is not valid for DateCreatedFrom.",
        ),
        (
            {"sessionType": "Batch", "referenceNumber": "1"},
            "'referenceNumber' is not in the correct format.",
        ),
    ],
)
def test_bad_parameters_are_refused_in_net_words(
    client: httpx.Client, headers: Headers, query: dict[str, str], detail: str
) -> None:
    answer = client.get("/sessions", params=query, headers=headers)
    assert answer.status_code == 400
    assert codes(answer) == [21405]
    assert answer.json()["exception"]["exceptionDetailList"][0]["details"] == [detail]


def test_all_bad_parameters_are_told_at_once(client: httpx.Client, headers: Headers) -> None:
    query = {"dateCreatedTo": "soon", "dateModifiedFrom": "now", "statuses": "Open"}
    query["pageSize"] = "9"
    answer = client.get("/sessions", params=query, headers=headers)
    assert codes(answer) == [21405]
    assert answer.json()["exception"]["exceptionDetailList"][0]["details"] == [
        "The SessionType field is required.",
        "The value 'Open' is not valid for Statuses.",
        "The value 'soon' is not valid for DateCreatedTo.",
        "The value 'now' is not valid for DateModifiedFrom.",
        "'pageSize' must be between 10 and 1000. You entered 9.",
    ]


@pytest.mark.parametrize("token", ["nonsense", b64encode(b"[]").decode(), "W3sidG9rZW4iOiIifV0="])
def test_a_damaged_continuation_token_is_21418(
    client: httpx.Client, headers: Headers, token: str
) -> None:
    answer = client.get(
        "/sessions",
        params={"sessionType": "Online"},
        headers={**headers, "x-continuation-token": token},
    )
    assert codes(answer) == [21418]


def test_a_continuation_token_looks_like_a_cosmos_one_and_holds_for_its_endpoint_only(
    client: httpx.Client, headers: Headers, world: World
) -> None:
    page = next(pages(client, "/sessions", headers, sessionType="Online"))
    token = page["continuationToken"]
    assert b64decode(token).startswith(b'[{"token": "+RID:~')
    url = f"/sessions/{largest(world)['referenceNumber']}/invoices"
    answer = client.get(url, headers={**headers, "x-continuation-token": token})
    assert codes(answer) == [21418]


def references(page: dict[str, Any]) -> list[str]:
    return [row["referenceNumber"] for row in page["sessions"]]


def test_there_is_no_snapshot_so_a_new_session_shows_one_twice(
    client: httpx.Client, login: Login, world: World, clock: VirtualClock
) -> None:
    newest = datetime.fromisoformat(truth(world, at=NOW + timedelta(days=2))[0]["dateCreated"])
    clock.sleep((newest - NOW).total_seconds() - 1)
    headers = login(world.taxpayers[0].token, world.taxpayers[0].context_id)
    walk = pages(client, "/sessions", headers, sessionType="Online", pageSize=10)
    before = references(next(walk))
    clock.sleep(2)
    assert before[-1] in [reference for page in walk for reference in references(page)]


def test_there_is_no_snapshot_so_sessions_that_leave_the_filter_hide_others(
    connect: Callable[[Emulator], httpx.Client], clock: VirtualClock
) -> None:
    busy = World(seed=7, since=NOW - timedelta(days=1), sessions_per_day=400, largest_session=30)
    client, taxpayer = connect(Emulator(busy, clock, limits="off")), busy.taxpayers[0]
    tokens = finish_login(client, start_token_login(client, taxpayer.token, taxpayer.context_id))
    headers = bearer(tokens["accessToken"]["token"])
    query = {"sessionType": "Online", "statuses": "InProgress", "pageSize": 10}
    before = [r for page in pages(client, "/sessions", headers, **query) for r in references(page)]
    walk = pages(client, "/sessions", headers, **query)
    seen = references(next(walk))
    clock.sleep(600)
    seen += [reference for page in walk for reference in references(page)]
    after = [r for page in pages(client, "/sessions", headers, **query) for r in references(page)]
    assert set(before) & set(after) - set(seen)


def test_sessions_of_others_do_not_exist(
    client: httpx.Client, headers: Headers, world: World
) -> None:
    foreign = world.sessions(world.taxpayers[1].context_id, NOW)[0]["referenceNumber"]
    for reference in (foreign, "20260907-SO-0000000000-0000000000-00", "x" * 36):
        for path in ("", "/invoices", "/invoices/failed"):
            answer = client.get(f"/sessions/{reference}{path}", headers=headers)
            assert answer.status_code == 400
            assert codes(answer) == [21173]


def test_a_session_does_not_exist_before_it_is_opened(
    client: httpx.Client, headers: Headers, world: World
) -> None:
    later = truth(world, at=NOW + timedelta(days=1))[0]["referenceNumber"]
    assert codes(client.get(f"/sessions/{later}", headers=headers)) == [21173]


def test_invoice_write_alone_sees_silently_its_own_sessions_only(
    client: httpx.Client, login: Login, world: World
) -> None:
    taxpayer = world.taxpayers[0]
    writer = login(taxpayer.write_only_token, taxpayer.context_id)
    visible = listed(client, writer)
    assert 0 < len(visible) < len(truth(world))
    hidden = next(row for row in truth(world) if row not in visible)
    answer = client.get(f"/sessions/{hidden['referenceNumber']}", headers=writer)
    assert answer.status_code == 403
    assert answer.json()["reasonCode"] == "insufficient-resource-access"


def test_a_token_without_the_permission_is_told_which_it_needs(
    client: httpx.Client, login: Login, world: World
) -> None:
    taxpayer = world.taxpayers[0]
    reader = login(taxpayer.read_only_token, taxpayer.context_id)
    answer = client.get("/sessions", params={"sessionType": "Online"}, headers=reader)
    assert answer.status_code == 403
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["reasonCode"] == "missing-permissions"
    assert answer.json()["security"] == {
        "requiredAnyOfPermissions": ["InvoiceWrite", "Introspection", "EnforcementOperations"],
        "presentPermissions": ["InvoiceRead"],
    }


def test_errors_come_as_escaped_json_or_as_problem_details(
    client: httpx.Client, headers: Headers
) -> None:
    plain = client.get("/sessions", headers=headers)
    assert plain.headers["Content-Type"].startswith("application/json")
    assert r"B\u0142\u0105d walidacji danych wej\u015Bciowych." in plain.text
    problem = client.get("/sessions", headers={**headers, "X-Error-Format": "problem-details"})
    assert problem.headers["Content-Type"].startswith("application/problem+json")
    assert problem.json()["errors"] == [
        {
            "code": 21405,
            "description": "Błąd walidacji danych wejściowych.",
            "details": ["The SessionType field is required."],
        }
    ]


def test_answers_carry_the_emulators_date_and_a_forced_warning_in_ascii(app: Emulator) -> None:
    warning = "[xml-002]: zażółć gęślą jaźń".encode().decode("latin-1")
    answer = Client(app).post("/v2/auth/challenge", headers={"X-Test-System-Warning": warning})
    assert answer.headers["X-System-Warning"] == "[xml-002]: zazolc gesla jazn"
    assert answer.headers["Date"] == "Tue, 22 Sep 2026 10:30:00 GMT"


def test_unknown_routes_and_methods_have_an_empty_body(client: httpx.Client) -> None:
    assert (client.get("/nothing").status_code, client.get("/nothing").content) == (404, b"")
    assert (client.put("/sessions").status_code, client.put("/sessions").content) == (405, b"")


def test_served_requests_can_be_looked_at(
    app: Emulator, client: httpx.Client, headers: Headers, world: World
) -> None:
    client.get(f"/sessions/{largest(world)['referenceNumber']}/invoices", headers=headers)
    served = app.requests[-1]
    assert (served.method, served.route, served.group, served.status) == (
        "GET",
        "/v2/sessions/<reference>/invoices",
        "sessionInvoiceList",
        200,
    )
    assert served.context_id == world.taxpayers[0].context_id
