"""The client against the emulator: the official contract, login, limits, faults."""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from ksef_emulator import Fault, VirtualClock
from ksef_emulator.emulator import Served
from ksef_emulator.faults import Kind
from kseflow.api.address import base_url_of
from kseflow.api.client import KsefClient
from kseflow.api.credentials import CertificateCredentials, Credentials, TokenCredentials
from kseflow.api.gateway import Gateway
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.context import Context
from kseflow.errors import (
    AccessDenied,
    ConfigurationError,
    ContractViolation,
    LoginFailed,
    OutOfTime,
    RequestRejected,
    Unavailable,
)
from tests.conftest import Stage
from tests.simulation import Asking, asking

CONTRACT = json.loads((Path(__file__).parent / "data" / "ksef-openapi.json").read_text("utf-8"))
Connect = Callable[..., tuple[Asking, Stage]]


@pytest.fixture
def connected(stage: Callable[..., Stage]) -> Iterator[Connect]:
    """Make a client of the first taxpayer, with the stage it talks to."""
    with ExitStack() as stack:

        def connect(*, max_time_s: float | None = None, **shape: Any) -> tuple[Asking, Stage]:
            made = stage(**shape)
            base_url = stack.enter_context(made.served())
            box = TimeBox(SimulatedClock(made.clock), max_time_s)
            client = KsefClient(base_url, made.logins()[0], clock=box)
            return stack.enter_context(asking(client)), made

        yield connect


@contextmanager
def another(client: Asking, credentials: Credentials, clock: VirtualClock) -> Iterator[Asking]:
    """Make a client with other credentials or another clock, of the same emulator."""
    box = TimeBox(SimulatedClock(clock))
    with asking(KsefClient(client.base_url, credentials, clock=box)) as other:
        yield other


def online_sessions(client: Asking) -> list[dict[str, Any]]:
    return [item for page in client.sessions("Online") for item in page.items]


# -- the official contract ----------------------------------------------------------------------


def schema_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "components": CONTRACT["components"]}


def complaints(request: Served) -> list[str]:
    """Say what the official contract has against one request."""
    operation = next(
        methods[request.method.lower()]
        for path, methods in CONTRACT["paths"].items()
        if re.fullmatch("/v2" + re.sub(r"\{\w+\}", "[0-9A-Z-]{36}", path), request.path)
    )
    found = []
    declared = {(p["in"], p["name"].lower()): p for p in operation.get("parameters", [])}
    sent = parse_qsl(request.query, keep_blank_values=True)
    for name, text in sent:
        parameter = declared.get(("query", name.lower()))
        if parameter is None:
            found.append(f"unknown query parameter {name}")
            continue
        value = int(text) if parameter["schema"].get("type") == "integer" else text
        validator = jsonschema.Draft4Validator(
            schema_of(parameter["schema"]), format_checker=jsonschema.FormatChecker()
        )
        found += [error.message for error in validator.iter_errors(value)]
    for (place, name), parameter in declared.items():
        if (
            place == "query"
            and parameter.get("required")
            and name not in dict(sent) | {key.lower(): value for key, value in sent}
        ):
            found.append(f"required query parameter {name} is missing")
    if "security" in operation and not request.headers.get("Authorization", "").startswith(
        "Bearer "
    ):
        found.append("no bearer token")
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        if not request.headers.get("Content-Type", "").startswith(kind):
            found.append(f"the body is not {kind}")
        elif kind == "application/json":
            validator = jsonschema.Draft4Validator(schema_of(media["schema"]))
            found += [e.message for e in validator.iter_errors(json.loads(request.body))]
    return found


def test_every_request_of_a_load_keeps_the_official_contract(stage: Callable[..., Stage]) -> None:
    made = stage(limits="production", days=1, faults=[Fault("500", path="/invoices", nth=2)])
    made.load()
    routes = {request.route for request in made.app.requests}
    assert {"/sessions", "/auth/ksef-token"} <= {route.removeprefix("/v2") for route in routes}
    assert [c for request in made.app.requests for c in complaints(request)] == []


