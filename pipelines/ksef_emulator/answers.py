"""Error answers in both of KSeF's formats, and the JSON the way .NET writes it.

Api errors are raised where they are noticed and written here:

    ApiError
    ├── BadRequest        400, one or more KSeF codes
    ├── Unauthorized      401, always problem+json
    ├── Forbidden         403, always problem+json
    ├── Gone              410, always problem+json
    └── TooManyRequests   429, with Retry-After
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from werkzeug.wrappers import Response

from ksef_emulator.clock import iso_ticks, to_ticks
from ksef_emulator.identifiers import digest

DESCRIPTIONS = {
    21001: "Nieczytelna treść.",
    21111: "Nieprawidłowe wyzwanie autoryzacyjne.",
    21115: "Nieprawidłowy certyfikat.",
    21173: "Brak sesji o wskazanym numerze referencyjnym.",
    21175: "Wynik zapytania o podanym identyfikatorze nie istnieje.",
    21178: "Nie znaleziono UPO dla podanych kryteriów.",
    21182: "Osiągnięto limit trwających eksportów.",
    21184: "Sesja tymczasowo niedostępna",
    21301: "Brak autoryzacji.",
    21304: "Brak uwierzytelnienia.",
    21401: "Dokument nie jest zgodny ze schemą (xsd).",
    21405: "Błąd walidacji danych wejściowych.",
    21418: "Przekazany token kontynuacji ma nieprawidłowy format.",
    21470: "Przesłany identyfikator klucza jest nieznany lub wskazuje na wycofany klucz.",
    9101: "Nieprawidłowy dokument.",
    9102: "Brak podpisu.",
    9103: "Przekroczona liczba dozwolonych podpisów.",
    9105: "Nieprawidłowy podpis.",
}


class ApiError(Exception):
    """A request that KSeF refuses."""

    status = 500
    title = "Internal Server Error"
    detail = ""

    def problem(self) -> dict[str, Any]:
        """Return what problem+json says beyond its common fields."""
        return {}


class BadRequest(ApiError):
    """One KSeF code with its details."""

    status = 400
    title = "Bad Request"
    detail = "Żądanie jest nieprawidłowe."

    def __init__(self, code: int, *details: str) -> None:
        super().__init__(code, *details)
        self.code = code
        self.details = list(details)

    def problem(self) -> dict[str, Any]:
        error = {"code": self.code, "description": DESCRIPTIONS[self.code], "details": self.details}
        return {"errors": [error]}


class Unauthorized(ApiError):
    status = 401
    title = "Unauthorized"
    detail = "Wymagane jest uwierzytelnienie."


class Forbidden(ApiError):
    """A token without any of the permissions a route asks for."""

    status = 403
    title = "Forbidden"
    detail = "Brak wymaganych uprawnień do wykonania operacji w bieżącym kontekście."

    def __init__(self, required: tuple[str, ...], present: list[str]) -> None:
        super().__init__(required, present)
        self.required = required
        self.present = present

    def problem(self) -> dict[str, Any]:
        security = {
            "requiredAnyOfPermissions": list(self.required),
            "presentPermissions": self.present,
        }
        return {"reasonCode": "missing-permissions", "security": security}


class Gone(ApiError):
    status = 410
    title = "Gone"
    detail = "Operacja wygasła i nie jest już dostępna."


class TooManyRequests(ApiError):
    """A breached limit; `span` is the window's name in Polish."""

    status = 429
    title = "Too Many Requests"

    def __init__(self, limit: int, span: str, retry_after_s: int) -> None:
        super().__init__(limit, span, retry_after_s)
        self.retry_after_s = retry_after_s
        self.detail = (
            f"Przekroczono limit {limit} żądań na {span}. "
            f"Spróbuj ponownie po {_duration(retry_after_s)}."
        )


def _duration(seconds: int) -> str:
    """Say a duration as KSeF does since 2026: minutes apart, seconds where there are any."""
    minutes, rest = divmod(seconds, 60)
    parts = [(minutes, "minutach"), (rest, "sekundach")]
    return " i ".join(f"{amount} {unit}" for amount, unit in parts if amount) or "0 sekundach"


def json_answer(
    body: Any, status: int = 200, *, content_type: str = "application/json"
) -> Response:
    """Write a JSON answer; Polish letters stay as they are."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status=status, content_type=f"{content_type}; charset=utf-8")


def error_answer(error: ApiError, *, path: str, at: datetime, as_problem: bool) -> Response:
    """Write a refused request in the format asked for.

    401, 403 and 410 have one format only. Source: every route's 4xx answers
    """
    trace_id = digest(path, at, error.args).hex()[:32]
    if isinstance(error, BadRequest) and not as_problem:
        answer = _exception(error, at, trace_id)
    elif isinstance(error, TooManyRequests) and not as_problem:
        status = {"code": 429, "description": error.title, "details": [error.detail]}
        answer = _escaped({"status": status}, 429)
    else:
        answer = _problem(error, path, at, trace_id)
    if isinstance(error, TooManyRequests):
        answer.headers["Retry-After"] = str(error.retry_after_s)
    return answer


def internal_error(at: datetime) -> Response:
    """Write the undocumented body of a 500."""
    detail = {
        "exceptionCode": 500,
        "exceptionDescription": "Wystąpił nieoczekiwany błąd.",
    }
    return _escaped(_exception_body(detail, at, digest("500", at).hex()[:32]), 500)


def _problem(error: ApiError, path: str, at: datetime, trace_id: str) -> Response:
    body = {
        "title": error.title,
        "status": error.status,
        "instance": path,
        "detail": error.detail,
        **error.problem(),
        "timestamp": iso_ticks(to_ticks(at)),
        "traceId": trace_id,
    }
    return json_answer(body, error.status, content_type="application/problem+json")


def _exception(error: BadRequest, at: datetime, trace_id: str) -> Response:
    detail: dict[str, Any] = {
        "exceptionCode": error.code,
        "exceptionDescription": DESCRIPTIONS[error.code],
    }
    if error.details:
        detail["details"] = error.details
    return _escaped(_exception_body(detail, at, trace_id), error.status)


def _exception_body(detail: dict[str, Any], at: datetime, trace_id: str) -> dict[str, Any]:
    return {
        "exception": {
            "exceptionDetailList": [detail],
            "serviceCode": f"00-{trace_id}-{trace_id[8:24]}-00",
            "timestamp": iso_ticks(to_ticks(at)).replace("+00:00", "Z"),
        }
    }


def _escaped(body: Any, status: int) -> Response:
    """Write JSON as .NET does by default: everything but plain ASCII letters as \\uXXXX."""
    text = json.dumps(body, ensure_ascii=True, separators=(",", ":"))
    text = re.sub(r"\\u[0-9a-f]{4}", lambda match: rf"\u{match[0][2:].upper()}", text)
    text = re.sub(r"['<>&+`]", lambda match: rf"\u{ord(match[0]):04X}", text)
    return Response(text, status=status, content_type="application/json; charset=utf-8")
