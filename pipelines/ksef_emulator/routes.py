"""Every path the emulator serves, its rate group, and the token and permissions it asks for."""

from __future__ import annotations

from werkzeug.wrappers import Response

from ksef_emulator import auth, control, exports, rate_limits, sessions, storage
from ksef_emulator.answers import json_answer
from ksef_emulator.calls import Call, Route
from ksef_emulator.jwt import ACCESS, OPERATION, REFRESH

SESSION_LIST_RIGHTS = ("InvoiceWrite", "Introspection", "EnforcementOperations")
EXPORT_RIGHTS = ("InvoiceRead",)
SESSION_RIGHTS = ("InvoiceWrite", "Introspection", "PefInvoiceWrite", "EnforcementOperations")


def public_keys(call: Call) -> Response:
    """Answer GET /security/public-key-certificates."""
    return json_answer([key.row() for key in call.emulator.keys.published()])


ROUTES = (
    Route("POST", "/v2/auth/challenge", auth.challenge),
    Route("POST", "/v2/auth/ksef-token", auth.login_with_ksef_token),
    Route("POST", "/v2/auth/xades-signature", auth.login_with_signature),
    Route("GET", "/v2/auth/<reference>", auth.login_status, token=OPERATION),
    Route("POST", "/v2/auth/token/redeem", auth.redeem, token=OPERATION),
    Route("POST", "/v2/auth/token/refresh", auth.refresh, token=REFRESH),
    Route("GET", "/v2/security/public-key-certificates", public_keys),
    Route("GET", "/v2/rate-limits", rate_limits.show, "other:show", ACCESS),
    Route("POST", "/v2/testdata/rate-limits", rate_limits.override, "other:set", ACCESS),
    Route("DELETE", "/v2/testdata/rate-limits", rate_limits.reset, "other:reset", ACCESS),
    Route(
        "POST",
        "/v2/testdata/rate-limits/production",
        rate_limits.set_production,
        "other:production",
        ACCESS,
    ),
    Route(
        "GET", "/v2/sessions", sessions.list_sessions, "sessionList", ACCESS, SESSION_LIST_RIGHTS
    ),
    Route(
        "GET",
        "/v2/sessions/<reference>",
        sessions.show_session,
        "sessionMisc",
        ACCESS,
        SESSION_RIGHTS,
    ),
    Route(
        "GET",
        "/v2/sessions/<reference>/invoices",
        sessions.list_invoices,
        "sessionInvoiceList",
        ACCESS,
        SESSION_RIGHTS,
    ),
    Route(
        "GET",
        "/v2/sessions/<reference>/invoices/failed",
        sessions.list_failed_invoices,
        "sessionInvoiceList",
        ACCESS,
        SESSION_RIGHTS,
    ),
    Route(
        "GET",
        "/v2/sessions/<reference>/invoices/<invoice_reference>",
        sessions.show_invoice,
        "invoiceStatus",
        ACCESS,
        SESSION_RIGHTS,
    ),
    Route(
        "GET",
        "/v2/sessions/<reference>/invoices/<invoice_reference>/upo",
        sessions.invoice_upo,
        "sessionMisc",
        ACCESS,
        SESSION_RIGHTS,
    ),
    Route(
        "GET",
        "/v2/sessions/<reference>/invoices/ksef/<ksef_number>/upo",
        sessions.invoice_upo_by_ksef_number,
        "sessionMisc",
        ACCESS,
        SESSION_RIGHTS,
    ),
    Route(
        "GET",
        "/v2/sessions/<reference>/upo/<upo_reference>",
        sessions.session_upo,
        "sessionMisc",
        ACCESS,
        SESSION_RIGHTS,
    ),
    Route("POST", "/v2/invoices/exports", exports.start, "invoiceExport", ACCESS, EXPORT_RIGHTS),
    Route(
        "GET",
        "/v2/invoices/exports/<reference>",
        exports.show,
        "invoiceExportStatus",
        ACCESS,
        EXPORT_RIGHTS,
    ),
    Route("GET", "/storage/01/<path:path>", storage.download, "storage"),
    Route("GET", "/emulator", control.show, "unlimited"),
    Route("POST", "/emulator/clock", control.advance, "unlimited"),
)
