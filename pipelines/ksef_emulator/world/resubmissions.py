"""The truth about resubmissions: which failed invoices got in by another submission.

KSeF tells this of no invoice. The world knows it, so it can judge rules that guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from ksef_emulator.world.invoices import RESENT_UNCHANGED, Invoice, own_invoice
from ksef_emulator.world.sessions import Copy, Session

Kind = Literal["same file", "corrected", "technical correction", "duplicate"]


class Resubmission(NamedTuple):
    """A failed invoice, and the submission by which its content is in KSeF.

    "same file": sent again unchanged and accepted; "corrected": put right, sent again and
    accepted; "technical correction": likewise, naming the hash of the rejected file;
    "duplicate": it repeats an invoice accepted before, in its own session or an earlier one.
    """

    session_reference: str
    invoice_reference: str
    code: int
    accepted_session_reference: str
    ksef_number: str
    kind: Kind


def resubmissions(sessions: Iterable[Session], at: int) -> list[Resubmission]:
    """List what the sessions' copies tell about failed invoices, ordered by these.

    `at` is in ticks; both submissions are decided by then. Invoices that no list ever shows have
    no reference number, so they are not among them.
    """
    return sorted(
        _resubmission(session, copy, sent, source)
        for session in sessions
        for sent, source, copy in _copies(session)
        if max(sent.decided, source.decided) <= at
    )


def _copies(session: Session) -> Iterator[tuple[Invoice, Invoice, Copy]]:
    """Yield each copy as it was sent, with the invoice it was taken from."""
    for number, copy in enumerate(session.copies, start=session.draft.own_count + 1):
        yield session.invoice(number), own_invoice(copy.source, copy.position), copy


def _resubmission(session: Session, copy: Copy, sent: Invoice, source: Invoice) -> Resubmission:
    here, there = session.draft.reference_number, copy.source.reference_number
    if copy.kind == "duplicate":
        failed, accepted = (here, sent.reference_number, sent.code), (there, source.ksef_number)
    else:
        failed, accepted = (there, source.reference_number, source.code), (here, sent.ksef_number)
    return Resubmission(*failed, *accepted, _kind(copy, source))


def _kind(copy: Copy, source: Invoice) -> Kind:
    if copy.kind == "duplicate":
        return "duplicate"
    if copy.kind == "technical":
        return "technical correction"
    return "same file" if source.code in RESENT_UNCHANGED else "corrected"
