"""Logins under way: challenges handed out, and how far each authentication operation is.

Source: uwierzytelnianie.md
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

from ksef_emulator.api.credentials import Context, LoginFailed, Subject
from ksef_emulator.api.errors import BadRequest
from ksef_emulator.api.jwt import Claims
from ksef_emulator.identifiers import digest, reference_number

CHALLENGE_LIFETIME = timedelta(minutes=10)


@dataclass
class Operation:
    """One login under way."""

    reference_number: str
    method: str
    context: Context
    started: datetime
    subject: Subject | None = None
    permissions: tuple[str, ...] = ()
    failure: LoginFailed | None = None
    polls: int = 0
    is_redeemed: bool = False
    refreshed: datetime | None = None

    def claims(self) -> Claims:
        """Return what an access token says; lists and objects are JSON in texts."""
        return {
            "cit": self.context[0],
            "civ": self.context[1],
            "aum": self.method,
            "arn": self.reference_number,
            "sud": _compact(self.subject.details() if self.subject else {}),
            "per": _compact(self.permissions),
            "pec": "[]",
            "rol": "[]",
            "pep": "[]",
            "iop": "[]",
        }

    def refresh_claims(self) -> Claims:
        """Return what a refresh token says."""
        return {"cit": self.context[0], "civ": self.context[1], "arn": self.reference_number}


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


class Operations:
    """Remember challenges and operations."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._numbers = count()
        self._challenges: dict[str, datetime] = {}
        self._operations: dict[str, Operation] = {}

    def new_challenge(self, at: datetime) -> str:
        number = self._new_reference("CR", at)
        self._challenges[number] = at
        return number

    def use_challenge(self, challenge: object, at: datetime) -> datetime:
        """Take a challenge back once, within 10 minutes. Raises BadRequest 21111."""
        issued = self._challenges.pop(str(challenge), None)
        if issued is None or at - issued > CHALLENGE_LIFETIME:
            raise BadRequest(21111)
        return issued

    def start(self, method: str, context: Context, at: datetime) -> Operation:
        operation = Operation(self._new_reference("AU", at), method, context, at)
        self._operations[operation.reference_number] = operation
        return operation

    def find(self, reference: str) -> Operation | None:
        return self._operations.get(reference)

    def revoke_all(self) -> None:
        """Revoke every login: refresh tokens die, access tokens live on until they expire."""
        detail = (
            "Uwierzytelnienie i powiązane refresh tokeny zostały unieważnione przez użytkownika"
        )
        for operation in self._operations.values():
            operation.failure = LoginFailed(425, detail)

    def _new_reference(self, kind: str, at: datetime) -> str:
        return reference_number(at.date(), kind, digest(self._seed, kind, next(self._numbers)))
