"""Routes for logging in: challenge, encrypted KSeF token or signed XML, status, tokens.

Source: POST /auth/challenge to POST /auth/token/refresh
"""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime, timedelta
from typing import Any

from werkzeug.wrappers import Response

from ksef_emulator import xades
from ksef_emulator.answers import BadRequest, json_answer
from ksef_emulator.calls import Call
from ksef_emulator.clock import iso_ticks, to_ticks
from ksef_emulator.jwt import ACCESS, OPERATION, REFRESH
from ksef_emulator.logins import Context, LoginFailed, Operation

DESCRIPTIONS = {
    100: "Uwierzytelnianie w toku",
    200: "Uwierzytelnianie zakończone sukcesem",
    415: "Uwierzytelnianie zakończone niepowodzeniem",
    425: "Uwierzytelnienie unieważnione",
    450: "Uwierzytelnianie zakończone niepowodzeniem z powodu błędnego tokenu",
}
METHODS = {
    "Token": {"category": "Token", "code": "token.ksef", "displayName": "Token KSeF"},
    "QualifiedSeal": {
        "category": "XadesSignature",
        "code": "xades.qualified-seal",
        "displayName": "Pieczęć kwalifikowana",
    },
}


def challenge(call: Call) -> Response:
    """Answer POST /auth/challenge."""
    logins = call.emulator.logins
    number = logins.new_reference("CR", call.at)
    logins.challenges[number] = call.at
    return json_answer(
        {
            "challenge": number,
            "timestamp": iso_ticks(to_ticks(call.at)),
            "timestampMs": _milliseconds(call.at),
            "clientIp": call.address,
        }
    )


def login_with_ksef_token(call: Call) -> Response:
    """Answer POST /auth/ksef-token."""
    body = call.json()
    context = _context(body.get("contextIdentifier"))
    encrypted = _base64(body, "encryptedToken")
    public_key_id = body.get("publicKeyId")
    logins = call.emulator.logins
    issued = logins.use_challenge(body.get("challenge"), call.at)
    operation = Operation(logins.new_reference("AU", call.at), "Token", context, call.at)
    try:
        plain = logins.keys.decrypt(encrypted, public_key_id, at=call.at).decode()
        value, separator, timestamp = plain.rpartition("|")
        if not separator:
            raise LoginFailed(450, "Nieprawidłowe kodowanie tokena")
        if timestamp != str(_milliseconds(issued)):
            raise LoginFailed(450, "Nieprawidłowy czas tokena")
        token = logins.find_token(value, context)
        operation.subject_nip, operation.permissions = token.subject_nip, token.permissions
    except UnicodeDecodeError:
        operation.failure = LoginFailed(450, "Nieprawidłowe kodowanie tokena")
    except ValueError:
        operation.failure = LoginFailed(450, "Nieprawidłowe szyfrowanie tokena")
    except LoginFailed as failure:
        operation.failure = failure
    return _accepted(call, operation)


def login_with_signature(call: Call) -> Response:
    """Answer POST /auth/xades-signature."""
    signed = xades.read_signed_request(call.request.get_data(), at=call.at)
    logins = call.emulator.logins
    logins.use_challenge(signed.challenge, call.at)
    context = signed.context
    operation = Operation(logins.new_reference("AU", call.at), "QualifiedSeal", context, call.at)
    try:
        operation.permissions = logins.permissions_of(signed.nip, context)
        operation.subject_nip = signed.nip or ""
    except LoginFailed as failure:
        operation.failure = failure
    return _accepted(call, operation)


def login_status(call: Call, reference: str) -> Response:
    """Answer GET /auth/{referenceNumber}; the first polls find the login still pending."""
    operation = _operation(call, reference)
    operation.polls += 1
    is_pending = operation.polls <= call.emulator.quirks.pending_polls
    body: dict[str, Any] = {
        "startDate": iso_ticks(to_ticks(operation.started)),
        "authenticationMethod": operation.method,
        "authenticationMethodInfo": METHODS[operation.method],
        "status": _status(operation, is_pending=is_pending),
    }
    if operation.redeemed:
        refresh_until = operation.redeemed + timedelta(days=7)
        body["isTokenRedeemed"] = True
        body["refreshTokenValidUntil"] = iso_ticks(to_ticks(refresh_until))
    if operation.refreshed:
        body["lastTokenRefreshDate"] = iso_ticks(to_ticks(operation.refreshed))
    return json_answer(body)


def redeem(call: Call) -> Response:
    """Answer POST /auth/token/redeem, once."""
    reference = str(call.claims["arn"])
    operation = _operation(call, reference)
    quirks = call.emulator.quirks
    code = _status(operation, is_pending=operation.polls <= quirks.pending_polls)["code"]
    if code != 200:
        raise BadRequest(
            21301, f"Status uwierzytelniania ({code}) nie pozwala na pobranie tokenów."
        )
    with call.emulator.logins.lock:
        if operation.redeemed:
            detail = f"Tokeny dla operacji uwierzytelniania {reference} zostały już pobrane."
            raise BadRequest(21301, detail)
        operation.redeemed = call.at
    signer, claims = call.emulator.signer, operation.claims()
    return json_answer(
        {
            "accessToken": signer.issue(ACCESS, claims, at=call.at),
            "refreshToken": signer.issue(REFRESH, claims, at=call.at),
        }
    )


def refresh(call: Call) -> Response:
    """Answer POST /auth/token/refresh with a new access token only."""
    operation = _operation(call, str(call.claims["arn"]))
    if operation.failure:
        code = operation.failure.code
        raise BadRequest(
            21301,
            f"Status uwierzytelniania ({code}) nie pozwala na odświeżenie tokenu dostępowego.",
        )
    operation.refreshed = call.at
    token = call.emulator.signer.issue(ACCESS, operation.claims(), at=call.at)
    return json_answer({"accessToken": token})


def _accepted(call: Call, operation: Operation) -> Response:
    call.emulator.logins.operations[operation.reference_number] = operation
    claims = {"arn": operation.reference_number}
    token = call.emulator.signer.issue(OPERATION, claims, at=call.at)
    body = {"referenceNumber": operation.reference_number, "authenticationToken": token}
    return json_answer(body, 202)


def _status(operation: Operation, *, is_pending: bool) -> dict[str, Any]:
    if is_pending:
        return {"code": 100, "description": DESCRIPTIONS[100]}
    failure = operation.failure
    if failure is None:
        return {"code": 200, "description": DESCRIPTIONS[200]}
    description = DESCRIPTIONS[failure.code]
    return {"code": failure.code, "description": description, "details": [failure.detail]}


def _operation(call: Call, reference: str) -> Operation:
    operation = call.emulator.logins.operations.get(reference)
    if operation is None or call.claims["arn"] != reference:
        detail = (
            f"Operacja uwierzytelniania o numerze referencyjnym {reference} nie została znaleziona."
        )
        raise BadRequest(21304, detail)
    return operation


def _context(value: object) -> Context:
    if isinstance(value, dict) and isinstance(value.get("value"), str):
        kind = value.get("type")
        if kind in ("Nip", "InternalId", "NipVatUe", "PeppolId"):
            return kind, value["value"]
    raise BadRequest(21405, "'Context Identifier' is not in the correct format.")


def _base64(body: dict[str, Any], name: str) -> bytes:
    try:
        return b64decode(body[name], validate=True)
    except (KeyError, TypeError, ValueError):
        raise BadRequest(21405, f"'{name}' is not in the correct format.") from None


def _milliseconds(at: datetime) -> int:
    return to_ticks(at) // 10_000
