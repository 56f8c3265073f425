"""Faults by schedule: what goes wrong, on which request, how often."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from werkzeug.wrappers import Response

from ksef_emulator.api.answers import internal_error, json_answer
from ksef_emulator.api.errors import BadRequest, TooManyRequests
from ksef_emulator.clock import Clock
from ksef_emulator.identifiers import digest

Kind = Literal[
    "500",
    "502",
    "403-waf",
    "429",
    "dropped",
    "truncated",
    "cut",
    "altered",
    "slow",
    "21173",
    "21184",
    "not-json",
    "html",
    "403-empty",
    "missing-field",
    "extra-field",
    "warning",
]


@dataclass(frozen=True)
class Fault:
    """Let requests fail: the `nth` (from 1) whose path matches, and so many `times` on.

    `path` is a regular expression searched in the path after the host, such as
    "/v2/sessions$" or "/storage/". "truncated" ends before the Content-Length it states, "cut"
    states its own, "altered" has one other byte. `retry_after_s` belongs to "429", `delay_s` to
    "slow", `field` to "missing-field" and "extra-field", which change each item of a list or the
    object itself, and `text` to "warning", a header X-System-Warning.
    """

    kind: Kind
    path: str = ""
    nth: int = 1
    times: int = 1
    retry_after_s: int = 30
    delay_s: float = 30.0
    field: str = "referenceNumber"
    text: str = "[test-001]: this is a warning"


class Schedule:
    """Count the requests each fault is waiting for, and by kind those that it `fired` at."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = list(faults)
        self._seen = [0] * len(self._faults)
        self._lock = threading.Lock()
        self.fired: Counter[str] = Counter()

    def due(self, path: str) -> list[Fault]:
        """Return the faults of this request; every call counts as one request."""
        due = []
        with self._lock:
            for number, fault in enumerate(self._faults):
                if re.search(fault.path, path):
                    self._seen[number] += 1
                    if fault.nth <= self._seen[number] < fault.nth + fault.times:
                        due.append(fault)
                        self.fired[fault.kind] += 1
        return due


def apply(
    faults: list[Fault],
    answer: Callable[[], Response],
    *,
    path: str,
    clock: Clock,
) -> Response:
    """Answer a request with its faults.

    Raises ConnectionError for "dropped", BadRequest and TooManyRequests for KSeF's own codes.
    """
    for fault in faults:
        if fault.kind == "slow":
            clock.sleep(fault.delay_s)
        elif fault.kind not in _CHANGES:
            return _instead(fault, path, clock.now())
    response = answer()
    for fault in faults:
        if fault.kind in _CHANGES:
            response = _CHANGES[fault.kind](fault, response)
    return response


def _instead(fault: Fault, path: str, at: datetime) -> Response:
    reference = next((part for part in path.split("/") if len(part) == 36), path)
    if fault.kind == "dropped":
        raise ConnectionError(f"the emulator dropped the connection: {path}")
    if fault.kind == "429":
        raise TooManyRequests(20, "minutę", fault.retry_after_s)
    if fault.kind == "21173":
        raise BadRequest(
            21173, f"Sesja o numerze referencyjnym {reference} nie została znaleziona."
        )
    if fault.kind == "21184":
        raise BadRequest(
            21184,
            f"Trwają prace serwisowe i sesja {reference} jest tymczasowo niedostępna. "
            "Spróbuj ponownie później lub otwórz nową sesję.",
        )
    if fault.kind == "500":
        return internal_error(at)
    if fault.kind == "403-waf":
        return _blocked_by_firewall(path, at)
    if fault.kind == "502":
        page = "<html><head><title>502 Bad Gateway</title></head><body>502</body></html>"
        return Response(page, status=502, content_type="text/html")
    if fault.kind == "html":
        page = '<html><script src="/_Incapsula_Resource?SWJIYLWA=7"></script></html>'
        return Response(page, content_type="text/html")
    if fault.kind == "403-empty":
        return Response(status=403)
    return Response("Service is starting", content_type="text/plain")


def _blocked_by_firewall(path: str, at: datetime) -> Response:
    """Write what the firewall before the API says; it knows nothing of Retry-After."""
    body = {
        "title": "Request blocked",
        "status": 403,
        "detail": "This request was blocked by our security service",
        "security": {"incidentId": digest(path, at).hex()[:20], "clientIp": "127.0.0.1"},
    }
    return json_answer(body, 403, content_type="application/problem+json")


def _truncated(fault: Fault, response: Response) -> Response:
    body = response.get_data()
    response.set_data(body[: len(body) // 2])
    response.headers["Content-Length"] = str(len(body))
    return response


def _cut(fault: Fault, response: Response) -> Response:
    body = response.get_data()
    response.set_data(body[: len(body) // 2])
    return response


def _altered(fault: Fault, response: Response) -> Response:
    body = bytearray(response.get_data())
    body[len(body) // 2] ^= 1
    response.set_data(bytes(body))
    return response


def _missing_field(fault: Fault, response: Response) -> Response:
    return _rewritten(response, lambda item: item.pop(fault.field, None))


def _extra_field(fault: Fault, response: Response) -> Response:
    return _rewritten(response, lambda item: item.update({fault.field: "unrecognised"}))


def _warning(fault: Fault, response: Response) -> Response:
    response.headers["X-System-Warning"] = fault.text
    return response


def _rewritten(response: Response, change: Callable[[dict[str, Any]], object]) -> Response:
    """Change every item of the first list in a JSON answer, or the answer itself."""
    body = json.loads(response.get_data())
    fields = {"items": body} if isinstance(body, list) else body
    items = next((value for value in fields.values() if isinstance(value, list)), [body])
    for item in items:
        change(item)
    return json_answer(body, response.status_code)


_CHANGES = {
    "truncated": _truncated,
    "cut": _cut,
    "altered": _altered,
    "missing-field": _missing_field,
    "extra-field": _extra_field,
    "warning": _warning,
}
