"""What the paths of requests name: sessions and their invoices, if the caller may see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ksef_emulator.api import parameters
from ksef_emulator.api.calls import Call
from ksef_emulator.api.errors import BadRequest, Hidden
from ksef_emulator.clock import to_ticks
from ksef_emulator.quirks import HiddenSession
from ksef_emulator.world.invoices import Invoice
from ksef_emulator.world.sessions import Session
from ksef_emulator.world.submissions import Submissions

SEES_ALL = frozenset({"Introspection", "EnforcementOperations"})


def visible_creator(call: Call) -> str | None:
    """Return whose sessions alone a token sees, None for a token that sees all."""
    return None if SEES_ALL.intersection(call.permissions) else call.subject_nip


@dataclass(frozen=True)
class Lookup:
    """Find what a call names among all that was sent."""

    submissions: Submissions
    hidden_session: HiddenSession

    def session(self, call: Call, reference: str, *, code: int = 21173) -> Session:
        """Find a session that the caller may see. Raises BadRequest, and Hidden."""
        parameters.reference(reference)
        try:
            session = self.submissions.find(call.context_id, reference, to_ticks(call.at))
        except KeyError:
            session = None
        is_hidden = session and visible_creator(call) not in (None, session.draft.creator_nip)
        if is_hidden and self.hidden_session == "403":
            raise Hidden
        if session is None or is_hidden:
            text = f"Sesja o numerze referencyjnym {reference} nie została znaleziona."
            raise BadRequest(code, text)
        return session

    def invoice(
        self, call: Call, reference: str, invoice_reference: str
    ) -> tuple[Session, Invoice]:
        """Find an invoice and its session. Raises BadRequest 21405."""
        session = self.session(call, reference, code=21405)
        parameters.reference(invoice_reference, "invoiceReferenceNumber")
        invoice = self.first(call, session, lambda i: i.reference_number == invoice_reference)
        if invoice is None:
            raise no_invoice(invoice_reference)
        return session, invoice

    def first(
        self, call: Call, session: Session, is_wanted: Callable[[Invoice], bool]
    ) -> Invoice | None:
        """Return the first wanted invoice that the session has at that moment, or None."""
        received = self.submissions.received_invoices(session, to_ticks(call.at))
        return next(filter(is_wanted, received), None)


def no_invoice(reference: str) -> BadRequest:
    return BadRequest(21405, f"Faktura o numerze referencyjnym {reference} nie została znaleziona.")
