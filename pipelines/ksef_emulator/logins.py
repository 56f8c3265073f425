"""Logins under way: challenges, operations, and whose token or certificate is whose.

Source: uwierzytelnianie.md
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

from ksef_emulator.answers import BadRequest
from ksef_emulator.identifiers import digest, reference_number
from ksef_emulator.jwt import Claims
from ksef_emulator.keys import PublicKeys
from ksef_emulator.taxpayers import KsefToken, Taxpayer

CHALLENGE_LIFETIME = timedelta(minutes=10)
OWNER_PERMISSIONS = ("Introspection", "InvoiceRead", "InvoiceWrite", "CredentialsManage")

Context = tuple[str, str]
"""Type (Nip, InternalId, NipVatUe, PeppolId) and value."""


class LoginFailed(Exception):
    """The outcome of a login that is found out only after it was accepted."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


@dataclass
class Operation:
    """One login under way."""

    reference_number: str
    method: str
    context: Context
    started: datetime
    subject_nip: str = ""
    permissions: tuple[str, ...] = ()
    failure: LoginFailed | None = None
    polls: int = 0
    redeemed: datetime | None = None
    refreshed: datetime | None = None

    def claims(self) -> Claims:
        subject = {"SubjectIdentifier": {"Type": "Nip", "Value": self.subject_nip}}
        permissions = json.dumps(self.permissions)
        return {
            "cit": self.context[0],
            "civ": self.context[1],
            "aum": self.method,
            "arn": self.reference_number,
            "sud": json.dumps(subject),
            "per": permissions,
            "pec": permissions,
            "rol": "[]",
            "pep": "[]",
            "iop": "{}",
        }


@dataclass
class Logins:
    """Remember challenges and operations, and know whose token or certificate is whose."""

    seed: int
    taxpayers: tuple[Taxpayer, ...]
    keys: PublicKeys
    operations: dict[str, Operation] = field(default_factory=dict)
    challenges: dict[str, datetime] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: count[int] = field(default_factory=count)

    def new_reference(self, kind: str, at: datetime) -> str:
        return reference_number(at.date(), kind, digest(self.seed, kind, next(self.numbers)))

    def use_challenge(self, challenge: object, at: datetime) -> datetime:
        """Take a challenge back once, within 10 minutes. Raises BadRequest 21111."""
        with self.lock:
            issued = self.challenges.pop(str(challenge), None)
        if issued is None or at - issued > CHALLENGE_LIFETIME:
            raise BadRequest(21111)
        return issued

    def revoke_all(self) -> None:
        """Revoke every login: refresh tokens die, access tokens live on until they expire."""
        detail = (
            "Uwierzytelnienie i powiązane refresh tokeny zostały unieważnione przez użytkownika"
        )
        for operation in self.operations.values():
            operation.failure = LoginFailed(425, detail)

    def find_token(self, value: str, context: Context) -> KsefToken:
        """Find a KSeF token that works in a context. Raises LoginFailed."""
        for taxpayer in self.taxpayers:
            for token in taxpayer.tokens:
                if token.value == value:
                    _check_token(token, taxpayer, context)
                    return token
        raise LoginFailed(450, "Nieprawidłowy token")

    def permissions_of(self, nip: str | None, context: Context) -> tuple[str, ...]:
        """Return what the holder of a certificate may do. Raises LoginFailed when nothing."""
        for taxpayer in self.taxpayers:
            if context == (taxpayer.context_type, taxpayer.context_id):
                if nip == taxpayer.context_id:
                    return OWNER_PERMISSIONS
                if nip == taxpayer.writer_nip:
                    return ("InvoiceWrite",)
        raise LoginFailed(415, "Brak przypisanych uprawnień")


def _check_token(token: KsefToken, taxpayer: Taxpayer, context: Context) -> None:
    if context != (taxpayer.context_type, taxpayer.context_id):
        kind, value = context
        raise LoginFailed(450, f"Token nie może być użyty w kontekście {kind}: {value}")
    if token.state == "Revoked":
        raise LoginFailed(450, "Token unieważniony")
    if token.state != "Active":
        raise LoginFailed(450, "Token nieaktywny")
