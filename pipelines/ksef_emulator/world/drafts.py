"""A session as it was drawn, and when each thing happens to its invoices; moments are ticks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from ksef_emulator.clock import HOUR, TICKS_PER_S, WARSAW, to_datetime
from ksef_emulator.identifiers import digest
from ksef_emulator.world.oddities import ORDINARY, Oddities
from ksef_emulator.world.taxpayers import Taxpayer

VALIDITY = 12 * HOUR
"""A session may be used for 12 hours from its opening. Source: sesja-interaktywna.md"""

LONGEST_CORRECTION_DAYS = 5
"""A rejected invoice is sent again at most this many days after its session was opened."""

EARLIEST_ISSUE_DAYS = 3
"""An invoice is issued at most this many days before it is sent for the first time."""

EARLIEST_STORAGE = 15 * TICKS_PER_S
"""permanentStorageDate lies at most this long before the decision (#445, #459)."""

BULK_PHASE = 2_718_281
"""Bulks are stored at an odd fraction of a second, as any moment at KSeF."""


@dataclass(frozen=True, eq=False)
class Draft:
    """A session without what it takes from earlier ones; moments are ticks.

    `rejections` maps positions among the session's own invoices to status codes; `corrected` is
    the moment from which those invoices are sent again, None when they never are. Invoices are
    stored in bulk every `bulk` ticks, or with 0 each on its own. `unlisted_count` invoices are
    counted as failed once the session has its last status, and never listed.
    """

    taxpayer: Taxpayer
    reference_number: str
    session_type: str
    creator_nip: str
    created: int
    closed: int
    settled: int
    code: int
    details: tuple[str, ...]
    own_count: int
    rejections: Mapping[int, int]
    duplicate_count: int
    corrected: int | None
    bulk: int
    oddities: Oddities = ORDINARY
    unlisted_count: int = 0

    @cached_property
    def declares_offline(self) -> bool:
        """Tell whether the sender declared a whole batch Offline when it was opened."""
        return self.session_type == "Batch" and digest(self.reference_number, "offline")[0] < 13

    @property
    def lateness(self) -> int:
        """Return the ticks by which the outcome of an invoice may be late."""
        return int(self.oddities.late_outcome_s * TICKS_PER_S)

    @cached_property
    def opening(self) -> datetime:
        """Return when the session was opened, in Polish time."""
        return to_datetime(self.created).astimezone(WARSAW)

    def code_at(self, at: int) -> int:
        """Return the session's status code at a moment after its creation."""
        if at >= self.settled:
            return self.code
        if at < self.closed:
            return 100
        return 170 if self.session_type == "Online" else 150


def invoicing(draft: Draft, received: int) -> int:
    """Return the invoicingDate: of a whole batch it is when the session was created."""
    return draft.created if draft.session_type == "Batch" else received


def moments(draft: Draft, order: float, noise: bytes) -> tuple[int, int, int]:
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


def storage(draft: Draft, decided: int, noise: bytes) -> int:
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
