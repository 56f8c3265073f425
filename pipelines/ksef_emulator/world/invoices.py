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

from ksef_emulator.clock import TICKS_PER_S, iso_micros, iso_ticks, warsaw_date
from ksef_emulator.identifiers import digest, ksef_number, reference_number, sha256_base64
from ksef_emulator.world import documents
from ksef_emulator.world.drafts import EARLIEST_ISSUE_DAYS, Draft, invoicing, moments, storage
from ksef_emulator.world.oddities import happens
from ksef_emulator.world.rows import Row
from ksef_emulator.world.taxpayers import Taxpayer
from ksef_emulator.world.texts import INVOICE_DESCRIPTIONS, duplicate_details, rejection_details

NUMBERED_WHEN_REJECTED = frozenset({410, 415})
"""Codes given after the XML was read, so that the invoice number is known."""

MODE_UNKNOWN = frozenset({405, 430, 435, 440, 450})
"""Codes of rows without invoicingMode; so recorded for 450, and told of 440 (#300)."""

RESENT_UNCHANGED = frozenset({405, 500, 550})
"""Codes that are not the sender's fault: the same file is sent again."""

TECHNICALLY_CORRECTED = frozenset({430, 435, 450})
"""Codes that a technical correction of an offline invoice puts right: the file is at fault."""


UNKNOWN = "Oczekuje na dodatkową weryfikację"
"""What a status says that no contract knows yet."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """One invoice of a session with its whole life; moments are ticks.

    Seller, `content`, number and issue date make the file that was sent. KSeF has it since
    `received`; `invoiced` is the invoicingDate it tells, which in a batch is the moment the
    session was created. Until it is decided its status is `meanwhile`. `padding` bytes of its file
    are there to make it large.
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
    invoiced: int
    received: int
    processing: int
    decided: int
    stored: int
    code: int = 200
    details: tuple[str, ...] = ()
    original: tuple[str, str] | None = None
    hash_of_corrected: str | None = None
    meanwhile: int = 150
    padding: int = 0

    @property
    def acquired(self) -> int:
        return self.decided - (self.decided - self.processing) // 8

    @property
    def invoice_hash(self) -> str:
        return sha256_base64(self.xml())

    def xml(self) -> bytes:
        """Write the file that was sent, an FA(3) document."""
        text = documents.xml(self.seller, self.content, self.invoice_number, self.issued)
        return documents.padded(text, self.padding) if self.padding else text

    def code_at(self, at: int) -> int:
        if at >= self.decided:
            return self.code
        return self.meanwhile if at >= self.processing else 100

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
        row["invoicingDate"] = iso_ticks(self.invoiced)
        if code == 200 and at >= self.stored:
            row["permanentStorageDate"] = iso_ticks(self.stored)
        if code >= 200 and code not in MODE_UNKNOWN:
            row["invoicingMode"] = self.mode
        row["status"] = self._status(code)
        return row

    def metadata(self) -> Row:
        """Write the accepted invoice as in _metadata.json; nullable fields may be left out."""
        row: Row = {
            "ksefNumber": self.ksef_number,
            "invoiceNumber": self.invoice_number,
            "issueDate": self.issued.isoformat(),
            "invoicingDate": iso_ticks(self.invoiced),
            "acquisitionDate": iso_ticks(self.acquired),
            "permanentStorageDate": iso_micros(self.stored),
            **documents.metadata(self.seller, self.content),
            "invoicingMode": self.mode,
            # Only batch sessions may carry attachments.
            "hasAttachment": self.file_name is not None and self.content[11] < 5,
            "invoiceHash": self.invoice_hash,
        }
        if self.hash_of_corrected:
            row["hashOfCorrectedInvoice"] = self.hash_of_corrected
        return row

    def _status(self, code: int) -> Row:
        status: Row = {"code": code, "description": INVOICE_DESCRIPTIONS.get(code, UNKNOWN)}
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
    received, processing, decided = _own_moments(draft, position, noise)
    invoiced = invoicing(draft, received)
    nip = draft.taxpayer.context_id
    number = _invoice_number(draft, position)
    issued = _issued(draft, noise)
    unmatched = _unmatched_hash(draft, code, noise)
    return Invoice(
        ordinal_number=position + 1,
        reference_number=reference_number(warsaw_date(received), "EE", noise),
        seller=draft.taxpayer,
        content=noise[32:],
        invoice_number=number,
        issued=issued,
        file_name=_file_name(draft, number),
        ksef_number=ksef_number(nip, warsaw_date(decided), noise[10:]),
        mode="Offline" if unmatched else _mode(draft, issued, invoiced, noise),
        invoiced=invoiced,
        received=received,
        processing=processing,
        decided=decided,
        stored=storage(draft, decided, noise),
        code=code,
        details=_details(draft, code, position, noise),
        hash_of_corrected=unmatched,
        padding=draft.oddities.large_invoice_bytes if noise[31] % 64 == 0 else 0,
    )


