"""The emulator against KSeF's own OpenAPI document (2.7.0), trimmed to the routes it serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from logging_in import NOW, SINCE, Headers, bearer, finish_login, start_token_login
from schemathesis import Case, checks
from schemathesis.core.failures import Failure
from schemathesis.specs.openapi import checks as openapi_checks

from ksef_emulator import Emulator, Fault, VirtualClock, World

DOCUMENT = json.loads(
    (Path(__file__).parents[1] / "data" / "ksef-openapi.json").read_text(encoding="utf-8")
)
CHECKED = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.negative_data_rejection,
    openapi_checks.ignored_auth,
]

APP = Emulator(World(seed=7, since=SINCE, largest_session=300), VirtualClock(NOW), limits="off")
TAXPAYER = APP.world.taxpayers[0]
schema = schemathesis.openapi.from_dict(DOCUMENT)
schema.app = APP
schema.location = "/v2/openapi.json"


@pytest.fixture(scope="module")
def tokens() -> dict[str, str]:
    """Tokens of one login: operation, access, refresh."""
    with httpx.Client(base_url="http://t/v2", transport=httpx.WSGITransport(APP)) as client:
        started = start_token_login(client, TAXPAYER.token, TAXPAYER.context_id)
        redeemed = finish_login(client, started)
    return {
        "operation": started.json()["authenticationToken"]["token"],
        "access": redeemed["accessToken"]["token"],
        "refresh": redeemed["refreshToken"]["token"],
    }


def headers_for(path: str, tokens: dict[str, str]) -> Headers:
    if path == "/auth/token/refresh":
        return bearer(tokens["refresh"])
    return bearer(tokens["operation" if path.startswith("/auth/") else "access"])


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_route_keeps_the_official_contract(case: Case, tokens: dict[str, str]) -> None:
    # A generated POST /testdata/rate-limits would throttle all that follows.
    APP.limits.override(TAXPAYER.context_id, None)
    headers = headers_for(case.operation.path, tokens)
    case.call_and_validate(headers=headers, checks=CHECKED)


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(base_url="http://t/v2", transport=httpx.WSGITransport(APP)) as connected:
        yield connected


def test_every_session_and_invoice_of_the_world_keeps_the_official_contract(
    client: httpx.Client, tokens: dict[str, str]
) -> None:
    seen = set()

    def checked(path: str, **values: str) -> Any:
        answer = client.get(path.format(**values), headers=bearer(tokens["access"]))
        schema[path.partition("?")[0]]["GET"].validate_response(answer)
        return answer.json()

    for session_type in ("Online", "Batch"):
        query = f"?sessionType={session_type}&pageSize=1000"
        for row in checked(f"/sessions{query}")["sessions"]:
            reference = row["referenceNumber"]
            seen.add((session_type, row["status"]["code"]))
            one = "/sessions/{referenceNumber}"
            checked(one, referenceNumber=reference)
            invoices = checked(f"{one}/invoices?pageSize=1000", referenceNumber=reference)
            checked(f"{one}/invoices/failed?pageSize=1000", referenceNumber=reference)
            for invoice in invoices["invoices"][:1]:
                checked(
                    f"{one}/invoices/{{invoiceReferenceNumber}}",
                    referenceNumber=reference,
                    invoiceReferenceNumber=invoice["referenceNumber"],
                )
    assert len(seen) > 12


@pytest.mark.parametrize("error_format", ["", "problem-details"])
@pytest.mark.parametrize("kind", ["429", "21173", "21184"])
def test_refusals_keep_the_official_contract_in_both_formats(
    tokens: dict[str, str], kind: Any, error_format: str
) -> None:
    app = Emulator(APP.world, APP.clock, faults=[Fault(kind)])
    headers = {**bearer(tokens["access"]), "X-Error-Format": error_format}
    with httpx.Client(base_url="http://t/v2", transport=httpx.WSGITransport(app)) as client:
        answer = client.get(f"/sessions/{'0' * 36}", headers=headers)
    assert answer.status_code >= 400
    schema["/sessions/{referenceNumber}"]["GET"].validate_response(answer)


def test_the_check_bites() -> None:
    app = Emulator(APP.world, APP.clock, faults=[Fault("missing-field", field="challenge")])
    with httpx.Client(base_url="http://t/v2", transport=httpx.WSGITransport(app)) as client:
        answer = client.post("/auth/challenge")
    with pytest.raises(Failure, match='"challenge" is a required property'):
        schema["/auth/challenge"]["POST"].validate_response(answer)
