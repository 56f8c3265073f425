"""Routes for logging in: challenge, encrypted KSeF token or signed XML, status, tokens.

Source: POST /auth/challenge to POST /auth/token/refresh
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from werkzeug.wrappers import Response

from ksef_emulator.api import xades
from ksef_emulator.api.answers import json_answer
from ksef_emulator.api.calls import Call, Route
from ksef_emulator.api.credentials import Context, Credentials, LoginFailed
from ksef_emulator.api.errors import BadRequest
from ksef_emulator.api.jwt import ACCESS, LIFETIMES_S, OPERATION, REFRESH, Signer
from ksef_emulator.api.keys import PublicKeys
from ksef_emulator.api.operations import Operation, Operations
from ksef_emulator.clock import iso_ticks, to_ticks

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
    "QualifiedSignature": {
        "category": "XadesSignature",
        "code": "xades.qualified-signature",
        "displayName": "Podpis kwalifikowany",
    },
}


@dataclass(frozen=True)
class AuthRoutes:
    """Log callers in; the first `pending_polls` of a status find the login still pending."""

    operations: Operations
    credentials: Credentials
    keys: PublicKeys
    signer: Signer
    pending_polls: int

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("POST", "/v2/auth/challenge", self.challenge),
            Route("POST", "/v2/auth/ksef-token", self.login_with_ksef_token),
            Route("POST", "/v2/auth/xades-signature", self.login_with_signature),
            Route("GET", "/v2/auth/<reference>", self.status, token=OPERATION),
            Route("POST", "/v2/auth/token/redeem", self.redeem, token=OPERATION),
            Route("POST", "/v2/auth/token/refresh", self.refresh, token=REFRESH),
        )

    def challenge(self, call: Call) -> Response:
        """Answer POST /auth/challenge."""
        return json_answer(
            {
                "challenge": self.operations.new_challenge(call.at),
                "timestamp": iso_ticks(to_ticks(call.at)),
                "timestampMs": _milliseconds(call.at),
                "clientIp": call.address,
            }
        )

    def login_with_ksef_token(self, call: Call) -> Response:
        """Answer POST /auth/ksef-token."""
        body = call.json()
        context = _context(body.get("contextIdentifier"))
        encrypted = _base64(body, "encryptedToken")
        issued = self.operations.use_challenge(body.get("challenge"), call.at)
        plain = self._decrypted(encrypted, body.get("publicKeyId"), call.at)
        operation = self.operations.start("Token", context, call.at)
        try:
            subject, token = self.credentials.find_token(
                _token_value(plain, issued), context, call.at
            )
            operation.subject, operation.permissions = subject, token.permissions
        except LoginFailed as failure:
            operation.failure = failure
        return self._accepted(call, operation)

    def login_with_signature(self, call: Call) -> Response:
        """Answer POST /auth/xades-signature."""
        signed = xades.read_signed_request(call.request.get_data(), at=call.at)
        self.operations.use_challenge(signed.challenge, call.at)
        operation = self.operations.start(signed.method, signed.context, call.at)
        operation.subject = signed.subject
        try:
            operation.permissions = self.credentials.permissions_of(signed.subject, signed.context)
        except LoginFailed as failure:
            operation.failure = failure
        return self._accepted(call, operation)

    def status(self, call: Call, reference: str) -> Response:
        """Answer GET /auth/{referenceNumber}."""
        operation = self._operation(call, reference)
        operation.polls += 1
        body: dict[str, Any] = {
            "startDate": iso_ticks(to_ticks(operation.started)),
            "authenticationMethod": operation.method,
            "authenticationMethodInfo": METHODS[operation.method],
            "status": self._status(operation),
            "isTokenRedeemed": operation.is_redeemed,
        }
        if operation.is_redeemed:
            refresh_until = operation.started + timedelta(seconds=LIFETIMES_S[REFRESH])
            body["refreshTokenValidUntil"] = iso_ticks(to_ticks(refresh_until))
        if operation.refreshed:
            body["lastTokenRefreshDate"] = iso_ticks(to_ticks(operation.refreshed))
        return json_answer(body)

    def redeem(self, call: Call) -> Response:
        """Answer POST /auth/token/redeem, once."""
        reference = str(call.claims["arn"])
        operation = self._operation(call, reference)
        code = self._status(operation)["code"]
        if code != 200:
            raise BadRequest(
                21301, f"Status uwierzytelniania ({code}) nie pozwala na pobranie tokenów."
            )
        if operation.is_redeemed:
            detail = f"Tokeny dla operacji uwierzytelniania {reference} zostały już pobrane."
            raise BadRequest(21301, detail)
        operation.is_redeemed = True
        # Both were made when the login began, as their recorded times tell.
        at, claims = operation.started, operation.refresh_claims()
        return json_answer(
            {
                "accessToken": self.signer.issue(ACCESS, operation.claims(), at=at),
                "refreshToken": self.signer.issue(REFRESH, claims, at=at),
            }
        )

    def refresh(self, call: Call) -> Response:
        """Answer POST /auth/token/refresh with a new access token only."""
        operation = self._operation(call, str(call.claims["arn"]))
        if operation.failure:
            code = operation.failure.code
            raise BadRequest(
                21301,
                f"Status uwierzytelniania ({code}) nie pozwala na odświeżenie tokenu dostępowego.",
            )
        operation.refreshed = call.at
        token = self.signer.issue(ACCESS, operation.claims(), at=call.at)
        return json_answer({"accessToken": token})

    def _decrypted(self, encrypted: bytes, public_key_id: str | None, at: datetime) -> bytes | None:
        """Decrypt with the key named. Raises BadRequest 21470; None when nothing fits."""
        try:
            return self.keys.decrypt(encrypted, public_key_id, at=at)
        except ValueError:
            return None

    def _accepted(self, call: Call, operation: Operation) -> Response:
        claims = {"arn": operation.reference_number}
        token = self.signer.issue(OPERATION, claims, at=call.at)
        body = {"referenceNumber": operation.reference_number, "authenticationToken": token}
        return json_answer(body, 202)

    def _status(self, operation: Operation) -> dict[str, Any]:
        if operation.polls <= self.pending_polls:
            return {"code": 100, "description": DESCRIPTIONS[100]}
        failure = operation.failure
        if failure is None:
            return {"code": 200, "description": DESCRIPTIONS[200]}
        description = DESCRIPTIONS[failure.code]
        return {"code": failure.code, "description": description, "details": [failure.detail]}

    def _operation(self, call: Call, reference: str) -> Operation:
        operation = self.operations.find(reference)
        if operation is None or call.claims["arn"] != reference:
            raise BadRequest(
                21304,
                f"Operacja uwierzytelniania o numerze referencyjnym {reference}"
                " nie została znaleziona.",
            )
        return operation


def _token_value(plain: bytes | None, issued: datetime) -> str:
    """Take the KSeF token out of what was encrypted with the challenge's time.

    Raises LoginFailed.
    """
    if plain is None:
        raise LoginFailed(450, "Nieprawidłowe szyfrowanie tokena")
    try:
        value, separator, timestamp = plain.decode().rpartition("|")
    except UnicodeDecodeError:
        value = separator = timestamp = ""
    if not separator:
        raise LoginFailed(450, "Nieprawidłowe kodowanie tokena")
    if timestamp != str(_milliseconds(issued)):
        raise LoginFailed(450, "Nieprawidłowy czas tokena")
    return value


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
