"""The invoices of a session: what each one is and when each thing happens to it.

Everything about an invoice follows from a digest of its session and position, so one invoice can
be had without its 9,999 neighbours. A session holds its own invoices first, then copies: invoices
rejected elsewhere and sent again, and duplicates of accepted ones.

Source: GET /sessions/{referenceNumber}/invoices
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from ksef_emulator.clock import TICKS_PER_S, iso_ticks, to_datetime
from ksef_emulator.history import HOUR, WARSAW, Draft
from ksef_emulator.identifiers import digest, ksef_number, reference_number
from ksef_emulator.texts import INVOICE_DESCRIPTIONS, duplicate_details, rejection_details

Row = dict[str, Any]

NUMBERED_WHEN_REJECTED = frozenset({410, 415})
"""Codes given after the XML was read, so that the invoice number is known."""

MODE_UNKNOWN = frozenset({405, 430, 435, 440})
RESENT_UNCHANGED = frozenset({405, 500, 550})
"""Codes that are not the sender's fault: the same file is sent again."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """One invoice of a session with its whole life; moments are ticks."""

    ordinal_number: int
    reference_number: str
    invoice_number: str
    file_name: str | None
    invoice_hash: str
    ksef_number: str
    mode: str
    received: int
    processing: int
    decided: int
    stored: int
    code: int = 200
    details: tuple[str, ...] = ()
    original: tuple[str, str] | None = None

    @property
    def acquired(self) -> int:
        return self.decided - (self.decided - self.processing) // 8

    def code_at(self, at: int) -> int:
        if at >= self.decided:
            return self.code
        return 150 if at >= self.processing else 100

    def row(self, at: int) -> Row:
        """Write the invoice as KSeF shows it at a moment; unset fields are left out."""
        code = self.code_at(at)
        row: Row = {"ordinalNumber": self.ordinal_number}
        if code == 200 or code in NUMBERED_WHEN_REJECTED:
            row["invoiceNumber"] = self.invoice_number
        if code == 200:
            row["ksefNumber"] = self.ksef_number
        row["referenceNumber"] = self.reference_number
        row["invoiceHash"] = self.invoice_hash
        if self.file_name:
            row["invoiceFileName"] = self.file_name
        if code == 200:
            row["acquisitionDate"] = iso_ticks(self.acquired)
        row["invoicingDate"] = iso_ticks(self.received)
        if code == 200 and at >= self.stored:
            row["permanentStorageDate"] = iso_ticks(self.stored)
        if code >= 200 and code not in MODE_UNKNOWN:
            row["invoicingMode"] = self.mode
        row["status"] = self._status(code)
        return row

    def _status(self, code: int) -> Row:
        status: Row = {"code": code, "description": INVOICE_DESCRIPTIONS[code]}
        if code == self.code and self.details:
            status["details"] = list(self.details)
        if code == self.code and self.original:
            session, number = self.original
            status["extensions"] = {
                "originalSessionReferenceNumber": session,
                "originalKsefNumber": number,
            }
        return status


def own_invoice(draft: Draft, position: int) -> Invoice:
    """Build the invoice at a position (from 0) among a session's own ones."""
    noise = digest(draft.reference_number, position)
    code = draft.rejections.get(position, 200)
    received, processing, decided = _moments(draft, position / draft.own_count * 0.9, noise)
    nip = draft.taxpayer.context_id
    number = _invoice_number(draft, position)
    batch = draft.session_type == "Batch"
    return Invoice(
        ordinal_number=position + 1,
        reference_number=reference_number(to_datetime(received).date(), "EE", noise),
        invoice_number=number,
        file_name=f"{number.replace('/', '_')}.xml" if batch else None,
        invoice_hash=b64encode(noise[32:]).decode(),
        ksef_number=ksef_number(nip, to_datetime(decided).astimezone(WARSAW).date(), noise[10:]),
        mode="Offline" if noise[16] < 13 else "Online",
        received=received,
        processing=processing,
        decided=decided,
        stored=_stored(decided, noise),
        code=code,
        details=tuple(rejection_details(code, position * 7 + noise[17], nip)),
    )


