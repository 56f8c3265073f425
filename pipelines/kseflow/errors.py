"""What can go wrong with our own calls. A rejected taxpayer invoice is a row, never an error.

KsefError
├── ConfigurationError   what was configured cannot work; nothing was sent
├── LoginFailed          KSeF refused the token or the certificate
├── RequestRejected      KSeF refused one request (HTTP 4xx), with its codes
│   └── AccessDenied     401 or 403: a permission, an address or a firewall stands in the way
├── Unavailable          no usable answer after all tries: network, 5xx
├── OutOfTime            the time box ends before KSeF takes the next request
├── Throttled            KSeF asked for a long wait: others may go first
├── ContractViolation    an answer that the official contract does not allow
├── CorruptDownload      a package or receipt that is not what KSeF said it would be
├── WarehouseError       the database is locked, read-only, full or of another environment
└── BuildFailed          a model or a test of the SQL models failed (in build.py)
"""

from typing import Any

import httpx
import orjson

__all__ = [
    "AccessDenied",
    "ConfigurationError",
    "ContractViolation",
    "CorruptDownload",
    "KsefError",
    "LoginFailed",
    "OutOfTime",
    "RequestRejected",
    "Throttled",
    "Unavailable",
    "WarehouseError",
]

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


class KsefError(Exception):
    """The root: catch it to catch all that kseflow raises on purpose."""


class ConfigurationError(KsefError):
    """What was configured cannot work; the message says what to change."""


class LoginFailed(KsefError):
    """KSeF refused the token or the certificate; the message holds its status and details."""


class Unavailable(KsefError):
    """KSeF gave no usable answer after all tries."""


class OutOfTime(KsefError):
    """The time box ends before the next request may go out, in `wait_s` seconds."""

    def __init__(self, message: str, *, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Throttled(KsefError):
    """KSeF asked for a wait longer than the caller has patience for; the windows know it."""


class ContractViolation(KsefError):
    """An answer that the official contract does not allow; the message names the field."""


class CorruptDownload(KsefError):
    """A package or receipt with a wrong hash, size, key or content; nothing of it was kept."""


class WarehouseError(KsefError):
    """The database is locked, read-only, full or holds another environment's data."""


class RequestRejected(KsefError):
    """KSeF refused one request: `status` is HTTP's, `codes` are KSeF's own, often empty."""

    def __init__(self, message: str, *, status: int, codes: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.codes = codes

    @classmethod
    def from_response(cls, response: httpx.Response) -> "RequestRejected":
        """Read any of KSeF's error bodies: exception, problem details, firewall, empty, HTML."""
        problems = list(_problems(response))
        reasons = "; ".join(_sentence(*problem) for problem in problems)
        kind: type[RequestRejected] = AccessDenied if response.status_code in (401, 403) else cls
        request = f"{response.request.method} {response.request.url.path}"
        return kind(
            f"{request}: HTTP {response.status_code}" + (f": {reasons}" if reasons else ""),
            status=response.status_code,
            codes=tuple(code for code, _, _ in problems if code is not None),
        )


class AccessDenied(RequestRejected):
    """401 or 403: the login, its permissions, the client's address or a firewall."""


def json_of(response: httpx.Response) -> Any:
    """Parse an answer that has to be JSON, or raise `ContractViolation`."""
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        kind = response.headers.get("content-type", "no content type")
        raise ContractViolation(
            f"{response.request.method} {response.request.url.path} answered "
            f"HTTP {response.status_code} with {kind} instead of JSON; "
            "is the base URL KSeF's, and no proxy or firewall in between?"
        ) from None


def _problems(response: httpx.Response) -> list[tuple[int | None, str, list[str]]]:
    """Yield (KSeF code or None, description, details) of whatever body came."""
    try:
        body = orjson.loads(response.content)
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
