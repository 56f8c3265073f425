"""The emulator's answer to a request looks like the recorded one: keys, types, formats, headers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from kseflow.api.client import make_clients
from kseflow.errors import RequestRejected
from kseflow.watch.doctor.contract import contract_of
from kseflow.watch.doctor.record import Recorder
from tests.conftest import Stage
from tests.recorded.replay import FOLDER, Exchange, call_of, recording
from tests.recorded.shapes import REFERENCE, differences, shape
from tests.simulation import asking

CONTRACT = json.loads((Path(__file__).parents[1] / "data" / "ksef-openapi.json").read_text())
ENDPOINTS = contract_of(CONTRACT)["endpoints"]
HEADERS = ("content-type", "date")  # those that decide anything
UNKNOWN = "20260116-SO-341F20A000-E2F3DB6E58-54"
RECORDINGS = sorted(path.name for path in FOLDER.glob("*.json"))


def endpoint_of(exchange: Exchange) -> str:
    """Return what was asked, with the contract's names for the numbers in its path."""
    method, path = call_of(exchange)
    return f"{method} {REFERENCE.sub('{referenceNumber}', path.removeprefix('/v2'))}"


def all_recorded() -> Iterator[tuple[str, Exchange]]:
    """Yield the exchanges of all recordings that kseflow makes itself, each with a name."""
    for file in (*RECORDINGS, "noted/21405-filters.json"):
        for exchange in recording(file):
            if endpoint_of(exchange) in ENDPOINTS:
                yield f"{file} {endpoint_of(exchange)} {exchange['status']}", exchange


RECORDED = dict(all_recorded())


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> list[Exchange]:
    """What the real client and the emulator say to each other, asked for what was recorded."""
    stage = Stage(tmp_path_factory.mktemp("alike") / "ksef.duckdb", taxpayers=1, days=10)
    recorder = Recorder(httpx.AsyncHTTPTransport())
    box = stage.box()
    with stage.served() as base_url:
        (client,) = make_clients(base_url, stage.logins(), box, transport=recorder)
        with asking(client) as asked:
            sessions = [s for page in asked.sessions("Online") for s in page.items]
            for session in sessions:
                list(asked.session_invoices(session["referenceNumber"]))
            with suppress(RequestRejected):
                list(asked.session_invoices(UNKNOWN))
            with suppress(RequestRejected):
                asked.request_export({"filters": {}})
    return recorder.exchanges(None)


@cache
def shape_of(text: str) -> Any:
    return shape(json.loads(text))


def nearest(recorded: Any, candidates: list[Any]) -> list[str]:
    """Return what differs from the one of the candidates that is most alike."""
    texts = {json.dumps(candidate, sort_keys=True) for candidate in candidates}
    assert texts, "nothing of the kind was emulated"
    found = (list(differences(shape(recorded), shape_of(text))) for text in texts)
    return min(found, key=len)


def is_newer(difference: str, endpoint: str) -> bool:
    """Tell whether a difference is a field that today's contract requires, and January's lacked."""
    path, _, told = difference.partition(": ")
    is_required = not ENDPOINTS[endpoint].get(path, "?").endswith("?")
    return is_required and told.endswith("not recorded")


def status_of(exchange: Exchange) -> Any:
    """Return what two answers to one request must have in common to be compared."""
    body = exchange["body"]
    status = body.get("status") if isinstance(body, dict) else None
    return exchange["status"], status.get("code") if isinstance(status, dict) else None


@pytest.mark.parametrize("name", RECORDED)
def test_an_answer_is_emulated_as_it_was_recorded(name: str, emulated: list[Exchange]) -> None:
    exchange = RECORDED[name]
    endpoint = endpoint_of(exchange)
    same = [e for e in emulated if endpoint_of(e) == endpoint]
    same = [e for e in same if status_of(e) == status_of(exchange)]
    assert same, f"the emulator gives no such answer to {endpoint}"
    if invoices := _rows(exchange):
        found = _of_rows(invoices, [row for e in same for row in _rows(e)])
    else:
        found = nearest(exchange["body"], [e["body"] for e in same])
    assert [told for told in found if not is_newer(told, endpoint)] == []
    for header in HEADERS:
        recorded, other = (_header(e, header) for e in (exchange, same[0]))
        assert shape(other) == shape(recorded)
        assert header == "date" or other == recorded


def _rows(exchange: Exchange) -> list[dict[str, Any]]:
    body = exchange["body"]
    found: list[dict[str, Any]] = body.get("invoices", []) if isinstance(body, dict) else []
    return found


def _of_rows(recorded: list[dict[str, Any]], emulated: list[dict[str, Any]]) -> list[str]:
    """Compare each recorded row with the emulated rows of its outcome."""
    found = []
    for row in recorded:
        alike = [other for other in emulated if other["status"]["code"] == row["status"]["code"]]
        found += nearest(row, alike)
    return found


def _header(exchange: Exchange, name: str) -> str:
    return str({n.lower(): v for n, v in exchange["headers"].items()}.get(name))


def test_an_answer_of_a_list_has_the_recorded_keys(emulated: list[Exchange]) -> None:
    keys = [
        {frozenset(e["body"]) for e in found if e["status"] == 200 and _rows(e)}
        for found in (RECORDED.values(), emulated)
    ]
    assert keys[0] <= keys[1], "the last page has no continuationToken"


Change = Callable[[Any], Any]


@pytest.mark.parametrize(
    ("recorded", "other"),
    [
        ({"a": 1}, {}),
        ({}, {"a": 1}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": None}),
        ({"a": "2026-01-16T15:12:05.9428556+00:00"}, {"a": "2026-01-16T15:12:05+00:00"}),
        ({"a": "2026-01-16T15:12:05.9428556+00:00"}, {"a": "2026-01-16T15:12:05.9428556Z"}),
        ({"a": UNKNOWN}, {"a": UNKNOWN.replace("SO", "SB")}),
        ({"a": [{"b": 1}]}, {"a": [{"c": 1}]}),
        ({"a": "https://h/storage/01/x?sig=1234"}, {"a": "https://h/storage/01/x?sig=1234&se=1"}),
        ({"a": "https://h/storage/01/x"}, {"a": "https://h/store/01/x"}),
        ({"a": '{"b":1}'}, {"a": '{"c":1}'}),
        ({"a": "Token"}, {"a": "Toy"}),
    ],
)  # fmt: skip
def test_the_comparison_bites(recorded: Any, other: Any) -> None:
    assert list(differences(shape(recorded), shape(other)))


def test_what_two_answers_say_is_no_difference() -> None:
    first, *others = (recording(file) for file in RECORDINGS)
    for other in others:
        for one, another in zip(first[:5], other[:5], strict=True):
            assert list(differences(shape(one["body"]), shape(another["body"]))) == []
