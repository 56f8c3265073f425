"""Who sends invoices: taxpayers, the subjects that act for them, and their KSeF tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple

SubjectType = Literal["Subject1", "Subject2", "Subject3", "SubjectAuthorized"]
"""The role of a taxpayer on an invoice: seller, buyer, third subject, authorized subject."""


class Party(NamedTuple):
    """Somebody named on an invoice; `kind` is Nip, VatUe, Other or None, without a value."""

    kind: str
    value: str | None
    name: str


@dataclass(frozen=True)
class KsefToken:
    """One KSeF token: whose it is, what it may do and whether it still works."""

    value: str
    subject_nip: str
    permissions: tuple[str, ...]
    state: str = "Active"

    @property
    def made_on(self) -> date:
        """Return the day its reference number begins with."""
        return date.fromisoformat(self.value[:8])


@dataclass(frozen=True)
class Taxpayer:
    """A context in which sessions are opened; `writer_nip` opens a part of them.

    The tokens are strings as a taxpayer would paste them into a configuration. Access rights:
    `token` Introspection and InvoiceRead, `write_only_token` InvoiceWrite of the writer,
    `read_only_token` InvoiceRead alone. `partners` are other taxpayers named on the invoices.
    """

    context_id: str
    name: str
    writer_nip: str
    style: int
    rejection_rate: float
    tokens: tuple[KsefToken, ...]
    context_type: str = "Nip"
    partners: tuple[Party, ...] = ()

    @property
    def token(self) -> str:
        return self.tokens[0].value

    @property
    def write_only_token(self) -> str:
        return self.tokens[1].value

    @property
    def read_only_token(self) -> str:
        return self.tokens[2].value

    @property
    def expired_token(self) -> str:
        return self.tokens[3].value

    @property
    def revoked_token(self) -> str:
        return self.tokens[4].value
