"""Fields without a value written as null, which the contract allows beside leaving them out.

Source: `nullable` in the official contract
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Response

from ksef_emulator.api.answers import json_answer

Fields = dict[str, Any]

STATUS = ("details",)
INVOICE_STATUS = ("details", "extensions")
INVOICE = (
    *("invoiceNumber", "ksefNumber", "invoiceFileName", "acquisitionDate"),
    *("permanentStorageDate", "upoDownloadUrl", "upoDownloadUrlExpirationDate", "invoicingMode"),
)
SESSION = ("validUntil",)
SESSION_DETAIL = (
    *SESSION,
    *("upo", "invoiceCount", "successfulInvoiceCount", "failedInvoiceCount"),
)
EXPORT = ("completedDate", "packageExpirationDate", "package")
PACKAGE = (
    *("lastIssueDate", "lastInvoicingDate", "lastPermanentStorageDate"),
    "permanentStorageHwmDate",
)
LOGIN = ("isTokenRedeemed", "lastTokenRefreshDate", "refreshTokenValidUntil")


def with_nulls(path: str, response: Response) -> Response:
    """Write null for what the answer of a route leaves out; other routes' answers are as before."""
    if response.status_code != 200 or path not in _CHANGES:
        return response
    body = json.loads(response.get_data())
    _CHANGES[path](body)
    return json_answer(body)


def _fill(fields: Fields, names: tuple[str, ...], status: tuple[str, ...] = STATUS) -> None:
    for name in names:
        fields.setdefault(name, None)
    if "status" in fields:
        _fill(fields["status"], status)


def _list_of_sessions(body: Fields) -> None:
    _fill(body, ("continuationToken",))
    for session in body["sessions"]:
        _fill(session, SESSION)


def _list_of_invoices(body: Fields) -> None:
    _fill(body, ("continuationToken",))
    for invoice in body["invoices"]:
        _fill(invoice, INVOICE, INVOICE_STATUS)


def _export(body: Fields) -> None:
    _fill(body, EXPORT)
    if body["package"]:
        _fill(body["package"], PACKAGE)


_CHANGES: dict[str, Callable[[Fields], None]] = {
    "/v2/sessions": _list_of_sessions,
    "/v2/sessions/<reference>": lambda body: _fill(body, SESSION_DETAIL),
    "/v2/sessions/<reference>/invoices": _list_of_invoices,
    "/v2/sessions/<reference>/invoices/failed": _list_of_invoices,
    "/v2/sessions/<reference>/invoices/<invoice_reference>": lambda body: _fill(
        body, INVOICE, INVOICE_STATUS
    ),
    "/v2/invoices/exports/<reference>": _export,
    "/v2/auth/<reference>": lambda body: _fill(body, LOGIN),
}
