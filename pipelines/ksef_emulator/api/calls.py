"""One request on its way through the emulator, and what a route asks of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from werkzeug.wrappers import Request, Response

from ksef_emulator.api.errors import BadRequest
from ksef_emulator.api.jwt import Claims

UNLIMITED = "unlimited"
"""The group of routes that are not KSeF's API, so no limit holds."""

SESSION_RIGHTS = ("InvoiceWrite", "Introspection", "PefInvoiceWrite", "EnforcementOperations")


OWNER = "Owner"
OWNER_PERMISSIONS = (
    *("CredentialsManage", "CredentialsRead", "InvoiceWrite", "InvoiceRead", "Introspection"),
    *("SubunitManage", "EnforcementOperations", "CollectiveIdentifierManage"),
)


@dataclass(frozen=True)
class Route:
    """An API path, the rate group it counts in, and the token and permissions it needs.

    `answer` takes the call and, by name, the parts of the path.
    """

    method: str
    path: str
    answer: Callable[..., Response]
    group: str = "anonymous"
    token: str | None = None
    permissions: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Call:
    """A request with the moment it came in and the claims of its token."""

    request: Request
    at: datetime
    claims: Claims

    @property
    def context_id(self) -> str:
        return str(self.claims.get("civ", ""))

    @property
    def permissions(self) -> list[str]:
        listed = list(json.loads(self.claims.get("per", "[]")))
        return [*listed, *OWNER_PERMISSIONS] if OWNER in listed else listed

    @property
    def subject_nip(self) -> str:
        return str(json.loads(self.claims["sud"])["subjectIdentifier"]["value"])

    @property
    def address(self) -> str:
        return self.request.remote_addr or "127.0.0.1"

    @property
    def root(self) -> str:
        """Return the address the caller knows this host by."""
        return self.request.host_url.rstrip("/")

    def json(self) -> dict[str, Any]:
        """Read a JSON object. Raises BadRequest 21405 for anything else."""
        try:
            body = json.loads(self.request.get_data())
        except ValueError:
            raise BadRequest(21405, "The request body is not valid JSON.") from None
        if not isinstance(body, dict):
            raise BadRequest(21405, "The JSON value could not be converted to an object.")
        return body
