"""One session as KSeF shows it while time passes.

Source: GET /sessions, GET /sessions/{referenceNumber}
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from ksef_emulator.clock import HOUR, TICKS_PER_S, iso_seconds, iso_ticks
from ksef_emulator.identifiers import digest
from ksef_emulator.world.drafts import VALIDITY, Draft
from ksef_emulator.world.invoices import (
    Invoice,
    duplicate_invoice,
    late,
    own_invoice,
    resent_invoice,
    technical_correction,
)
from ksef_emulator.world.rows import Row
from ksef_emulator.world.texts import SESSION_DESCRIPTIONS

LONGEST_STORAGE = 7 * HOUR
"""Permanent storage of an invoice is done this long after its session is settled, or itself."""

LONGEST_LIFE = 36 * HOUR
"""No session changes later than this after its creation, permanent storage included."""


class Copy(NamedTuple):
    """An invoice taken from a session: the one at `position` among its own."""

    kind: Literal["resent", "technical", "duplicate"]
    source: Draft
    position: int


BUILD = {
    "resent": resent_invoice,
    "technical": technical_correction,
    "duplicate": duplicate_invoice,
}


class Counters(NamedTuple):
    total: int
    successful: int
    failed: int


@dataclass(frozen=True)
class _Pulse:
    """The sorted moments at which a session's invoices move its counters and dateUpdated."""

    received: list[int]
    accepted: list[int]
    rejected: list[int]
    changes: list[int]


@dataclass(eq=False)
class Session:
    """A draft with the copies it got from other sessions; moments are ticks.

    `lag` bounds how late the counters follow; 0 means never.
    """

    draft: Draft
    copies: tuple[Copy, ...]
    lag: int
    storage_updates: bool

    @property
    def counters_lag(self) -> int:
        return self.lag * self._noise[0] // 255

    @property
    def failed_lag(self) -> int:
        """Return how long …/failed runs behind; one session in four is much slower."""
        return self.lag * (20 if self._noise[1] < 64 else 1)

    @cached_property
    def _noise(self) -> bytes:
        return digest(self.draft.reference_number, "lag")[:2]

    def invoices(self) -> Iterator[Invoice]:
        """Yield all invoices the session will ever hold, by ordinal number."""
        for ordinal_number in range(1, self.draft.own_count + len(self.copies) + 1):
            yield self.invoice(ordinal_number)

    def invoice(self, ordinal_number: int) -> Invoice:
        """Build one invoice of the session; the first has ordinal number 1."""
        draft = self.draft
        if ordinal_number <= draft.own_count:
            return late(draft, own_invoice(draft, ordinal_number - 1))
        copy = self.copies[ordinal_number - draft.own_count - 1]
        return late(draft, BUILD[copy.kind](draft, ordinal_number, copy.source, copy.position))

    def counters_at(self, at: int) -> Counters:
        """Count the invoices KSeF reports at a moment; in process counts in the total only."""
        seen = at - self.counters_lag
        if seen >= self.draft.settled + self.draft.lateness:
            return self.last_counters
        pulse = self._pulse
        moments = pulse.received, pulse.accepted, pulse.rejected
        total, accepted, rejected = (bisect_right(each, seen) for each in moments)
        unlisted = self.draft.unlisted_count if seen >= self.draft.settled else 0
        return Counters(total + unlisted, accepted, rejected + unlisted)

    def updated_at(self, at: int) -> int:
        """Return dateUpdated at a moment, in ticks of a whole second."""
        draft = self.draft
        moments = [m for m in (draft.created, draft.closed, draft.settled) if m <= at]
        if at < draft.settled or self.storage_updates or draft.lateness:
            changes = self._pulse.changes
            moments.extend(changes[: bisect_right(changes, at)][-1:])
        return max(moments) // TICKS_PER_S * TICKS_PER_S

    def closed_at(self, at: int) -> int | None:
        """Return when the session was closed, None while it is open."""
        return self.draft.closed if at >= self.draft.closed else None

    def status_at(self, at: int) -> Row:
        code = self.draft.code_at(at)
        status: Row = {
            "code": code,
            "description": SESSION_DESCRIPTIONS[self.draft.session_type, code],
        }
        if code == self.draft.code and self.draft.details:
            status["details"] = list(self.draft.details)
        return status

    def row(self, at: int) -> Row:
        """Write the item of GET /sessions."""
        counters = self.counters_at(at)
        return {
            "referenceNumber": self.draft.reference_number,
            "status": self.status_at(at),
            "dateCreated": iso_ticks(self.draft.created),
            "dateUpdated": iso_seconds(self.updated_at(at)),
            "validUntil": iso_ticks(self.draft.created + VALIDITY),
            "totalInvoiceCount": counters.total,
            "successfulInvoiceCount": counters.successful,
            "failedInvoiceCount": counters.failed,
        }

    @cached_property
    def last_counters(self) -> Counters:
        """Count the invoices once the session has its last status, unlisted ones included."""
        draft = self.draft
        duplicates = sum(copy.kind == "duplicate" for copy in self.copies)
        total = draft.own_count + len(self.copies) + draft.unlisted_count
        failed = len(draft.rejections) + duplicates + draft.unlisted_count
        return Counters(total, total - failed, failed)

    @cached_property
    def _pulse(self) -> _Pulse:
        invoices = list(self.invoices())
        changes = {m for i in invoices for m in (i.received, i.processing)}
        settled, moves = self.draft.settled, self.draft.oddities.late_updates
        changes.update(i.decided for i in invoices if moves or i.decided <= settled)
        if self.storage_updates:
            changes.update(max(i.stored, i.decided) for i in invoices if i.code == 200)
        return _Pulse(
            received=sorted(i.received for i in invoices),
            accepted=sorted(i.decided for i in invoices if i.code == 200),
            rejected=sorted(i.decided for i in invoices if i.code != 200),
            changes=sorted(changes),
        )
