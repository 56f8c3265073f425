"""Whose KSeF token or certificate it is, and what its holder may do.

Source: uwierzytelnianie.md
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ksef_emulator.api.calls import OWNER, OWNER_PERMISSIONS
from ksef_emulator.world.taxpayers import KsefToken, Taxpayer

Context = tuple[str, str]
"""Type (Nip, InternalId, NipVatUe, PeppolId) and value."""


@dataclass(frozen=True)
class Subject:
    """Who logs in: type (Nip, Pesel, Fingerprint) and value, and what the certificate tells."""

    kind: str
    value: str
    name: str
    organization: str | None = None

    def details(self) -> dict[str, object]:
        """Return the claim `sud`."""
        told: dict[str, object] = {
            "subjectIdentifier": {"type": self.kind, "value": self.value},
            "commonName": self.name,
        }
        if self.organization:
            told |= {
                "countryName": "PL",
                "organizationName": self.organization,
                "organizationIdentifier": f"VATPL-{self.value}",
            }
        return told


class LoginFailed(Exception):
    """The outcome of a login that is found out only after it was accepted."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class Credentials:
    """Know the credentials of all taxpayers."""

    def __init__(
        self, taxpayers: Iterable[Taxpayer], owner_claim: bool, token_days: int | None = None
    ) -> None:
        self._token_days = token_days
        self._owner_permissions = (OWNER,) if owner_claim else OWNER_PERMISSIONS
        self._by_context = {(who.context_type, who.context_id): who for who in taxpayers}
        self._tokens = {
            token.value: (token, context)
            for context, who in self._by_context.items()
            for token in who.tokens
        }

    def find_token(self, value: str, context: Context, at: datetime) -> tuple[Subject, KsefToken]:
        """Find a KSeF token that works in a context, and whose it is. Raises LoginFailed."""
        if value not in self._tokens:
            raise LoginFailed(450, "Nieprawidłowy token")
        token, own_context = self._tokens[value]
        if context != own_context:
            kind, value = context
            raise LoginFailed(450, f"Token nie może być użyty w kontekście {kind}: {value}")
        if token.state == "Revoked":
            raise LoginFailed(450, "Token unieważniony")
        if token.state != "Active" or self._has_ended(token, at):
            raise LoginFailed(450, "Token nieaktywny")
        name = self._by_context[context].name
        return Subject("Nip", token.subject_nip, name, name), token

    def _has_ended(self, token: KsefToken, at: datetime) -> bool:
        if self._token_days is None:
            return False
        return at.date() >= token.made_on + timedelta(days=self._token_days)

    def permissions_of(self, subject: Subject, context: Context) -> tuple[str, ...]:
        """Return what the holder of a certificate may do. Raises LoginFailed when nothing."""
        taxpayer = self._by_context.get(context)
        if taxpayer and (subject.kind, subject.value) == ("Nip", taxpayer.context_id):
            return self._owner_permissions
        if taxpayer and (subject.kind, subject.value) == ("Nip", taxpayer.writer_nip):
            return ("InvoiceWrite",)
        raise LoginFailed(415, "Brak przypisanych uprawnień")
