"""Routes that list a session's invoices, all or the failed ones, and show one.

Source: GET /sessions/{referenceNumber}/invoices
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from werkzeug.wrappers import Response

from ksef_emulator.api.answers import json_answer
from ksef_emulator.api.calls import SESSION_RIGHTS, Call, Route
from ksef_emulator.api.downloads import Links
from ksef_emulator.api.jwt import ACCESS
from ksef_emulator.api.lookup import Lookup
from ksef_emulator.api.paging import Pages
from ksef_emulator.clock import iso_ticks, to_ticks
from ksef_emulator.identifiers import digest
from ksef_emulator.quirks import Quirks
from ksef_emulator.world.invoices import Invoice
from ksef_emulator.world.rows import Row
from ksef_emulator.world.sessions import Session


@dataclass(frozen=True)
class InvoiceRoutes:
    """Tell of the invoices of a session."""

    lookup: Lookup
    links: Links
    pages: Pages
    quirks: Quirks

    def routes(self) -> tuple[Route, ...]:
        path, group = "/v2/sessions/<reference>/invoices", "sessionInvoiceList"
        one = f"{path}/<invoice_reference>"
        failed_group = f"{group}:failed" if self.quirks.failed_apart else group
        return (
            Route("GET", path, self.list, group, ACCESS, permissions=SESSION_RIGHTS),
            Route(
                "GET",
                f"{path}/failed",
                self.list_failed,
                failed_group,
                ACCESS,
                permissions=SESSION_RIGHTS,
            ),
            Route("GET", one, self.show, "invoiceStatus", ACCESS, permissions=SESSION_RIGHTS),
        )

    def list(self, call: Call, reference: str) -> Response:
        """Answer GET /sessions/{referenceNumber}/invoices."""
        session = self.lookup.session(call, reference)
        found = self.lookup.submissions.received_invoices(session, to_ticks(call.at))
        return self._page(call, session, found)

    def list_failed(self, call: Call, reference: str) -> Response:
        """Answer GET /sessions/{referenceNumber}/invoices/failed."""
        session = self.lookup.session(call, reference)
        found = self.lookup.submissions.rejected_invoices(session, to_ticks(call.at))
        return self._page(call, session, found)

    def show(self, call: Call, reference: str, invoice_reference: str) -> Response:
        """Answer GET /sessions/{referenceNumber}/invoices/{invoiceReferenceNumber}."""
        session, invoice = self.lookup.invoice(call, reference, invoice_reference)
        return json_answer(self._row(call, session, invoice))

    def _page(self, call: Call, session: Session, found: Sequence[Invoice]) -> Response:
        if self.quirks.invoice_order == "any":
            found = sorted(found, key=lambda i: digest(i.reference_number))
        return self.pages.answer(call, "invoices", found, lambda i: self._row(call, session, i))

    def _row(self, call: Call, session: Session, invoice: Invoice) -> Row:
        row = invoice.row(to_ticks(call.at))
        if row["status"]["code"] == 200:
            folder = f"{session.draft.reference_number.lower()}/invoice-upo"
            url, until = self.links.of_upo(call, f"{folder}/upo_{invoice.ksef_number}.xml")
            row["upoDownloadUrl"] = url
            row["upoDownloadUrlExpirationDate"] = iso_ticks(to_ticks(until))
        return row
