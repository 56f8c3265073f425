"""Calls and their answers; the border: bounded, and nothing of it is believed.

What leaves here are whole answers, JSON of the kind that was asked for, and our own errors.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson

from kseflow.constants import JSON_VALUES, OLDEST_YEAR
from kseflow.errors import AccessDenied, ContractViolation, CorruptDownload, RequestRejected, shown

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
PAGES = ("text/html", "application/xhtml")
GZIP = 31  # zlib's name for it


@dataclass(frozen=True)
class Bound:
    """The most bytes that something may have, and in words where that comes from.

    A documented size is no ground to call anything corrupt: some change, some are raised on
    application. So each is taken a number of times, the option `size_factor`.
    """

    max_bytes: int
    reason: str

    def __str__(self) -> str:
        return f"{self.max_bytes:,} bytes, {self.reason}"

    def check(self, what: str, size_bytes: int) -> None:
        """Raise `CorruptDownload`, beginning with `what`, when that is larger."""
        if size_bytes > self.max_bytes:
            raise CorruptDownload(f"{what}: more than {self}")


def documented(what: str, size_bytes: int, size_factor: int) -> Bound:
    """Bound something by its documented size."""
    reason = f"{size_factor} times {what}; a larger size_factor allows more"
    return Bound(size_bytes * size_factor, reason)


def announced(size_bytes: int) -> Bound:
    """Bound something by what KSeF said it has."""
    return Bound(size_bytes, "the size that KSeF announced")


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
    kind = headers.get("content-type", "").strip().lower()
    return status // 100 == 2 and kind.startswith(PAGES)


async def read(response: httpx.Response, bound: Bound) -> Answer:
    """Read the whole body, and close the response.

    Raises `ContractViolation` as soon as it is larger than `bound`, packed or not, and
    `httpx.DecodingError` when it is packed and cut.
    """
    request = f"{response.request.method} {response.request.url.path}"
    try:
        if response.is_stream_consumed:  # a transport that had read it already
            content = response.content
        else:
            content = await _content(response, request, bound)
    finally:
        await response.aclose()
    return Answer(request, response.status_code, response.headers, content)


async def _content(response: httpx.Response, request: str, bound: Bound) -> bytes:
    """Read a body, unpacked piece by piece: httpx would unpack a piece whole, however large."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip"):
        raise ContractViolation(f"{request}: packed as {shown(coding)}, which was not asked for")
    unpacking = zlib.decompressobj(GZIP) if coding == "gzip" else None
    content, received_bytes = bytearray(), 0
    async for piece in response.aiter_raw():
        received_bytes += len(piece)
        try:
            content += unpacking.decompress(piece, _left(content, bound)) if unpacking else piece
        except zlib.error as error:
            raise httpx.DecodingError(str(error)) from None
        if max(received_bytes, len(content)) > bound.max_bytes:
            raise ContractViolation(f"{request}: an answer of more than {bound}")
    if unpacking and received_bytes and not unpacking.eof:
        raise httpx.DecodingError("the packed answer is cut")
    return bytes(content)


def _left(content: bytearray, bound: Bound) -> int:
    """Return how much more to unpack: to the bound, and the byte that passes it."""
    return bound.max_bytes - len(content) + 1


def parsed(content: bytes | bytearray) -> Any:
    """Parse JSON; raises `ValueError` when it is none, or would need too much memory.

    A parsed list or object takes up to thirty times the bytes that it is written in.
    """
    if sum(map(content.count, (b",", b"[", b"{"))) > JSON_VALUES:
        raise ValueError(f"more than {JSON_VALUES:,} values")
    return orjson.loads(content)


def json_of(answer: Answer) -> Any:
    """Parse an answer that has to be JSON, or raise `ContractViolation`."""
    try:
        return parsed(answer.content)
    except orjson.JSONDecodeError:
        kind = answer.headers.get("content-type", "no content type")
        raise ContractViolation(
            f"{answer.request} answered HTTP {answer.status} with {kind} instead of JSON; "
            "is the base URL KSeF's, and no proxy or firewall in between?"
        ) from None
    except ValueError as error:
        raise ContractViolation(f"{answer.request}: an answer of {error}") from None


def object_of(answer: Answer) -> dict[str, Any]:
    """Parse an answer that has to be a JSON object, or raise `ContractViolation`."""
    found = json_of(answer)
    if not isinstance(found, dict):
        raise ContractViolation(f"{answer.request}: the answer is no object")
    return found


def moment(value: object, field_name: str) -> datetime:
    """Read a moment (UTC) that has a zone; raises `ContractViolation`, naming the field."""
    try:
        read_moment = datetime.fromisoformat(value)  # type: ignore[arg-type]  # a TypeError is told
        if read_moment.tzinfo is None or read_moment.year < OLDEST_YEAR:
            raise ValueError
        return read_moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise ContractViolation(
            f"{field_name} is {shown(value)}, which is no moment with a zone"
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


def texts(value: object) -> list[str]:
    """Return the texts of a list that may be absent, or anything else."""
    return [str(one) for one in value if isinstance(one, str)] if isinstance(value, list) else []


Problem = tuple[int | None, str, list[str]]  # KSeF's code, its description and details


def _problems(answer: Answer) -> Iterator[Problem]:
    """Yield the problems that whatever body came tells of."""
    try:
        body = parsed(answer.content)
    except ValueError:
        return
    if not isinstance(body, dict):
        return
    exception, status = body.get("exception"), body.get("status")
    if isinstance(exception, dict):
        for item in _objects(exception.get("exceptionDetailList")):
            yield _problem(item, "exceptionCode", "exceptionDescription")
    elif errors := _objects(body.get("errors")):
        for item in errors:
            yield _problem(item, "code", "description")
    elif isinstance(status, dict):
        yield None, _text(status, "description"), texts(status.get("details"))
    else:
        yield None, _text(body, "detail") or _text(body, "title"), _security(body)


def _problem(item: dict[str, Any], code_name: str, description_name: str) -> Problem:
    code = item.get(code_name)
    details = texts(item.get("details"))
    return code if type(code) is int else None, _text(item, description_name), details


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(item: dict[str, Any], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""


def _security(body: dict[str, Any]) -> list[str]:
    """What a 403 tells beside its text: missing permissions, the incident to report."""
    security = body.get("security")
    told = {"reason": body.get("reasonCode"), **(security if isinstance(security, dict) else {})}
    return [f"{name} {_shown(value)}" for name, value in told.items() if value]


def _shown(value: object) -> str:
    return value if isinstance(value, str) else shown(value)


def _sentence(code: int | None, description: str, details: list[str]) -> str:
    text = description + (f" ({'; '.join(details)})" if details else "")
    if code is None:
        return text
    meaning = f" — {MEANINGS[code]}" if code in MEANINGS else ""
    return f"KSeF {code} {text}{meaning}"
