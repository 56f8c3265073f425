"""Login by KSeF token or certificate, and the access token that every request carries.

Source: POST /auth/challenge, /auth/ksef-token, /auth/xades-signature, GET /auth/{ref},
POST /auth/token/redeem, /auth/token/refresh, GET /security/public-key-certificates.
"""

import base64
import logging
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson

from kseflow.api.credentials import CertificateCredentials, Credentials, TokenCredentials
from kseflow.clock import TimeBox
from kseflow.constants import LOGIN_POLLS, TIMEOUT_S, TOKEN_MARGIN
from kseflow.errors import (
    ContractViolation,
    LoginFailed,
    RequestRejected,
    Unavailable,
    json_of,
)

log = logging.getLogger(__name__)

Flow = Generator[httpx.Request, httpx.Response, Any]


@dataclass
class Token:
    """A bearer token and the moment (UTC, KSeF's clock) it ends."""

    value: str
    valid_until: datetime

    @classmethod
    def from_json(cls, item: dict[str, str]) -> "Token":
        return cls(item["token"], datetime.fromisoformat(item["validUntil"]).astimezone(UTC))

    def __repr__(self) -> str:
        return f"Token(valid_until={self.valid_until:%Y-%m-%dT%H:%M:%SZ})"


class KsefAuth(httpx.Auth):
    """Log in at the first request, refresh before the token ends, and once after a 401."""

    requires_response_body = True

    def __init__(self, base_url: str, credentials: Credentials, box: TimeBox) -> None:
        self._base_url = base_url
        self._credentials = credentials
        self._box = box
        self._access: Token | None = None
        self._refresh: Token | None = None
        self.clock_offset = timedelta(0)  # KSeF's clock minus ours

    @property
    def permissions(self) -> frozenset[str] | None:
        """What the access token's `per` claim allows; None before login or when it tells not."""
        if self._access is None:
            return None
        try:
            payload = self._access.value.split(".")[1]
            claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            listed = claims["per"]
            return frozenset(orjson.loads(listed) if isinstance(listed, str) else listed)
        except (LookupError, ValueError, TypeError):
            return None

    def now(self) -> datetime:
        """Return KSeF's time (UTC), as far as the login told it."""
        return self._box.now() + self.clock_offset

    def auth_flow(self, request: httpx.Request) -> Flow:
        if request.extensions["group"] == "anonymous":
            yield request
            return
        if self._access is None or self._access.valid_until - TOKEN_MARGIN <= self.now():
            yield from self._renew()
        response = yield self._bearing(request)
        if response.status_code == 401:
            yield from self._renew()
            yield self._bearing(request)

    def _bearing(self, request: httpx.Request) -> httpx.Request:
        if self._access is not None:
            request.headers["Authorization"] = f"Bearer {self._access.value}"
        return request

    def _renew(self) -> Flow:
        """Refresh the access token, or log in when that is not possible."""
        if self._refresh is not None and self._refresh.valid_until - TOKEN_MARGIN > self.now():
            try:
                answer = yield from self._call("POST", "/auth/token/refresh", self._refresh)
                self._access = Token.from_json(answer["accessToken"])
                return
            except RequestRejected as error:
                log.info("refresh refused, logging in again: %s", error)
        yield from self._log_in()

    def _log_in(self) -> Flow:
        """Run the whole login; a lost answer to `redeem` costs one more login, never a repeat."""
        try:
            tokens = yield from self._tokens()
        except Unavailable as error:
            log.info("login interrupted, once more: %s", error)
            tokens = yield from self._tokens()
        self._access = Token.from_json(tokens["accessToken"])
        self._refresh = Token.from_json(tokens["refreshToken"])

    def _tokens(self) -> Flow:
        try:
            try:
                begun = yield from self._begin()
            except RequestRejected as error:
                if 21470 not in error.codes:
                    raise
                begun = yield from self._begin()  # the key was withdrawn after we fetched it
            operation = Token.from_json(begun["authenticationToken"])
            yield from self._await_success(begun["referenceNumber"], operation)
            return (yield from self._call("POST", "/auth/token/redeem", operation))
        except RequestRejected as error:
            raise LoginFailed(
                f"KSeF refused the login of {self._credentials.context}: {error}"
            ) from None
        except (KeyError, TypeError) as error:
            raise ContractViolation(f"a login answer lacks the field {error}") from None

    def _begin(self) -> Flow:
        challenge = yield from self._call("POST", "/auth/challenge")
        sent_at = datetime.fromisoformat(challenge["timestamp"]).astimezone(UTC)
        self.clock_offset = sent_at - self._box.now()
        if isinstance(self._credentials, CertificateCredentials):
            self._credentials.check_validity(self.now())
            document = self._credentials.signed_login(challenge["challenge"])
            return (yield from self._call("POST", "/auth/xades-signature", content=document))
        return (yield from self._begin_with_token(self._credentials, challenge))

    def _begin_with_token(self, credentials: TokenCredentials, challenge: dict[str, Any]) -> Flow:
        keys = yield from self._call("GET", "/security/public-key-certificates")
        key = newest_key(keys, "KsefTokenEncryption", self.now())
        der = base64.b64decode(key["certificate"])
        body = {
            "challenge": challenge["challenge"],
            "contextIdentifier": {
                "type": credentials.context.type,
                "value": credentials.context.id,
            },
            "encryptedToken": credentials.encrypted(der, challenge["timestampMs"]),
            "publicKeyId": key["publicKeyId"],
        }
        return (yield from self._call("POST", "/auth/ksef-token", json=body))

    def _await_success(self, reference_number: str, operation: Token) -> Flow:
        for poll in range(LOGIN_POLLS):
            answer = yield from self._call("GET", f"/auth/{reference_number}", operation)
            status = answer["status"]
            if status["code"] == 200:
                return
            if status["code"] != 100:
                details = "; ".join(status.get("details") or [])
                raise LoginFailed(
                    f"KSeF refused the login of {self._credentials.context}: "
                    f"{status['code']} {status['description']}"
                    + (f" ({details})" if details else "")
                    + ". Make a new token, or check the certificate and its permissions"
                )
            self._box.sleep(min(1 + poll, 5))
        raise Unavailable(f"the login of {self._credentials.context} is still pending; try later")

    def _call(self, method: str, path: str, token: Token | None = None, **body: Any) -> Flow:
        """Send one login request and return its JSON."""
        request = httpx.Request(method, self._base_url + path, **body)
        request.extensions = {
            "group": "anonymous",
            "repeatable": path != "/auth/token/redeem",
            "timeout": httpx.Timeout(TIMEOUT_S).as_dict(),
        }
        if "content" in body:
            request.headers["Content-Type"] = "application/xml"
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token.value}"
        response = yield request
        if response.is_server_error:
            raise Unavailable(f"{method} {path}: HTTP {response.status_code} {response.text[:200]}")
        if response.is_error:
            raise RequestRejected.from_response(response)
        return json_of(response)


def newest_key(keys: list[dict[str, Any]], usage: str, now: datetime) -> dict[str, Any]:
    """Return the key for `usage` that is valid at `now` and has the newest `validFrom`.

    Source: GET /security/public-key-certificates
    """
    valid = [
        key
        for key in keys
        if usage in key["usage"]
        and datetime.fromisoformat(key["validFrom"]) <= now
        and now <= datetime.fromisoformat(key["validTo"])
    ]
    if not valid:
        raise ContractViolation(f"KSeF offers no valid public key for {usage}")
    return max(valid, key=lambda key: datetime.fromisoformat(key["validFrom"]))
