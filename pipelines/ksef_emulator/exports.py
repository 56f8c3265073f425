"""Exports of invoices: take a request, and tell how far it is and where the package lies.

Source: POST /invoices/exports, GET /invoices/exports/{referenceNumber}
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from itertools import islice
from typing import Any

from werkzeug.wrappers import Response

from ksef_emulator import parameters
from ksef_emulator.answers import BadRequest, Gone, json_answer
from ksef_emulator.calls import Call
from ksef_emulator.clock import TICKS_PER_S, iso_ticks, to_datetime, to_ticks
from ksef_emulator.export_request import ExportRequest, read_export_request
from ksef_emulator.export_settings import ExportSettings
from ksef_emulator.identifiers import digest, reference_number, sha256_base64
from ksef_emulator.invoices import Invoice
from ksef_emulator.keys import SYMMETRIC_USAGE
from ksef_emulator.packages import EXTENSIONS, Package, Part, build
from ksef_emulator.repository import Place, bound
from ksef_emulator.world import World

EXPIRATION = 7 * 86_400 * TICKS_PER_S
"""A status can be asked for this long after its export is completed."""

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


@dataclass(eq=False)
class Export:
    """One export; moments are ticks, `key` is None when it could not be decrypted.

    KSeF takes in what is stored when it processes the export, so `processed` fixes the content.
    """

    number: int
    reference_number: str
    context_id: str
    subject_nip: str
    request: ExportRequest
    key: bytes | None
    requested: int
    processed: int
    polls: int = 0


class Exports:
    """Remember all exports of an emulator, and rebuild the packages of the last few."""

    def __init__(self, world: World, settings: ExportSettings) -> None:
        self.world = world
        self.settings = settings
        self.lock = threading.RLock()
        self._exports: dict[str, Export] = {}
        self.package = lru_cache(4)(self._package)

    def add(self, request: ExportRequest, key: bytes | None, call: Call) -> Export:
        """Start an export. Raises BadRequest 21182 when all slots are taken."""
        requested = to_ticks(call.at)
        with self.lock:
            number = len(self._exports) + 1
            reference = reference_number(
                call.at.date(), "EH", digest("export", number, call.at, request.encrypted_key)
            )
            export = Export(
                number=number,
                reference_number=reference,
                context_id=call.context_id,
                subject_nip=call.subject_nip,
                request=request,
                key=key,
                requested=requested,
                processed=requested,
            )
            self._check_slots(export)
            export.processed += self._duration(export)
            self._exports[reference] = export
        return export

    def find(self, context_id: str, reference: str) -> Export | None:
        export = self._exports.get(reference)
        return export if export and export.context_id == context_id else None

    def code_at(self, export: Export, at: int) -> int:
        """Return an export's status code at a moment."""
        outcome = self.settings.outcomes.get(export.number)
        if at < export.processed or outcome == 100:
            return 100
        if export.key is None:
            return 415
        if export.request.restrict and export.request.low > self.boundary(export):
            return 420
        return outcome or 200

    def boundary(self, export: Export) -> int:
        """Return up to when the repository was complete at the time of processing."""
        return export.processed - int(self.settings.hwm_lag_s * TICKS_PER_S)

    def _check_slots(self, new: Export) -> None:
        running = [
            export
            for export in self._exports.values()
            if (export.context_id, export.subject_nip) == (new.context_id, new.subject_nip)
            and self.code_at(export, new.requested) == 100
        ]
        if len(running) >= self.settings.slots:
            raise BadRequest(
                21182,
                "Dla uwierzytelnionego podmiotu w bieżącym kontekście osiągnięto maksymalny limit"
                f" {self.settings.slots} równoczesnych eksportów faktur. Spróbuj ponownie później.",
            )

    def _duration(self, export: Export) -> int:
        seconds = self.settings.duration_s
        if seconds is None:
            count = sum(
                1 for _ in islice(self._places(export, export.requested), self.settings.cap)
            )
            chance = digest(self.world.seed, "duration", export.number)[0] / 255
            seconds = 3 + 2 * chance + 0.002 * count
        return int(seconds * TICKS_PER_S)

    def _package(self, export: Export) -> Package:
        """Build what KSeF built when it processed the export."""
        at = export.processed
        lag = int(self.settings.hwm_lag_s * TICKS_PER_S)
        latest = self.boundary(export) if export.request.restrict else at
        invoices = (place.invoice() for place in self._places(export, latest))
        return build(
            (invoice for invoice in invoices if _found_from(invoice, lag) <= at),
            export.request,
            export.key or b"",
            at=to_datetime(at),
            settings=self.settings,
            tampering=self.settings.tampering.get(export.number),
        )

    def _places(self, export: Export, latest: int) -> Iterator[Place]:
        request = export.request
        low, high = request.low, latest if request.high is None else min(latest, request.high)
        if low > high:
            return iter(())
        dates = request.date_type
        return self.world.repository.places(
            export.context_id, request.subject_type, dates, bound(low, dates), bound(high, dates)
        )


