"""Routes of exports: start one, and tell how far it is and where the parts of its package lie.

Source: POST /invoices/exports, GET /invoices/exports/{referenceNumber}
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from werkzeug.wrappers import Response

from ksef_emulator.api import parameters
from ksef_emulator.api.answers import json_answer
from ksef_emulator.api.calls import Call, Route
from ksef_emulator.api.downloads import Links
from ksef_emulator.api.errors import BadRequest, Gone
from ksef_emulator.api.exports.package import EXTENSIONS, Part
from ksef_emulator.api.exports.processing import EXPIRATION, Export, Exports
from ksef_emulator.api.exports.request import ExportRequest, read_export_request
from ksef_emulator.api.jwt import ACCESS
from ksef_emulator.api.keys import SYMMETRIC_USAGE, PublicKeys
from ksef_emulator.clock import iso_ticks, to_ticks
from ksef_emulator.identifiers import sha256_base64
from ksef_emulator.world.invoices import Invoice

RIGHTS = ("InvoiceRead",)
DESCRIPTIONS = {
    100: "Eksport faktur w toku",
    200: "Eksport faktur zakończony sukcesem",
    210: "Eksport faktur wygasł i nie jest już dostępny do pobrania",
    415: "Błąd odszyfrowania dostarczonego klucza",
    420: "Zakres filtrowania wykracza poza dostępny zakres danych",
    500: "Nieznany błąd (500)",
    550: "Operacja została anulowana przez system",
}
DETAILS = {
    420: "Parametr dateRange.from jest późniejszy niż PermanentStorageHwmDate"
    " przy włączonym restrictToPermanentStorageHwmDate.",
    550: "Przetwarzanie zostało przerwane z przyczyn wewnętrznych systemu. Spróbuj ponownie",
}


@dataclass(frozen=True)
class ExportRoutes:
    """Take requests for exports and tell of them."""

    exports: Exports
    keys: PublicKeys
    links: Links

    def routes(self) -> tuple[Route, ...]:
        path, one = "/v2/invoices/exports", "/v2/invoices/exports/<reference>"
        return (
            Route("POST", path, self.start, "invoiceExport", ACCESS, permissions=RIGHTS),
            Route("GET", one, self.show, "invoiceExportStatus", ACCESS, permissions=RIGHTS),
        )

    def start(self, call: Call) -> Response:
        """Answer POST /invoices/exports."""
        request = read_export_request(call.json(), now=to_ticks(call.at))
        try:
            key = self.keys.decrypt(
                request.encrypted_key, request.public_key_id, at=call.at, usage=SYMMETRIC_USAGE
            )
        except ValueError:
            key = b""
        export = self.exports.add(request, key if len(key) == 32 else None, call)
        return json_answer({"referenceNumber": export.reference_number}, 201)

    def show(self, call: Call, reference: str) -> Response:
        """Answer GET /invoices/exports/{referenceNumber}."""
        parameters.reference(reference)
        export = self.exports.find(call.context_id, reference)
        if export is None:
            raise BadRequest(21175)
        at = to_ticks(call.at)
        code = self.exports.code_at(export, at)
        status: dict[str, Any] = {"code": code, "description": DESCRIPTIONS[code]}
        if code in DETAILS:
            status["details"] = [DETAILS[code]]
        body: dict[str, Any] = {"status": status}
        if code != 100:
            if at > export.processed + EXPIRATION:
                raise Gone
            body["completedDate"] = iso_ticks(export.processed)
        if code in (200, 210):
            body["packageExpirationDate"] = iso_ticks(export.processed + EXPIRATION)
        if code == 200:
            export.polls += 1
            if export.polls > self.exports.settings.late_package_polls:
                body["package"] = self._package_row(call, export)
        return json_answer(body)

    def read_part(self, call: Call, context_id: str, reference: str, name: str) -> bytes | None:
        """Return the encrypted part of that name, None where there is none (any more)."""
        export = self.exports.find(context_id, reference)
        if export is None or to_ticks(call.at) > export.processed + EXPIRATION:
            return None
        parts = enumerate(self.exports.package(export).parts, start=1)
        names = {_part_name(export, number): part for number, part in parts}
        return names[name].encrypted if name in names else None

    def _package_row(self, call: Call, export: Export) -> dict[str, Any]:
        request, settings = export.request, self.exports.settings
        package = self.exports.package(export)
        row: dict[str, Any] = {
            "invoiceCount": package.invoice_count,
            "size": package.size,
            "parts": [
                self._part_row(call, export, number, part)
                for number, part in enumerate(package.parts, start=1)
            ],
            "isTruncated": package.is_truncated,
        }
        if package.is_truncated and package.last:
            row |= _last_date(request, package.last)
        if request.date_type == "PermanentStorage":
            boundary = self.exports.boundary(export)
            hwm = boundary if request.high is None else min(boundary, request.high)
            row["permanentStorageHwmDate"] = iso_ticks(hwm)
        if settings.shows_compression_type:
            row["compressionType"] = request.compression_type
        return row

    def _part_row(self, call: Call, export: Export, number: int, part: Part) -> dict[str, Any]:
        settings = self.exports.settings
        tampering = settings.tampering.get(export.number)
        name = _part_name(export, number)
        until = call.at + timedelta(seconds=settings.link_lifetime_s)
        root = "https://storage.example" if tampering == "foreign-host" else None
        path = f"{export.reference_number.lower()}/invoice-package/{name}"
        wrong = sha256_base64(b"tampered")
        larger = tampering == "part-size"
        return {
            "ordinalNumber": number,
            "partName": name,
            "method": "GET",
            "url": self.links.sign(call, path, until, root),
            "partSize": part.size + larger,
            "partHash": wrong if tampering == "part-hash" else part.hash,
            "encryptedPartSize": len(part.encrypted) + larger,
            "encryptedPartHash": wrong if tampering == "part-hash" else part.encrypted_hash,
            "expirationDate": iso_ticks(to_ticks(until)),
        }


def _last_date(request: ExportRequest, last: Invoice) -> dict[str, str]:
    return {
        "PermanentStorage": {"lastPermanentStorageDate": iso_ticks(last.stored)},
        "Invoicing": {"lastInvoicingDate": iso_ticks(last.invoiced)},
        "Issue": {"lastIssueDate": last.issued.isoformat()},
    }[request.date_type]


def _part_name(export: Export, number: int) -> str:
    extension = EXTENSIONS[export.request.compression_type]
    return f"{export.reference_number}-{number:03d}.{extension}.aes"
