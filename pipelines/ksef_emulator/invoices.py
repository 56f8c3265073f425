"""The invoices of a session: what each one is and when each thing happens to it.

Everything about an invoice follows from a digest of its session and position, so one invoice can
be had without its 9,999 neighbours. A session holds its own invoices first, then copies: invoices
rejected elsewhere and sent again, and duplicates of accepted ones.

Source: GET /sessions/{referenceNumber}/invoices
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from ksef_emulator import documents
from ksef_emulator.clock import TICKS_PER_S, iso_micros, iso_ticks
from ksef_emulator.history import HOUR, Draft, warsaw_date
from ksef_emulator.identifiers import digest, ksef_number, reference_number, sha256_base64
from ksef_emulator.taxpayers import Taxpayer
from ksef_emulator.texts import INVOICE_DESCRIPTIONS, duplicate_details, rejection_details

Row = dict[str, Any]

NUMBERED_WHEN_REJECTED = frozenset({410, 415})
"""Codes given after the XML was read, so that the invoice number is known."""

MODE_UNKNOWN = frozenset({405, 430, 435, 440})
EARLIEST_STORAGE = 15 * TICKS_PER_S
"""permanentStorageDate lies at most this long before the decision (#445, #459)."""

BULK_PHASE = 2_718_281
"""Bulks are stored at an odd fraction of a second, as any moment at KSeF."""

RESENT_UNCHANGED = frozenset({405, 500, 550})
"""Codes that are not the sender's fault: the same file is sent again."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """One invoice of a session with its whole life; moments are ticks.

    Seller, `content`, number and issue date make the file that was sent.
    """

    ordinal_number: int
    reference_number: str
    seller: Taxpayer
    content: bytes
    invoice_number: str
    issued: date
    file_name: str | None
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

    @property
    def invoice_hash(self) -> str:
        return sha256_base64(self.xml())

    def xml(self) -> bytes:
        """Write the file that was sent, an FA(3) document."""
        return documents.xml(self.seller, self.content, self.invoice_number, self.issued)

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

    def metadata(self) -> Row:
        """Write the accepted invoice as in _metadata.json; nullable fields may be left out."""
        invoice_hash = self.invoice_hash
        row: Row = {
            "ksefNumber": self.ksef_number,
            "invoiceNumber": self.invoice_number,
            "issueDate": self.issued.isoformat(),
            "invoicingDate": iso_ticks(self.received),
            "acquisitionDate": iso_ticks(self.acquired),
            "permanentStorageDate": iso_micros(self.stored),
            **documents.metadata(self.seller, self.content),
            "invoicingMode": self.mode,
            # Only batch sessions may carry attachments.
            "hasAttachment": self.file_name is not None and self.content[11] < 5,
            "invoiceHash": invoice_hash,
        }
        if row["invoiceType"] == "Kor":
            # The invoice put right is older than the world, so only its hash is known.
            corrected = digest("corrected by", self.invoice_number, invoice_hash)[:32]
            row["hashOfCorrectedInvoice"] = b64encode(corrected).decode()
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
        reference_number=reference_number(warsaw_date(received), "EE", noise),
        seller=draft.taxpayer,
        content=noise[32:],
        invoice_number=number,
        # Most are sent on the day of issue, the others up to three days later.
        issued=draft.opening.date() - timedelta(days=max(0, noise[26] % 16 - 12)),
        file_name=f"{number.replace('/', '_')}.xml" if batch else None,
        ksef_number=ksef_number(nip, warsaw_date(decided), noise[10:]),
        mode="Offline" if noise[16] < 13 else "Online",
        received=received,
        processing=processing,
        decided=decided,
        stored=_stored(draft, decided, noise),
        code=code,
        details=tuple(rejection_details(code, position * 7 + noise[17], nip)),
    )


def resent_invoice(draft: Draft, ordinal_number: int, source: Draft, position: int) -> Invoice:
    """Send an invoice rejected in an earlier session again, put right, and accept it."""
    before = own_invoice(source, position)
    after = _copy(draft, ordinal_number, before)
    content = before.content
    if before.code not in RESENT_UNCHANGED:
        noise = digest(before.reference_number, "corrected")
        content = content[: documents.CORRECTED] + noise[: 32 - documents.CORRECTED]
    return replace(after, code=200, details=(), content=content)


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
    return replace(
        before,
        ordinal_number=ordinal_number,
        reference_number=reference_number(warsaw_date(received), "EE", noise),
        file_name=f"{before.invoice_number.replace('/', '_')}.xml" if batch else None,
        ksef_number=ksef_number(draft.taxpayer.context_id, warsaw_date(decided), noise[10:]),
        received=received,
        processing=processing,
        decided=decided,
        stored=_stored(draft, decided, noise),
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


def _stored(draft: Draft, decided: int, noise: bytes) -> int:
    """Draw permanentStorageDate: soon after the decision, rarely hours later or a bit earlier."""
    chance = int.from_bytes(noise[22:25], "big") / 0x1000000
    if noise[25] < 6:
        stored = decided - int(EARLIEST_STORAGE * chance)
    elif noise[25] == 255:
        stored = decided + int((1 + 5 * chance) * HOUR)
    else:
        stored = decided + int((1 + 89 * chance) * TICKS_PER_S)
    if draft.bulk:
        stored += (BULK_PHASE - stored) % draft.bulk
    return stored


def _invoice_number(draft: Draft, position: int) -> str:
    created = draft.opening
    since_midnight = created - created.replace(hour=0, minute=0, second=0, microsecond=0)
    serial = f"{since_midnight // timedelta(seconds=1):05d}{position + 1:04d}"
    if draft.taxpayer.style == 0:
        return f"FV/{created:%Y/%m/%d}/{serial}"
    if draft.taxpayer.style == 1:
        return f"{serial}/{created:%d-%m-%Y}/K"
    return f"FA/{draft.taxpayer.context_id}/{created:%y%m%d}{serial}"