def resent_invoice(draft: Draft, ordinal_number: int, source: Draft, position: int) -> Invoice:
    """Send an invoice rejected in an earlier session again, put right, and accept it."""
    before = own_invoice(source, position)
    after = _copy(draft, ordinal_number, before)
    noise = digest(before.reference_number, "corrected")
    unchanged = before.code in RESENT_UNCHANGED
    corrected_hash = b64encode(noise[:32]).decode()
    return replace(
        after,
        code=200,
        details=(),
        invoice_hash=before.invoice_hash if unchanged else corrected_hash,
    )


def duplicate_invoice(draft: Draft, ordinal_number: int, source: Draft, position: int) -> Invoice:
    """Send an accepted invoice once more and have it rejected with 440."""
    original = own_invoice(source, position)
    copy = _copy(draft, ordinal_number, original)
    where = source.reference_number
    return replace(
        copy,
        code=440,
        decided=max(copy.decided, original.decided + TICKS_PER_S // 2),
        details=tuple(duplicate_details(original.ksef_number, where)),
        original=(where, original.ksef_number),
    )


def _copy(draft: Draft, ordinal_number: int, before: Invoice) -> Invoice:
    noise = digest(draft.reference_number, "copy", ordinal_number)
    order = 1 - 0.1 * draft.own_count / ordinal_number
    received, processing, decided = _moments(draft, order, noise)
    batch = draft.session_type == "Batch"
    day = to_datetime(decided).astimezone(WARSAW).date()
    return replace(
        before,
        ordinal_number=ordinal_number,
        reference_number=reference_number(to_datetime(received).date(), "EE", noise),
        file_name=f"{before.invoice_number.replace('/', '_')}.xml" if batch else None,
        ksef_number=ksef_number(draft.taxpayer.context_id, day, noise[10:]),
        received=received,
        processing=processing,
        decided=decided,
        stored=_stored(decided, noise),
    )


def _moments(draft: Draft, order: float, noise: bytes) -> tuple[int, int, int]:
    """Place an invoice in its session's time: received, taken into processing, decided.

    `order` runs from 0 (first sent) to 1. Nothing is decided later than two seconds before the
    session itself gets its last status.
    """
    latest = draft.settled - 2 * TICKS_PER_S
    chance = int.from_bytes(noise[18:21], "big") / 0x1000000
    if draft.session_type == "Online":
        sending = min(draft.closed - draft.created, 3 * HOUR) - 4 * TICKS_PER_S
        received = draft.created + TICKS_PER_S + int(sending * order)
        decided = received + int((2 + 18 * chance) * TICKS_PER_S)
        is_incident = draft.settled - draft.closed > HOUR // 2
        if is_incident and noise[21] < 85:
            decided = received + int((latest - received) * chance)
    else:
        unpacking = min((draft.settled - draft.closed) // 8, 40 * TICKS_PER_S)
        received = draft.closed + unpacking + int(unpacking * order)
        decided = received + int((latest - received) * (0.1 + 0.9 * chance))
    decided = max(min(decided, latest), received + 2)
    return received, received + (decided - received) // 3 + 1, decided


def _stored(decided: int, noise: bytes) -> int:
    """Draw permanentStorageDate: soon after the decision, rarely hours later or a bit earlier."""
    chance = int.from_bytes(noise[22:25], "big") / 0x1000000
    if noise[25] < 6:
        return decided - int(15 * chance * TICKS_PER_S)
    if noise[25] == 255:
        return decided + int((1 + 5 * chance) * HOUR)
    return decided + int((1 + 89 * chance) * TICKS_PER_S)


def _invoice_number(draft: Draft, position: int) -> str:
    created = to_datetime(draft.created).astimezone(WARSAW)
    since_midnight = created - created.replace(hour=0, minute=0, second=0, microsecond=0)
    serial = f"{since_midnight // timedelta(seconds=1):05d}{position + 1:04d}"
    if draft.taxpayer.style == 0:
        return f"FV/{created:%Y/%m/%d}/{serial}"
    if draft.taxpayer.style == 1:
        return f"{serial}/{created:%d-%m-%Y}/K"
    return f"FA/{draft.taxpayer.context_id}/{created:%y%m%d}{serial}"
