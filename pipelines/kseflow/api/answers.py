"""Calls and their answers; the border: no more is read than a bound allows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from kseflow.constants import ANSWER_BYTES
from kseflow.errors import AccessDenied, ContractViolation, RequestRejected

MEANINGS = {
    21111: "the challenge was wrong or too old; try again",
    21115: "the certificate is not accepted; renew it in the taxpayer application",
    21173: "KSeF does not know this session",
    21175: "KSeF does not know this export",
    21178: "KSeF has no such receipt (yet)",
    21182: "ten exports are running; one that hangs keeps its place until KSeF ends it",
    21184: "KSeF has put this session into maintenance; try again later",
    21301: "the login operation cannot give tokens (any more); log in again",
    21304: "KSeF does not know this login operation; log in again",
    21401: "the login document does not fit KSeF's schema",
    21405: "KSeF calls the request invalid",
    21418: "KSeF no longer accepts the continuation token",
    21470: "the public key was withdrawn; fetch the keys again",
}


FIREWALL = "the firewall before KSeF answers with a page (HTTP 200, text/html)"


@dataclass(frozen=True)
class Call:
    """One request: its group of limits, and of what value it is (0 first) when places are few.

    `body` is what httpx's `Request` takes: params, headers, json, content.
    """

    method: str
    path: str
    group: str
    value: int = 0
    is_repeatable: bool = True
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """One whole answer: `request` names what was asked, without what a query may hold."""

    request: str
    status: int
    headers: httpx.Headers
    content: bytes = field(repr=False)


def is_firewalls(status: int, headers: httpx.Headers) -> bool:
    """Tell whether an answer is a page of the firewall before KSeF, which says 200 and passes."""
    return status == 200 and headers.get("content-type", "").startswith("text/html")


async def read(response: httpx.Response) -> Answer:
    """Read the whole body, and close the response.

    Raises `ContractViolation` when it is larger than any answer of KSeF's, packed or not.
    """
    request = f"{response.request.method} {response.request.url.path}"
    chunks, byte_count = [], 0
    try:
        async for chunk in response.aiter_bytes():
            byte_count += len(chunk)
            if byte_count > ANSWER_BYTES:
                raise ContractViolation(f"{request}: an answer of more than {ANSWER_BYTES:,} bytes")
            chunks.append(chunk)
    finally:
        await response.aclose()
    return Answer(request, response.status_code, response.headers, b"".join(chunks))


def json_of(answer: Answer) -> Any:
    """Parse an answer that has to be JSON, or raise `ContractViolation`."""
    try:
        return orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        kind = answer.headers.get("content-type", "no content type")
        raise ContractViolation(
            f"{answer.request} answered HTTP {answer.status} with {kind} instead of JSON; "
            "is the base URL KSeF's, and no proxy or firewall in between?"
        ) from None


def accepted(answer: Answer) -> Answer:
    """Return an answer that is no refusal; raises `RequestRejected` with KSeF's codes for one.

    A redirect is never followed, since KSeF sends none: raises `ContractViolation`.
    """
    if answer.status >= 400:
        raise rejection_of(answer)
    if answer.status >= 300:
        raise ContractViolation(
            f"{answer.request} answered HTTP {answer.status}, a redirect, which is not followed; "
            "is the base URL KSeF's, and no proxy or firewall in between?"
        )
    return answer


def rejection_of(answer: Answer) -> RequestRejected:
    """Read any of KSeF's error bodies: exception, problem details, firewall, empty, HTML."""
    problems = list(_problems(answer))
    reasons = "; ".join(_sentence(*problem) for problem in problems)
    kind = AccessDenied if answer.status in (401, 403) else RequestRejected
    return kind(
        f"{answer.request}: HTTP {answer.status}" + (f": {reasons}" if reasons else ""),
        status=answer.status,
        codes=tuple(code for code, _, _ in problems if code is not None),
    )


def _problems(answer: Answer) -> list[tuple[int | None, str, list[str]]]:
    """Yield (KSeF code or None, description, details) of whatever body came."""
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return []
    if not isinstance(body, dict):
        return []
    if isinstance(exception := body.get("exception"), dict):
        return [
            (
                item.get("exceptionCode"),
                item.get("exceptionDescription") or "",
                item.get("details") or [],
            )
            for item in exception.get("exceptionDetailList") or []
        ]
    if errors := body.get("errors"):
        return [(e.get("code"), e.get("description") or "", e.get("details") or []) for e in errors]
    if isinstance(status := body.get("status"), dict):
        return [(None, status.get("description") or "", status.get("details") or [])]
    return [(None, body.get("detail") or body.get("title") or "", _security(body))]


def _security(body: dict[str, Any]) -> list[str]:
    """What a 403 tells beside its text: missing permissions, the incident to report."""
    told = {"reason": body.get("reasonCode"), **(body.get("security") or {})}
    return [f"{name} {value}" for name, value in told.items() if value]


def _sentence(code: int | None, description: str, details: list[str]) -> str:
    text = description + (f" ({'; '.join(map(str, details))})" if details else "")
    if code is None:
        return text
    meaning = f" — {MEANINGS[code]}" if code in MEANINGS else ""
    return f"KSeF {code} {text}{meaning}"
