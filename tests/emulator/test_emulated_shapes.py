"""Shapes of answers that the contract leaves open, as recorded of the real KSeF in January 2026."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from ksef_emulator import Emulator, ExportSettings, VirtualClock, World
from ksef_emulator.api.contract import operations
from ksef_emulator.clock import TICKS_PER_S, iso_ticks
from tests.emulator.exporting import Exporter
from tests.emulator.logging_in import NOW, Headers, bearer, finish_login, start_token_login
from tests.emulator.test_emulated_login import claims

PARAMETERS = ["skoid", "sktid", "skt", "ske", "sks", "skv", "sv", "st", "se", "sr", "sp", "sig"]


def test_the_tokens_of_a_login_claim_what_recorded_ones_do(
    client: httpx.Client, world: World, clock: VirtualClock
) -> None:
    taxpayer = world.taxpayers[0]
    started = start_token_login(client, taxpayer.token, taxpayer.context_id)
    first = claims(started.json()["authenticationToken"]["token"])
    assert list(first) == ["typ", "arn", "exp", "iat", "iss", "aud"]
    assert first["typ"] == "AuthenticationToken"
    clock.sleep(7)
    redeemed = finish_login(client, started)
    access, refresh = (claims(redeemed[name]["token"]) for name in ("accessToken", "refreshToken"))
    names = ["cit", "civ", "aum", "arn", "sud", "per", "pec", "rol", "pep", "iop"]
    assert list(access) == ["typ", *names, "exp", "iat", "iss", "aud"]
    assert list(refresh) == ["typ", "cit", "civ", "arn", "exp", "iat", "iss", "aud"]
    assert json.loads(str(access["sud"])) == {
        "subjectIdentifier": {"type": "Nip", "value": taxpayer.context_id},
        "commonName": taxpayer.name,
        "countryName": "PL",
        "organizationName": taxpayer.name,
        "organizationIdentifier": f"VATPL-{taxpayer.context_id}",
    }
    assert {access[name] for name in ("pec", "rol", "pep", "iop")} == {"[]"}
    spans = [token["exp"] - token["iat"] for token in (first, access, refresh)]  # type: ignore[operator]
    assert spans == [2_700, 900, 604_800]
    # Recorded: both hold from when the login began, not from when they were fetched.
    assert access["iat"] == refresh["iat"] == first["iat"] == int(NOW.timestamp())
    until = datetime.fromisoformat(redeemed["accessToken"]["validUntil"])
    assert until == NOW + timedelta(minutes=15)


def test_the_status_of_a_login_says_at_once_that_nothing_was_redeemed(
    client: httpx.Client, world: World
) -> None:
    taxpayer = world.taxpayers[0]
    started = start_token_login(client, taxpayer.token, taxpayer.context_id)
    headers = bearer(started.json()["authenticationToken"]["token"])
    url = f"/auth/{started.json()['referenceNumber']}"
    told = [client.get(url, headers=headers).json()["isTokenRedeemed"] for _ in range(2)]
    client.post("/auth/token/redeem", headers=headers)
    assert [*told, client.get(url, headers=headers).json()["isTokenRedeemed"]] == [0, 0, 1]


def test_last_pages_have_no_continuation_token(client: httpx.Client, headers: Headers) -> None:
    query: dict[str, str | int] = {"sessionType": "Online", "pageSize": 1000}
    sessions = client.get("/sessions", params=query, headers=headers).json()
    reference = sessions["sessions"][-1]["referenceNumber"]
    one = client.get(f"/sessions/{reference}/invoices", params=query, headers=headers).json()
    assert (list(sessions), list(one)) == (["sessions"], ["invoices"])


def assert_signed(url: str, path: str) -> None:
    parts = urlsplit(url)
    assert re.fullmatch(path, parts.path), parts.path
    query = dict(parse_qsl(parts.query, strict_parsing=True))
    assert list(query) == PARAMETERS
    assert re.fullmatch(r"[A-Za-z0-9+/]{43}=", query["sig"])
    assert query["skt"] < query["st"] < query["se"] < query["ske"]
    assert {"sks": "b", "sr": "b", "sp": "r"}.items() <= query.items()


def test_links_are_addressed_and_signed_as_recorded(
    client: httpx.Client, headers: Headers, world: World, make: Callable[..., Exporter]
) -> None:
    rows = world.sessions(world.taxpayers[0].context_id, NOW)
    reference = next(row["referenceNumber"] for row in rows if row["status"]["code"] == 200)
    session = client.get(f"/sessions/{reference}", headers=headers).json()
    lower = reference.lower()
    page = session["upo"]["pages"][0]["downloadUrl"]
    assert_signed(page, rf"/storage/01/{lower}/session-upo/upo_.{{36}}\.xml")
    listed = client.get(f"/sessions/{reference}/invoices", headers=headers).json()["invoices"]
    row = next(row for row in listed if "upoDownloadUrl" in row)
    upo = rf"/storage/01/{lower}/invoice-upo/upo_{row['ksefNumber']}\.xml"
    assert_signed(row["upoDownloadUrl"], upo)
    part = make(ExportSettings(duration_s=0)).package()["parts"][0]
    package = r"/storage/06/20260922-eh-[0-9a-f-]{24}/invoice-package/.{36}-001\.zip\.aes"
    assert_signed(part["url"], package)
    moved = part["url"].replace("/storage/06/", "/storage/01/")
    assert client.get(moved).status_code == 404


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(5_679_351, "5679351"), (6_851_560, "685156"), (5_000_000, "5"), (0, "0000000")],
)
def test_moments_have_up_to_seven_decimals_and_no_zeros_behind(fraction: int, text: str) -> None:
    assert iso_ticks(9 * TICKS_PER_S + fraction) == f"1970-01-01T00:00:09.{text}+00:00"


def test_keys_are_valid_from_and_to_whole_seconds(client: httpx.Client) -> None:
    for key in client.get("/security/public-key-certificates").json():
        for name in ("validFrom", "validTo"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", key[name])


@pytest.mark.parametrize("path", ["/auth/challenge", "/sessions", "/nowhere", "/auth/sessions"])
def test_every_answer_carries_the_headers_of_cloud_and_firewall(
    client: httpx.Client, path: str
) -> None:
    first, second = (client.post(path).headers for _ in range(2))
    ref = r"20260922T103000Z-16f7f96b84f[0-9a-z]{5}hC1WAW[0-9a-z]{4}0{6}[0-9a-z]{4}0{8}[0-9a-z]{4}"
    assert re.fullmatch(ref, first["X-Azure-Ref"])
    assert first["X-Azure-Ref"] != second["X-Azure-Ref"]
    assert first["Set-Cookie"].startswith("visid_incap_")
    kept = ("X-Cache", "Strict-Transport-Security", "X-CDN")
    told = [first[name] for name in kept]
    assert told == ["CONFIG_NOCACHE", "max-age=31536000", "Imperva"]


OPERATIONS = [(method, re.sub(r"{\w+}", "0" * 36, path)) for method, path, _ in operations()]


def test_an_operation_that_is_not_served_is_named_before_anybody_is_asked_who_they_are(
    client: httpx.Client, app: Emulator
) -> None:
    not_served = {}
    for method, path in OPERATIONS:
        answer = client.request(method, path)
        if answer.status_code == 501:
            not_served[method, path] = answer
    served = [route for route in app.routes if route.path.startswith("/v2/")]
    assert len(not_served) + len(served) == len(OPERATIONS)
    answer = not_served["GET", "/auth/sessions"]
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    told = answer.json()
    assert told["operation"] == "GET /auth/sessions"
    assert told["detail"] == (
        "The emulator does not serve GET /auth/sessions (Pobranie listy aktywnych sesji)."
    )
    assert (told["title"], told["status"]) == ("Not Implemented", 501)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: " ".join(operation))
def test_another_method_on_a_known_path_is_405_with_those_that_are_allowed(
    client: httpx.Client, operation: tuple[str, str]
) -> None:
    _, path = operation
    known = {method for method, other in OPERATIONS if other == path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - known:
        answer = client.request(method, path)
        assert answer.status_code == 405, method
        assert set(answer.headers["Allow"].split(", ")) - {"HEAD"} == known


@pytest.mark.parametrize("path", ["/nowhere", "/auth", "/sessions/1/2/3/4/5", "/tokens/1/2"])
def test_a_path_of_no_contract_is_404(client: httpx.Client, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert client.request(method, path).status_code == 404
