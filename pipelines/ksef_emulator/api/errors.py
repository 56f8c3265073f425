"""Requests that KSeF refuses, with its own codes and words.

    ApiError
    ├── BadRequest        400, one or more KSeF codes
    │   └── Unreadable    JSON of other types than the contract's
    ├── Unauthorized      401, always problem+json
    ├── Forbidden         403, always problem+json
    ├── Hidden            403, always problem+json
    ├── Gone              410, always problem+json
    ├── TooManyRequests   429, with Retry-After
    └── NotServed         501, an operation that only the real KSeF serves

They are raised where they are noticed and written by `answers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

Read = TypeVar("Read")

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


class Unreadable(BadRequest):
    """A body whose JSON does not fit its types: KSeF looks no further."""

    def __init__(self, detail: str) -> None:
        super().__init__(21405, detail)


class Problems:
    """What is wrong with a request; KSeF refuses all of it at once."""

    def __init__(self) -> None:
        self._details: list[str] = []

    def read(self, reader: Callable[..., Read], *arguments: object) -> Read:
        """Read a part of a request; what comes of a part with a problem is not for use."""
        try:
            return reader(*arguments)
        except Unreadable:
            raise
        except BadRequest as problem:
            self._details += problem.details
            return cast(Read, None)

    def refuse(self) -> None:
        """Raise BadRequest 21405 with all problems, if there were any."""
        if self._details:
            raise BadRequest(21405, *self._details)


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


class Hidden(ApiError):
    """A session that belongs to the context and that the caller may not see (#841)."""

    status = 403
    title = "Forbidden"
    detail = "Brak dostępu do wskazanego zasobu."

    def problem(self) -> dict[str, Any]:
        return {"reasonCode": "insufficient-resource-access", "security": {}}


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


class NotServed(ApiError):
    """An operation of KSeF's contract that the emulator does not have."""

    status = 501
    title = "Not Implemented"

    def __init__(self, method: str, path: str, summary: str) -> None:
        super().__init__(method, path, summary)
        self.operation = f"{method} {path}"
        self.detail = f"The emulator does not serve {self.operation} ({summary})."

    def problem(self) -> dict[str, Any]:
        return {"operation": self.operation}


def _duration(seconds: int) -> str:
    """Say a duration as KSeF does since 2026: minutes apart, seconds where there are any."""
    minutes, rest = divmod(seconds, 60)
    parts = [(minutes, "minutach"), (rest, "sekundach")]
    return " i ".join(f"{amount} {unit}" for amount, unit in parts if amount) or "0 sekundach"
