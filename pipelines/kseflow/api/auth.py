"""Login by KSeF token or certificate, and the access token that every request carries.

Source: POST /auth/challenge, /auth/ksef-token, /auth/xades-signature, GET /auth/{ref},
POST /auth/token/redeem, /auth/token/refresh.
"""

import asyncio
import base64
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import orjson

from kseflow.api.address import path_of
from kseflow.api.answers import Answer, Call, accepted, json_of, moment, object_of, texts
from kseflow.api.keys import PublicKeys
from kseflow.clock import TimeBox, moment_text
from kseflow.constants import (
    LOGIN_POLLS,
    LONGEST_ACCESS,
    MOST_SKEW,
    OWNER,
    OWNER_RIGHTS,
    TOKEN_MARGIN,
)
from kseflow.errors import ContractViolation, LoginFailed, RequestRejected, Unavailable

log = logging.getLogger(__name__)

BEARER = re.compile(r"[!-~]{1,16384}")  # what may become a header
REDEEMED = 21301  # the login operation has given its tokens


@dataclass
class Token:
    """A bearer token and the moment (UTC, KSeF's clock) it ends."""

    value: str
    valid_until: datetime

    @classmethod
    def from_json(cls, item: Any, name: str) -> "Token":
        """Read a token; raises `ContractViolation`, naming it, for what cannot be one."""
        value = item.get("token") if isinstance(item, dict) else None
        if not isinstance(value, str) or not BEARER.fullmatch(value):
            raise ContractViolation(f"a login answer lacks or garbles {name}")
        return cls(value, moment(item.get("validUntil"), f"validUntil of {name}"))

    def __repr__(self) -> str:
        return f"Token(valid_until={self.valid_until:%Y-%m-%dT%H:%M:%SZ})"


class LoginCredentials(Protocol):
    """What logs in: with a public key of KSeF's for `key_usage`, or without one."""

    @property
    def context(self) -> object: ...
    @property
    def key_usage(self) -> str | None: ...
    def login_call(self, challenge: dict[str, Any], key: Any, now: datetime) -> Call: ...