def test_a_page_is_always_asked_for_at_its_largest(stage: Callable[..., Stage]) -> None:
    made = stage()
    made.load_frozen()
    lists = [r for r in made.app.requests if r.group in ("sessionList", "sessionInvoiceList")]
    assert lists
    assert {dict(parse_qsl(request.query))["pageSize"] for request in lists} == {"1000"}


def test_each_endpoint_gives_what_the_world_knows(connected: Connect) -> None:
    client, made = connected(limits="production")
    context = made.contexts[0]
    truth = made.world.sessions(context.id, made.clock.now())
    online = [item for item in truth if item["sessionType"] == "Online"]
    assert [item["referenceNumber"] for item in online_sessions(client)] == [
        item["referenceNumber"] for item in online
    ]
    listed = (item for item in truth if item["successfulInvoiceCount"])
    session = next(item for item in listed if item["failedInvoiceCount"] > 1)
    reference = session["referenceNumber"]
    assert client.session(reference)["failedInvoiceCount"] == session["failedInvoiceCount"]
    invoices = [i for page in client.session_invoices(reference) for i in page.items]
    failed = [i for page in client.failed_invoices(reference) for i in page.items]
    assert len(invoices) == session["totalInvoiceCount"]
    assert {i["referenceNumber"] for i in failed} == {
        i["referenceNumber"] for i in invoices if i["status"]["code"] > 200
    }
    one = client.session_invoice(reference, failed[0]["referenceNumber"])
    assert one["status"] == failed[0]["status"]
    assert client.rate_limits()["sessionInvoiceList"] == (10, 20, 200)
    assert {"publicKeyId", "certificate"} <= client.public_key_certificates()[0].keys()


# -- login --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa", "ec", "pkcs12"])
def test_a_certificate_logs_in(connected: Connect, tmp_path: Path, kind: str) -> None:
    client, made = connected()
    files = next(
        f for f in made.app.certificate_files(tmp_path)[client.context.id] if f.kind == kind
    )
    credentials = CertificateCredentials.from_files(
        client.context,
        files.certificate,
        private_key=None if kind == "pkcs12" else files.key,
        password=files.password,
    )
    with another(client, credentials, made.clock) as signed:
        assert online_sessions(signed) == online_sessions(client)


@pytest.mark.parametrize("kind", ["rsa", "pkcs12"])
def test_a_wrong_key_password_is_told_before_anything_is_sent(
    connected: Connect, tmp_path: Path, kind: str
) -> None:
    client, made = connected()
    files = next(
        f for f in made.app.certificate_files(tmp_path)[client.context.id] if f.kind == kind
    )
    with pytest.raises(ConfigurationError, match="password is wrong"):
        CertificateCredentials.from_files(
            client.context,
            files.certificate,
            private_key=None if kind == "pkcs12" else files.key,
            password="guess",
        )


@pytest.mark.parametrize(
    ("token", "details"), [("expired_token", "450"), ("revoked_token", "Token unieważniony")]
)
def test_a_token_that_ended_is_refused_with_ksefs_reason_and_a_remedy(
    connected: Connect, token: str, details: str
) -> None:
    client, made = connected()
    secret = getattr(made.world.taxpayers[0], token)
    with (
        another(client, TokenCredentials(client.context, secret), made.clock) as stale,
        pytest.raises(LoginFailed, match=details) as refused,
    ):
        online_sessions(stale)
    assert "Make a new token" in str(refused.value)
    assert secret not in str(refused.value)


def test_the_access_token_is_refreshed_before_it_ends_without_a_new_login(
    connected: Connect,
) -> None:
    client, made = connected()
    online_sessions(client)
    made.clock.sleep(14.5 * 60)
    online_sessions(client)
    asked = [request.route for request in made.app.requests]
    assert asked.count("/v2/auth/token/refresh") == 1
    assert asked.count("/v2/auth/challenge") == 1
    assert 401 not in {request.status for request in made.app.requests}


def test_a_login_that_ksef_revoked_is_made_anew(connected: Connect) -> None:
    client, made = connected()
    online_sessions(client)
    made.app.revoke_logins()
    made.clock.sleep(16 * 60)
    assert online_sessions(client)
    assert [r.route for r in made.app.requests].count("/v2/auth/token/redeem") == 2


