"""The emulator against KSeF's own OpenAPI document, as `python -m tools.contract` keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from jsonschema import Draft4Validator  # type: ignore[import-untyped]
from schemathesis import Case, checks
from schemathesis.core.failures import Failure
from schemathesis.specs.openapi import checks as openapi_checks

from ksef_emulator import Emulator, ExportSettings, Fault, VirtualClock, World
from tests.emulator.exporting import Exporter
from tests.emulator.logging_in import NOW, SINCE, Headers, bearer, finish_login, start_token_login

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
def test_every_route_keeps_the_official_contract(case: Case[Any], tokens: dict[str, str]) -> None:
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


def test_receipts_keep_the_official_contract(client: httpx.Client, tokens: dict[str, str]) -> None:
    headers = bearer(tokens["access"])
    rows = APP.world.sessions(TAXPAYER.context_id, NOW)
    reference = next(r["referenceNumber"] for r in rows if r["status"]["code"] == 200)
    one = f"/sessions/{reference}"
    page = client.get(one, headers=headers).json()["upo"]["pages"][0]["referenceNumber"]
    invoice = client.get(f"{one}/invoices", headers=headers).json()["invoices"][0]
    paths = {
        f"upo/{page}": "upo/{upoReferenceNumber}",
        f"invoices/{invoice['referenceNumber']}/upo": "invoices/{invoiceReferenceNumber}/upo",
        f"invoices/ksef/{invoice['ksefNumber']}/upo": "invoices/ksef/{ksefNumber}/upo",
    }
    for path, template in paths.items():
        answer = client.get(f"{one}/{path}", headers=headers)
        assert answer.status_code == 200
        schema[f"/sessions/{{referenceNumber}}/{template}"]["GET"].validate_response(answer)


@pytest.mark.parametrize("outcome", [100, 200, 210, 410, 415, 420, 500, 550])
def test_every_status_of_an_export_keeps_the_official_contract(
    tokens: dict[str, str], outcome: Any
) -> None:
    outcomes = {1: outcome} if outcome in (100, 210, 500, 550) else {}
    settings = ExportSettings(cap=50, part_bytes=9_000, duration_s=1, outcomes=outcomes)
    clock = VirtualClock(NOW)
    app = Emulator(APP.world, clock, limits="off", exports=settings)
    with httpx.Client(base_url="http://t/v2", transport=httpx.WSGITransport(app)) as client:
        exporter = Exporter(client, bearer(tokens["access"]), clock)
        body = exporter.body()
        if outcome == 415:
            body["encryption"]["encryptedSymmetricKey"] = "AAAA"
        if outcome == 420:
            body["filters"]["dateRange"]["from"] = NOW.isoformat()
        started = client.post("/invoices/exports", json=body, headers=exporter.headers)
        schema["/invoices/exports"]["POST"].validate_response(started)
        clock.sleep(2)
        if outcome == 410:
            clock.sleep(7 * 86_400)
            again = start_token_login(client, TAXPAYER.token, TAXPAYER.context_id)
            exporter.headers = bearer(finish_login(client, again)["accessToken"]["token"])
        answer = exporter.poll(started.json()["referenceNumber"])
    schema["/invoices/exports/{referenceNumber}"]["GET"].validate_response(answer)
    assert outcome == (answer.status_code if outcome == 410 else answer.json()["status"]["code"])
    assert ("package" in answer.json()) == (outcome == 200)


def test_every_row_of_metadata_keeps_the_official_contract() -> None:
    row = {"$ref": "#/components/schemas/InvoiceMetadata"}
    validator = Draft4Validator({**row, "components": DOCUMENT["components"]})
    seen = 0
    for subject_type in ("Subject1", "Subject2", "Subject3", "SubjectAuthorized"):
        for metadata in APP.world.exported(TAXPAYER.context_id, subject_type, NOW)[:300]:
            validator.validate(metadata)
            seen += 1
    assert seen > 700


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