class Login:
    """One taxpayer's login: made at the first request, and once for all that wait for it."""

    def __init__(
        self,
        credentials: LoginCredentials,
        box: TimeBox,
        keys: PublicKeys,
        ask: Callable[[Call], Awaitable[Answer]],
        *,
        has_own_time: bool = False,
    ) -> None:
        """Ask by `ask`; a KSeF that `has_own_time`, as emulators do, may be days from ours."""
        self._has_own_time = has_own_time
        self._credentials = credentials
        self._box = box
        self._keys = keys
        self._ask = ask
        self._access: Token | None = None
        self._refresh: Token | None = None
        self._lock = asyncio.Lock()
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
            rights = frozenset(texts(orjson.loads(listed) if isinstance(listed, str) else listed))
            return rights | OWNER_RIGHTS if OWNER in rights else rights
        except (LookupError, ValueError, TypeError):
            return None

    def now(self) -> datetime:
        """Return KSeF's time (UTC), as far as the login told it."""
        return self._box.now() + self.clock_offset

    async def bearer(self) -> str:
        """Return an access token that is valid now; logs in or refreshes where there is none."""
        async with self._lock:
            if self._access is None or self._access.valid_until - TOKEN_MARGIN <= self.now():
                self._access = await self._renewed()
            return self._access.value

    def refuse(self, bearer: str) -> None:
        """Take note that KSeF no longer accepts an access token, if it is still the one in use."""
        if self._access is not None and self._access.value == bearer:
            self._access = None

    async def _renewed(self) -> Token:
        """Refresh the access token, or log in when that is not possible."""
        if self._refresh is not None and self._refresh.valid_until - TOKEN_MARGIN > self.now():
            try:
                answer = await self._call("POST", "/auth/token/refresh", self._refresh)
                return _token(answer, "accessToken")
            except RequestRejected as error:
                log.info("refresh refused, logging in again: %s", error)
        try:
            tokens = await self._tokens()
        except Unavailable as error:  # a lost answer to `redeem` costs one more login
            log.info("login interrupted, once more: %s", error)
            tokens = await self._tokens()
        access, refresh = _token(tokens, "accessToken"), _token(tokens, "refreshToken")
        # A clock of its own agrees with itself; a moment that was altered agrees with nothing.
        far = abs(self.clock_offset) > MOST_SKEW
        if far and not self.now() < access.valid_until < self.now() + LONGEST_ACCESS:
            raise self._wrong_clock()
        self._refresh = refresh
        return access

    async def _tokens(self) -> dict[str, Any]:
        """Run the whole login."""
        try:
            begun = await self._begin()
            operation = _token(begun, "authenticationToken")
            await self._await_success(path_of("/auth/{}", begun["referenceNumber"]), operation)
            return await self._call("POST", "/auth/token/redeem", operation)
        except RequestRejected as error:
            if REDEEMED in error.codes:  # by an answer that a page of the firewall replaced
                raise Unavailable(str(error)) from None
            raise LoginFailed(
                f"KSeF refused the login of {self._credentials.context}: {error}"
            ) from None
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ContractViolation(f"a login answer lacks or garbles a field: {error!r}") from None

    async def _begin(self) -> dict[str, Any]:
        try:
            return await self._begin_once()
        except RequestRejected as error:
            if 21470 not in error.codes:
                raise
            return await self._begin_once()  # with keys fetched anew

    async def _begin_once(self) -> dict[str, Any]:
        challenge = await self._call("POST", "/auth/challenge")
        self._set_clock(moment(challenge["timestamp"], "timestamp of the challenge"))
        usage, key = self._credentials.key_usage, None
        if usage is not None:
            key = await self._keys.newest(usage, self.now(), self.ask_for_keys)
        try:
            return await self._json(self._credentials.login_call(challenge, key, self.now()))
        except RequestRejected as error:
            if 21470 in error.codes and key is not None:
                self._keys.withdraw(key)
            raise

    def _set_clock(self, theirs: datetime) -> None:
        """Go by KSeF's clock from now on; raises `LoginFailed` when it and ours are far apart.

        One of them is wrong then, and moments of that clock would hide what comes later.
        """
        self.clock_offset = theirs - self._box.now()
        if abs(self.clock_offset) > MOST_SKEW and not self._has_own_time:
            raise self._wrong_clock()

    def _wrong_clock(self) -> LoginFailed:
        return LoginFailed(
            f"the login of {self._credentials.context} was given up: KSeF says that it is "
            f"{moment_text(self.now())}, this machine {moment_text(self._box.now())}. Set this "
            "machine's clock; if it is right, something between it and KSeF alters answers"
        )

    async def ask_for_keys(self) -> list[dict[str, Any]]:
        """Return KSeF's public keys. Source: GET /security/public-key-certificates"""
        answer = await self._ask(Call("GET", "/security/public-key-certificates", "anonymous"))
        keys = json_of(accepted(answer))
        if isinstance(keys, list) and all(isinstance(key, dict) for key in keys):
            return keys
        raise ContractViolation(f"{answer.request}: the answer is no list of keys")

    async def _await_success(self, path: str, operation: Token) -> None:
        for poll in range(LOGIN_POLLS):
            answer = await self._call("GET", path, operation)
            status = answer["status"]
            if status["code"] == 200:
                return
            if status["code"] != 100:
                details = "; ".join(texts(status.get("details")))
                raise LoginFailed(
                    f"KSeF refused the login of {self._credentials.context}: "
                    f"{status['code']} {status['description']}"
                    + (f" ({details})" if details else "")
                    + ". Make a new token, or check the certificate and its permissions"
                )
            await self._box.sleep(min(1 + poll, 5))
        raise Unavailable(f"the login of {self._credentials.context} is still pending; try later")

    async def _call(self, method: str, path: str, token: Token | None = None) -> dict[str, Any]:
        """Send one login request and return its JSON."""
        headers = {} if token is None else {"Authorization": f"Bearer {token.value}"}
        is_repeatable = path != "/auth/token/redeem"
        body = {"headers": headers}
        return await self._json(
            Call(method, path, "anonymous", is_repeatable=is_repeatable, body=body)
        )

    async def _json(self, call: Call) -> dict[str, Any]:
        return object_of(accepted(await self._ask(call)))


def _token(answer: dict[str, Any], name: str) -> Token:
    return Token.from_json(answer.get(name), name)