def _found_from(invoice: Invoice, lag: int) -> int:
    """Return when a search begins to find an invoice: up to the lag after it was stored."""
    late = invoice.stored + lag * invoice.content[31] // 255
    return min(max(late, invoice.decided), invoice.stored + lag)


def start(call: Call) -> Response:
    """Answer POST /invoices/exports."""
    request = read_export_request(call.json(), now=to_ticks(call.at))
    emulator = call.emulator
    try:
        key = emulator.keys.decrypt(
            request.encrypted_key, request.public_key_id, at=call.at, usage=SYMMETRIC_USAGE
        )
    except ValueError:
        key = b""
    export = emulator.exports.add(request, key if len(key) == 32 else None, call)
    return json_answer({"referenceNumber": export.reference_number}, 201)


def show(call: Call, reference: str) -> Response:
    """Answer GET /invoices/exports/{referenceNumber}."""
    parameters.reference(reference)
    exports = call.emulator.exports
    export = exports.find(call.context_id, reference)
    if export is None:
        raise BadRequest(21175)
    at = to_ticks(call.at)
    code = exports.code_at(export, at)
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
        if export.polls > exports.settings.late_package_polls:
            body["package"] = _package_row(call, export)
    return json_answer(body)


def read_part(call: Call, context_id: str, reference: str, name: str) -> bytes | None:
    """Return the encrypted part of that name, None where there is none (any more)."""
    exports = call.emulator.exports
    export = exports.find(context_id, reference)
    if export is None or to_ticks(call.at) > export.processed + EXPIRATION:
        return None
    with exports.lock:
        parts = exports.package(export).parts
    names = {_part_name(export, number): part for number, part in enumerate(parts, start=1)}
    return names[name].encrypted if name in names else None


def _package_row(call: Call, export: Export) -> dict[str, Any]:
    exports, request = call.emulator.exports, export.request
    with exports.lock:
        package = exports.package(export)
    row: dict[str, Any] = {
        "invoiceCount": package.invoice_count,
        "size": package.size,
        "parts": [
            _part_row(call, export, number, part)
            for number, part in enumerate(package.parts, start=1)
        ],
        "isTruncated": package.is_truncated,
    }
    if package.is_truncated and package.last:
        row |= _last_date(request, package.last)
    if request.date_type == "PermanentStorage":
        boundary = exports.boundary(export)
        hwm = boundary if request.high is None else min(boundary, request.high)
        row["permanentStorageHwmDate"] = iso_ticks(hwm)
    if exports.settings.shows_compression_type:
        row["compressionType"] = request.compression_type
    return row


def _last_date(request: ExportRequest, last: Invoice) -> dict[str, str]:
    return {
        "PermanentStorage": {"lastPermanentStorageDate": iso_ticks(last.stored)},
        "Invoicing": {"lastInvoicingDate": iso_ticks(last.invoiced)},
        "Issue": {"lastIssueDate": last.issued.isoformat()},
    }[request.date_type]


def _part_row(call: Call, export: Export, number: int, part: Part) -> dict[str, Any]:
    settings = call.emulator.exports.settings
    tampering = settings.tampering.get(export.number)
    name = _part_name(export, number)
    until = call.at + timedelta(seconds=settings.link_lifetime_s)
    foreign = tampering == "foreign-host"
    root = "https://storage.example" if foreign else call.request.host_url.rstrip("/")
    path = f"{export.reference_number.lower()}/invoice-part/{name}"
    wrong = sha256_base64(b"tampered")
    larger = tampering == "part-size"
    return {
        "ordinalNumber": number,
        "partName": name,
        "method": "GET",
        "url": call.emulator.links.sign(root, path, export.context_id, until),
        "partSize": part.size + larger,
        "partHash": wrong if tampering == "part-hash" else part.hash,
        "encryptedPartSize": len(part.encrypted) + larger,
        "encryptedPartHash": wrong if tampering == "part-hash" else part.encrypted_hash,
        "expirationDate": iso_ticks(to_ticks(until)),
    }


def _part_name(export: Export, number: int) -> str:
    extension = EXTENSIONS[export.request.compression_type]
    return f"{export.reference_number}-{number:03d}.{extension}.aes"