def late(draft: Draft, invoice: Invoice) -> Invoice:
    """Let an invoice wait longer for its outcome, if it is one of those."""
    noise = digest(invoice.reference_number, "late")
    if not draft.lateness or noise[0] >= 32:
        return invoice
    delay = draft.lateness * noise[1] // 255
    return replace(
        invoice,
        decided=invoice.decided + delay,
        stored=invoice.stored + delay,
        meanwhile=draft.oddities.late_code,
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


def technical_correction(
    draft: Draft, ordinal_number: int, source: Draft, position: int
) -> Invoice:
    """Put a rejected offline invoice right in an online session and say which file it replaces."""
    corrected = own_invoice(source, position)
    after = resent_invoice(draft, ordinal_number, source, position)
    return replace(after, mode="Offline", hash_of_corrected=corrected.invoice_hash)


def is_corrected_technically(source: Draft, position: int) -> bool:
    """Tell whether a sender who puts this rejected invoice right does so by that way."""
    if source.rejections[position] not in TECHNICALLY_CORRECTED:
        return False
    noise = digest(source.reference_number, position)
    rate = source.oddities.technical_correction_rate
    return happens(rate, noise[30:32]) and _is_offline(source, position, noise)


def duplicate_invoice(draft: Draft, ordinal_number: int, source: Draft, position: int) -> Invoice:
    """Send an accepted invoice once more and have it rejected with 440."""
    original = own_invoice(source, position)
    copy = _copy(draft, ordinal_number, original)
    where = source.reference_number
    chance = digest(copy.reference_number, "bare")
    is_bare = happens(draft.oddities.bare_duplicate_rate, chance)
    return replace(
        copy,
        code=440,
        decided=max(copy.decided, original.decided + TICKS_PER_S // 2),
        details=tuple(duplicate_details(original.ksef_number, where)),
        original=None if is_bare else (where, original.ksef_number),
    )


def _copy(draft: Draft, ordinal_number: int, before: Invoice) -> Invoice:
    noise = digest(draft.reference_number, "copy", ordinal_number)
    order = 1 - 0.1 * draft.own_count / ordinal_number
    received, processing, decided = moments(draft, order, noise)
    invoiced = invoicing(draft, received)
    return replace(
        before,
        ordinal_number=ordinal_number,
        reference_number=reference_number(warsaw_date(received), "EE", noise),
        file_name=_file_name(draft, before.invoice_number),
        ksef_number=ksef_number(draft.taxpayer.context_id, warsaw_date(decided), noise[10:]),
        mode=_mode(draft, before.issued, invoiced, noise),
        invoiced=invoiced,
        received=received,
        processing=processing,
        decided=decided,
        stored=storage(draft, decided, noise),
        hash_of_corrected=None,
    )


def _own_moments(draft: Draft, position: int, noise: bytes) -> tuple[int, int, int]:
    return moments(draft, position / draft.own_count * 0.9, noise)


def _issued(draft: Draft, noise: bytes) -> date:
    """Draw the day of issue: most are sent on that day, the others up to three days later."""
    return draft.opening.date() - timedelta(days=max(0, noise[26] % 16 - 15 + EARLIEST_ISSUE_DAYS))


def _is_offline(draft: Draft, position: int, noise: bytes) -> bool:
    """Tell the mode of an own invoice without building it."""
    received, _, _ = _own_moments(draft, position, noise)
    mode = _mode(draft, _issued(draft, noise), invoicing(draft, received), noise)
    return mode == "Offline"


def _mode(draft: Draft, issued: date, invoiced: int, noise: bytes) -> str:
    """Decide the invoicing mode: KSeF itself calls Offline what was issued on an earlier day.

    Else it is what the sender declared, in a batch for the whole session.
    Source: offline/automatyczne-okreslanie-trybu-offline.md
    """
    online = draft.session_type == "Online"
    declared = noise[16] < 13 if online else draft.declares_offline
    return "Offline" if declared or issued < warsaw_date(invoiced) else "Online"


def _file_name(draft: Draft, number: str) -> str | None:
    return f"{number.replace('/', '_')}.xml" if draft.session_type == "Batch" else None


def _details(draft: Draft, code: int, position: int, noise: bytes) -> tuple[str, ...]:
    """Draw what KSeF finds wrong; the XML's validators may find several things."""
    if code == 200:
        return ()
    several = code == 450 and happens(draft.oddities.several_details_rate, noise[27:29])
    count = 2 + noise[29] % 3 if several else 1
    variant = position * 7 + noise[17]
    return tuple(rejection_details(code, variant, draft.taxpayer.context_id, count))


def _unmatched_hash(draft: Draft, code: int, noise: bytes) -> str | None:
    """Draw the hash of a file nobody sent, for an invoice that claims to correct it (#404)."""
    if draft.session_type == "Batch" or code != 200:
        return None
    if not happens(draft.oddities.unmatched_correction_rate, noise[30:32]):
        return None
    return b64encode(digest("unmatched", noise)[:32]).decode()


def _invoice_number(draft: Draft, position: int) -> str:
    created = draft.opening
    since_midnight = created - created.replace(hour=0, minute=0, second=0, microsecond=0)
    serial = f"{since_midnight // timedelta(seconds=1):05d}{position + 1:04d}"
    if draft.taxpayer.style == 0:
        return f"FV/{created:%Y/%m/%d}/{serial}"
    if draft.taxpayer.style == 1:
        return f"{serial}/{created:%d-%m-%Y}/K"
    return f"FA/{draft.taxpayer.context_id}/{created:%y%m%d}{serial}"