def test_a_lost_answer_to_redeem_costs_a_new_login_and_never_a_second_redeem(
    connected: Connect,
) -> None:
    client, made = connected(faults=[Fault("dropped", path="/redeem")])
    assert online_sessions(client)
    logins = [r for r in made.app.requests if r.route == "/v2/auth/token/redeem"]
    assert len({r.headers["Authorization"] for r in logins}) == len(logins) == 2


def test_a_key_withdrawn_during_the_login_is_fetched_anew(connected: Connect) -> None:
    client, made = connected()
    before = [key["publicKeyId"] for key in client.public_key_certificates()]
    rotated: list[bool] = []

    class Rotating(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/auth/ksef-token") and not rotated:
                rotated.append(True)
                made.app.rotate_keys()
            return await super().handle_async_request(request)

    box = TimeBox(SimulatedClock(made.clock))
    gateway = Gateway(client.base_url, box, transport=Rotating())
    with asking(KsefClient(gateway, made.logins()[0])) as late:
        assert online_sessions(late)
    assert rotated
    assert [key["publicKeyId"] for key in client.public_key_certificates()] != before


def test_the_permissions_of_the_login_are_known(connected: Connect) -> None:
    client, _ = connected()
    assert client.permissions is None
    online_sessions(client)
    assert "Introspection" in client.permissions  # type: ignore[operator]  # known by now


def test_ksefs_clock_is_used_where_ours_is_wrong(connected: Connect) -> None:
    client, made = connected()
    wrong = VirtualClock(made.clock.now() - timedelta(days=400))
    with another(client, made.logins()[0], wrong) as skewed:
        assert online_sessions(skewed)
        assert abs(skewed.now() - made.clock.now()) < timedelta(seconds=10)
        online_sessions(skewed)
    assert [r.route for r in made.app.requests].count("/v2/auth/token/refresh") == 0


# -- limits -------------------------------------------------------------------------------------


def test_a_healthy_client_never_sees_a_429(connected: Connect) -> None:
    client, made = connected(limits="production", short_pages=False)
    sent_at = []
    for _ in range(130):
        online_sessions(client)
        sent_at.append(made.clock.now())
    assert 429 not in {request.status for request in made.app.requests}
    assert client.spending["sessionList"].request_count == 130
    assert client.spending["sessionList"].waited_s > 3600
    hours = (sent_at[-1] - sent_at[0]) / timedelta(hours=1)
    assert hours < 2.1, "the budget of 60 an hour must be used to the full"


@pytest.mark.parametrize("retry_after_s", [0, 7, 3037])
def test_a_429_is_waited_out_by_its_header_plus_one_second(
    connected: Connect, retry_after_s: int
) -> None:
    fault = Fault("429", path="/sessions$", retry_after_s=retry_after_s)
    client, made = connected(faults=[fault])
    client.rate_limits()
    began = made.clock.now()
    assert online_sessions(client)
    waited_s = (made.clock.now() - began).total_seconds()
    assert retry_after_s + 1 <= waited_s < retry_after_s + 10
    assert client.spending["sessionList"].throttled_count == 1


def test_a_429_longer_than_the_time_box_ends_it_at_once(connected: Connect) -> None:
    fault = Fault("429", path="/sessions$", retry_after_s=3000)
    client, made = connected(faults=[fault], max_time_s=600)
    with pytest.raises(OutOfTime) as over:
        online_sessions(client)
    assert over.value.wait_s == 3001
    assert made.clock.now() < made.at + timedelta(minutes=1)


def test_a_429_blocks_its_group_for_all_that_ask_and_no_other_group(connected: Connect) -> None:
    fault = Fault("429", path="/sessions$", retry_after_s=900)
    client, made = connected(faults=[fault])
    client.rate_limits()

    async def both() -> tuple[float, float]:
        lists = [asyncio.ensure_future(anext(client.client.sessions("Online"))) for _ in range(2)]
        await asyncio.sleep(1)
        delay_s = client.windows.delay_s("sessionList")
        await client.client.rate_limits()
        other_s = (made.clock.now() - made.at).total_seconds()
        await asyncio.gather(*lists)
        return delay_s, other_s

    delay_s, other_s = client.wait(both())
    assert delay_s == pytest.approx(900, abs=5)
    assert other_s < 60
    assert (made.clock.now() - made.at).total_seconds() > 900
    assert [r.status for r in made.app.requests].count(429) == 1


# -- faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["500", "502", "dropped", "truncated", "21184", "21173"])
def test_what_passes_is_tried_again_with_doubled_waits(connected: Connect, kind: Kind) -> None:
    client, made = connected(faults=[Fault(kind, path="/sessions$", times=3)])
    client.rate_limits()
    assert online_sessions(client)
    assert client.spending["sessionList"].retry_count == 3
    tries = [r.at for r in made.app.requests if r.route == "/v2/sessions"][:4]
    gaps = [(after - before).total_seconds() for before, after in pairwise(tries)]
    assert gaps == pytest.approx([1, 2, 4], abs=0.5)


@pytest.mark.parametrize("kind", ["500", "502", "dropped", "truncated"])
def test_what_does_not_pass_ends_as_unavailable(connected: Connect, kind: Kind) -> None:
    client, _ = connected(faults=[Fault(kind, path="/sessions$", times=99)])
    with pytest.raises(Unavailable, match="after 5 tries"):
        online_sessions(client)


def test_a_session_that_stays_unknown_is_a_rejection_with_ksefs_code(connected: Connect) -> None:
    client, _ = connected()
    with pytest.raises(RequestRejected, match="KSeF does not know this session") as rejected:
        list(client.session_invoices("20261117-SO-0000000000-0000000000-00"))
    assert rejected.value.codes == (21173,)


def test_the_firewall_is_not_argued_with(connected: Connect) -> None:
    client, _ = connected(faults=[Fault("403-waf", path="/sessions$", times=9)])
    with pytest.raises(AccessDenied, match="blocked"):
        online_sessions(client)
    assert client.spending["sessionList"].request_count == 1


def test_an_answer_that_is_no_json_says_so(connected: Connect) -> None:
    client, _ = connected(faults=[Fault("not-json", path="/sessions$")])
    with pytest.raises(ContractViolation, match="instead of JSON"):
        online_sessions(client)


def test_a_missing_permission_is_named(connected: Connect) -> None:
    client, made = connected()
    reader = TokenCredentials(client.context, made.world.taxpayers[0].read_only_token)
    with (
        another(client, reader, made.clock) as refused,
        pytest.raises(AccessDenied, match="Introspection"),
    ):
        online_sessions(refused)


def test_neither_tokens_nor_bearers_reach_the_log(
    connected: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client, made = connected(faults=[Fault("500", times=4), Fault("429", path="/sessions$")])
    online_sessions(client)
    bearers = {r.headers.get("Authorization", "Bearer -")[7:] for r in made.app.requests}
    secrets = {made.world.taxpayers[0].token, *bearers} - {"-"}
    assert caplog.text
    assert not [secret for secret in secrets if secret in caplog.text]
    assert not [secret for secret in secrets if secret in repr((client, made.logins()))]


# -- what is refused before anything is sent ----------------------------------------------------


def test_environments_have_names() -> None:
    assert base_url_of("test") == "https://api-test.ksef.mf.gov.pl/v2"


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ("prod", "unknown environment 'prod'; use production, demo, test"),
        ("http://ksef.example.com/v2", "plain HTTP"),
        ("ftp://127.0.0.1/v2", "unknown environment"),
    ],
)
def test_an_environment_that_cannot_be_is_refused(environment: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        base_url_of(environment)


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("Nip", "5265877634", "wrong checksum"),
        ("Nip", "526-587-76-35", "not a valid Nip"),
        ("InternalId", "5265877635", "not a valid InternalId"),
        ("Pesel", "12345678901", "no context type"),
    ],
)
def test_a_mistyped_taxpayer_is_refused(kind: str, value: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Context(kind, value)
