"""kseflow doctor names what KSeF's OpenAPI document has and this release was not written for."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Response

from ksef_emulator import Emulator, VirtualClock, World, serve
from kseflow.clock import SimulatedClock
from kseflow.errors import ContractViolation
from kseflow.watch.doctor.contract import DOCUMENT as DOCUMENT_PATH
from kseflow.watch.doctor.contract import ENDPOINTS, contract_of, examine_contract, written_for
from kseflow.watch.finding import Finding, State
from tests.conftest import TUESDAY

Document = dict[str, Any]
DOCUMENT: Document = json.loads((Path(__file__).parent / "data" / "ksef-openapi.json").read_text())


def served(document: Document | str | None) -> Finding:
    """Examine an emulator that serves a document beside the API, or another page."""
    app = Emulator(World(seed=7, taxpayers=1, since=TUESDAY), VirtualClock(TUESDAY))
    beside = (
        Response(document, content_type="text/html")
        if isinstance(document, str)
        else Response(json.dumps(document), content_type="application/json")
    )
    both = DispatcherMiddleware(app, {} if document is None else {DOCUMENT_PATH: beside})
    with serve(both) as base_url:
        return examine_contract(base_url, SimulatedClock(VirtualClock(TUESDAY)))


def schema(document: Document, name: str) -> Document:
    found: Document = document["components"]["schemas"][name]
    return found


def a_new_field(document: Document) -> None:
    schema(document, "SessionInvoiceStatusResponse")["properties"]["moon"] = {"type": "string"}


def a_field_gone(document: Document) -> None:
    del schema(document, "SessionsQueryResponseItem")["properties"]["failedInvoiceCount"]


def another_type(document: Document) -> None:
    schema(document, "SessionsQueryResponseItem")["properties"]["dateUpdated"] = {"type": "integer"}


def a_required_field_that_may_lack(document: Document) -> None:
    schema(document, "SessionInvoiceStatusResponse")["required"].remove("invoiceHash")


def a_new_value(document: Document) -> None:
    schema(document, "SessionType")["enum"].append("Stream")


def a_new_parameter(document: Document) -> None:
    moon = {"name": "moon", "in": "query", "schema": {"type": "string"}}
    document["paths"]["/sessions"]["get"]["parameters"].append(moon)


def an_endpoint_gone(document: Document) -> None:
    del document["paths"]["/sessions/{referenceNumber}/invoices/failed"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (a_new_field, "new: GET /sessions/{referenceNumber}/invoices: invoices[].moon"),
        (a_field_gone, "gone: GET /sessions: sessions[].failedInvoiceCount"),
        (another_type, "sessions[].dateUpdated, string(date-time) is integer"),
        (a_required_field_that_may_lack, "invoices[].invoiceHash, string(byte) is string(byte)?"),
        (a_new_value, "string(Online|Batch) is string(Online|Batch|Stream)"),
        (a_new_parameter, "new: GET /sessions: ?moon"),
        (an_endpoint_gone, "endpoint gone: GET /sessions/{referenceNumber}/invoices/failed"),
    ],
)
def test_a_change_of_an_endpoint_of_ours_is_named(
    change: Callable[[Document], None], told: str
) -> None:
    document = deepcopy(DOCUMENT)
    change(document)
    finding = served(document)
    assert finding.state is State.WARNING
    assert told in finding.message


def test_the_document_of_this_release_is_told_with_both_versions() -> None:
    document = deepcopy(DOCUMENT)
    own = written_for()["version"]
    document["info"]["description"] = document["info"]["description"].replace(own, "2.99.1")
    finding = served(document)
    assert finding.state is State.OK
    assert f"KSeF serves API 2.99.1, this release was written for {own}" in finding.message


def test_without_a_document_it_is_off_with_a_word() -> None:
    finding = served(None)
    assert finding.state is State.OK
    assert finding.message == "not compared: GET /docs/v2/openapi.json: HTTP 404"


def test_a_page_of_the_firewall_is_no_document() -> None:
    finding = served("<html>Incapsula</html>")
    assert finding.state is State.OK
    assert finding.message.startswith("not compared: ")


def test_it_was_written_for_every_endpoint_that_is_asked() -> None:
    contract = contract_of(DOCUMENT)
    assert [e for e in ENDPOINTS if e not in contract["endpoints"]] == []
    assert contract["version"] in DOCUMENT["info"]["description"]
    empty = {endpoint for endpoint, fields in contract["endpoints"].items() if not fields}
    assert empty == set()


def circular(document: Document) -> None:
    loop = {"$ref": "#/components/schemas/SessionType"}
    document["components"]["schemas"]["SessionType"] = loop


def endless(document: Document) -> None:
    item = schema(document, "SessionsQueryResponseItem")["properties"]
    item["again"] = {"$ref": "#/components/schemas/SessionsQueryResponseItem"}


def a_doubling_one(document: Document) -> None:
    schemas = document["components"]["schemas"]
    for number in range(18):
        below = {"$ref": f"#/components/schemas/d{number + 1}"}
        schemas[f"d{number}"] = {"type": "object", "properties": {"a": below, "b": below}}
    schemas["d18"] = {"type": "string"}
    schema(document, "SessionsQueryResponseItem")["properties"]["d"] = schemas["d0"]


def parts_that_double(document: Document) -> None:
    schemas = document["components"]["schemas"]
    for number in range(40):
        schemas[f"d{number}"] = {"allOf": [{"$ref": f"#/components/schemas/d{number + 1}"}] * 2}
    schemas["d40"] = {"type": "string"}
    schema(document, "SessionsQueryResponseItem")["properties"]["d"] = schemas["d0"]


@pytest.mark.parametrize("change", [circular, endless, a_doubling_one, parts_that_double])
def test_a_document_without_end_ends_the_comparison_alone(
    change: Callable[[Document], None],
) -> None:
    document = deepcopy(DOCUMENT)
    change(document)
    assert served(document).message.startswith("not compared: ")


@pytest.mark.parametrize("document", [None, [], 7, {}, {"info": {"description": ""}, "paths": []}])
def test_garbage_is_no_document(document: Any) -> None:
    with pytest.raises(ContractViolation, match="garbled"):
        contract_of(document)


def test_odd_names_are_not_shown() -> None:
    document = deepcopy(DOCUMENT)
    properties = schema(document, "SessionsQueryResponseItem")["properties"]
    properties["\x1b[2J"] = {"type": "string"}
    finding = served(document)
    assert "one with an odd name" in finding.message
    assert finding.message.isprintable()
