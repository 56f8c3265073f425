"""The three tokens of a login as signed JWTs (HS256) with the claims of recorded ones.

Source: POST /auth/token/redeem (example), uwierzytelnianie.md
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Any

from ksef_emulator.clock import iso_ticks, to_ticks
from ksef_emulator.identifiers import digest

OPERATION, ACCESS, REFRESH = "AuthenticationToken", "ContextToken", "RefreshToken"
LIFETIMES_S = {OPERATION: 45 * 60, ACCESS: 15 * 60, REFRESH: 7 * 86_400}
ISSUER = "ksef-api-te"

Claims = dict[str, Any]


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Signer:
    """Issue and read tokens; a token of another emulator's seed is not recognised."""

    def __init__(self, seed: int) -> None:
        self._secret = digest(seed, "jwt secret")

    def issue(self, typ: str, claims: Claims, *, at: datetime) -> dict[str, str]:
        """Return {token, validUntil}; the same claims in the same second give the same token."""
        issued = int(at.timestamp())
        body = {
            "typ": typ,
            **claims,
            "exp": issued + LIFETIMES_S[typ],
            "iat": issued,
            "iss": ISSUER,
            "aud": ISSUER,
        }
        parts = ({"alg": "HS256", "typ": "JWT"}, body)
        signed = ".".join(
            _encode(json.dumps(part, separators=(",", ":")).encode()) for part in parts
        )
        valid_until = to_ticks(at + timedelta(seconds=LIFETIMES_S[typ]))
        return {
            "token": f"{signed}.{self._signature(signed)}",
            "validUntil": iso_ticks(valid_until),
        }

    def read(self, token: str, *, at: datetime) -> Claims:
        """Return the claims, none for a token that is damaged, foreign or expired."""
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._signature(signed).encode(), signature.encode()):
            return {}
        claims: Claims = json.loads(_decode(signed.partition(".")[2]))
        return claims if at.timestamp() < claims["exp"] else {}

    def _signature(self, signed: str) -> str:
        return _encode(hmac.digest(self._secret, signed.encode(), "sha256"))
