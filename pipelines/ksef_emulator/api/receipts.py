"""Routes of official receipts (UPO), by the API and as files behind storage links.

Source: GET /sessions/{referenceNumber}/upo/{upoReferenceNumber} and its two neighbours
"""

from __future__ import annotations

from dataclasses import dataclass

from werkzeug.wrappers import Response

from ksef_emulator.api import parameters
from ksef_emulator.api.calls import SESSION_RIGHTS, Call, Route
from ksef_emulator.api.errors import BadRequest
from ksef_emulator.api.jwt import ACCESS
from ksef_emulator.api.lookup import Lookup, no_invoice
from ksef_emulator.clock import to_ticks
from ksef_emulator.identifiers import sha256_base64
from ksef_emulator.world.receipts import Receipts, invoice_receipt


@dataclass(frozen=True)
class ReceiptRoutes:
    """Hand out receipts of sessions, a page at a time, and of single invoices."""

    lookup: Lookup
    receipts: Receipts

    def routes(self) -> tuple[Route, ...]:
        session = "/v2/sessions/<reference>"
        paths = {
            f"{session}/upo/<upo_reference>": self.of_session,
            f"{session}/invoices/<invoice_reference>/upo": self.of_invoice,
            f"{session}/invoices/ksef/<ksef_number>/upo": self.of_ksef_number,
        }
        return tuple(
            Route("GET", path, answer, "sessionMisc", ACCESS, permissions=SESSION_RIGHTS)
            for path, answer in paths.items()
        )

    def of_session(self, call: Call, reference: str, upo_reference: str) -> Response:
        """Answer GET /sessions/{referenceNumber}/upo/{upoReferenceNumber}."""
        session = self.lookup.session(call, reference)
        parameters.reference(upo_reference, "upoReferenceNumber")
        page = self.receipts.session_page(session, upo_reference, to_ticks(call.at))
        if page is None:
            raise _no_upo(f"numerze referencyjnym {upo_reference} dla sesji {reference}")
        return _receipt(page)

    def of_invoice(self, call: Call, reference: str, invoice_reference: str) -> Response:
        """Answer GET /sessions/{referenceNumber}/invoices/{invoiceReferenceNumber}/upo."""
        session, invoice = self.lookup.invoice(call, reference, invoice_reference)
        if invoice.code_at(to_ticks(call.at)) != 200:
            raise no_invoice(invoice_reference)
        return _receipt(invoice_receipt(session, invoice))

    def of_ksef_number(self, call: Call, reference: str, ksef_number: str) -> Response:
        """Answer GET /sessions/{referenceNumber}/invoices/ksef/{ksefNumber}/upo."""
        parameters.ksef_number(ksef_number)
        self.lookup.session(call, reference, code=21178)
        receipt = self._accepted(call, call.context_id, reference, ksef_number)
        if receipt is None:
            number = f"numerze KSeF {ksef_number} i numerze referencyjnym sesji {reference}"
            raise _no_upo(number)
        return _receipt(receipt)

    def read_session_page(
        self, call: Call, context_id: str, reference: str, name: str
    ) -> bytes | None:
        """Return a page of a session's UPO for a storage link."""
        now = to_ticks(call.at)
        session = self.lookup.submissions.find(context_id, reference, now)
        upo_reference = name.removeprefix("upo_").removesuffix(".xml")
        return self.receipts.session_page(session, upo_reference, now)

    def read_invoice(self, call: Call, context_id: str, reference: str, name: str) -> bytes | None:
        """Return the UPO of an invoice for a storage link; the file is named by KSeF number."""
        number = name.removeprefix("upo_").removesuffix(".xml")
        return self._accepted(call, context_id, reference, number)

    def _accepted(
        self, call: Call, context_id: str, reference: str, ksef_number: str
    ) -> bytes | None:
        """Write the receipt of an invoice that is accepted by now, None if there is none."""
        now = to_ticks(call.at)
        session = self.lookup.submissions.find(context_id, reference, now)
        invoice = self.lookup.first(
            call, session, lambda i: i.ksef_number == ksef_number and i.code_at(now) == 200
        )
        return invoice_receipt(session, invoice) if invoice else None


def _no_upo(number: str) -> BadRequest:
    return BadRequest(21178, f"UPO o {number} nie zostało znalezione.")


def _receipt(document: bytes) -> Response:
    headers = {"x-ms-meta-hash": sha256_base64(document)}
    return Response(document, headers=headers, content_type="application/xml")
