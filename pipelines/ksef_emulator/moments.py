"""When each thing happens to an invoice of a session; all moments are ticks."""

from __future__ import annotations

from ksef_emulator.clock import TICKS_PER_S
from ksef_emulator.history import HOUR, Draft

EARLIEST_STORAGE = 15 * TICKS_PER_S
"""permanentStorageDate lies at most this long before the decision (#445, #459)."""

BULK_PHASE = 2_718_281
"""Bulks are stored at an odd fraction of a second, as any moment at KSeF."""


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
