"""Exports under way: when each is done, with which status, and what its package holds.

Source: POST /invoices/exports, GET /invoices/exports/{referenceNumber}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from ksef_emulator.api.calls import Call
from ksef_emulator.api.errors import BadRequest
from ksef_emulator.api.exports.package import Package, build
from ksef_emulator.api.exports.request import ExportRequest
from ksef_emulator.api.exports.settings import ExportSettings
from ksef_emulator.clock import HOUR, TICKS_PER_S, to_datetime, to_ticks
from ksef_emulator.identifiers import digest, reference_number
from ksef_emulator.world.invoices import Invoice
from ksef_emulator.world.repository import Place, Repository, bound

EXPIRATION = 7 * 86_400 * TICKS_PER_S
"""A status can be asked for this long after its export is completed."""

EVENING = 2 * HOUR
"""So long KSeF takes back its high-water mark, where it does."""


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

    def __init__(self, repository: Repository, settings: ExportSettings, seed: int) -> None:
        self.settings = settings
        self._repository = repository
        self._seed = seed
        self._exports: dict[str, Export] = {}
        self.package = lru_cache(32)(self._package)

    def add(self, request: ExportRequest, key: bytes | None, call: Call) -> Export:
        """Start an export. Raises BadRequest 21182 when all slots are taken."""
        requested = to_ticks(call.at)
        number = len(self._exports) + 1
        noise = digest("export", number, call.at, request.encrypted_key)
        export = Export(
            number=number,
            reference_number=reference_number(call.at.date(), "EH", noise),
            context_id=call.context_id,
            subject_nip=call.subject_nip,
            request=request,
            key=key,
            requested=requested,
            processed=requested,
        )
        self._check_slots(export)
        export.processed += self._duration(export)
        self._exports[export.reference_number] = export
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
        boundary = export.processed - int(self.settings.hwm_lag_s * TICKS_PER_S)
        evening, back = _evening_before(export.processed), self._steps_back
        if back and export.processed < evening + EVENING:
            return min(boundary, evening - back)
        return boundary

    @property
    def _steps_back(self) -> int:
        return int(self.settings.hwm_steps_back_s * TICKS_PER_S)

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
            chance = digest(self._seed, "duration", export.number)[0] / 255
            seconds = 3 + 2 * chance + 0.002 * count
        return int(seconds * TICKS_PER_S)

    def _package(self, export: Export) -> Package:
        """Build what KSeF built when it processed the export."""
        at = export.processed
        lag = int(self.settings.hwm_lag_s * TICKS_PER_S)
        latest = self.boundary(export) if export.request.restrict else at
        invoices = (place.invoice() for place in self._places(export, latest))
        return build(
            (invoice for invoice in invoices if self._found_from(invoice, lag) <= at),
            export.request,
            export.key or b"",
            at=to_datetime(at),
            settings=self.settings,
            tampering=self.settings.tampering.get(export.number),
        )

    def _found_from(self, invoice: Invoice, lag: int) -> int:
        """Return when a search begins to find an invoice: up to the lag after it was stored."""
        late = invoice.stored + lag * invoice.content[31] // 255
        found = min(max(late, invoice.decided), invoice.stored + lag)
        evening = _evening_before(invoice.stored + self._steps_back)
        is_forgotten = self._steps_back and invoice.content[30] < 32
        if is_forgotten and evening - self._steps_back <= invoice.stored < evening:
            return max(found, evening + EVENING)
        return found

    def _places(self, export: Export, latest: int) -> Iterator[Place]:
        request = export.request
        low, high = request.low, latest if request.high is None else min(latest, request.high)
        if low > high:
            return iter(())
        dates = request.date_type
        return self._repository.places(
            export.context_id, request.subject_type, dates, bound(low, dates), bound(high, dates)
        )


def _evening_before(moment: int) -> int:
    """Return the last 18:00 UTC."""
    return (moment - 18 * HOUR) // (24 * HOUR) * (24 * HOUR) + 18 * HOUR
