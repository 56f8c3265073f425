"""A uniform past for benchmarks: many alike sessions that are all over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Literal

from ksef_emulator.clock import HOUR, TICKS_PER_S, WARSAW, to_datetime, to_ticks, warsaw_date
from ksef_emulator.identifiers import digest, reference_number, seeded_random
from ksef_emulator.world.drafts import Draft
from ksef_emulator.world.history import rejected_positions
from ksef_emulator.world.taxpayers import Taxpayer


@dataclass(frozen=True)
class Backlog:
    """What each taxpayer sent in the first `days` of the world, evenly spread; nothing after.

    All sessions end with 200, minutes after they were opened. `rejection_rate` is 0 to 1; at
    least one invoice of a session is accepted.
    """

    session_type: Literal["Online", "Batch"]
    sessions: int
    invoices_per_session: int
    rejection_rate: float = 0.02
    days: float = 30.0

    @property
    def largest_session(self) -> int:
        return self.invoices_per_session

    def drafts(
        self, seed: int, taxpayer: Taxpayer, day: date, *, start: int, bulk: int
    ) -> list[Draft]:
        """Draw a taxpayer's sessions of a Warsaw day, in order of creation."""
        step = max(1, int(self.days * 24 * HOUR) // self.sessions)
        midnight = to_ticks(datetime.combine(day, time(), WARSAW))
        first = max(0, (midnight - start) // step)
        last = min(self.sessions - 1, (midnight + 25 * HOUR - start) // step)
        return [
            self._draft(seed, taxpayer, number, start + number * step, bulk)
            for number in range(first, last + 1)
            if warsaw_date(start + number * step) == day
        ]

    def _draft(self, seed: int, taxpayer: Taxpayer, number: int, created: int, bulk: int) -> Draft:
        rng = seeded_random(seed, taxpayer.context_id, "backlog", number)
        count = self.invoices_per_session
        online = self.session_type == "Online"
        closed = created + (30 + count if online else 60) * TICKS_PER_S
        noise = digest(seed, taxpayer.context_id, "backlog", number)
        return Draft(
            taxpayer=taxpayer,
            reference_number=reference_number(
                to_datetime(created).date(), "SO" if online else "SB", noise
            ),
            session_type=self.session_type,
            creator_nip=taxpayer.context_id,
            created=created,
            closed=closed,
            settled=closed + 10 * TICKS_PER_S + count * TICKS_PER_S // 50,
            code=200,
            details=(),
            own_count=count,
            rejections=rejected_positions(rng, count, self.rejection_rate),
            duplicate_count=0,
            corrected=None,
            bulk=0 if online else bulk,
        )
