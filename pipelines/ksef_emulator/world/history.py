"""What happens on one day: which sessions a taxpayer opens and how each of them ends.

A day is drawn from its own random generator, so no day depends on another and none is drawn
before it is asked for. Fates of FATES after the two common ones are also scheduled, two or
three a day, so that any week of any taxpayer shows every status code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Literal

from ksef_emulator.clock import TICKS_PER_S, WARSAW, to_datetime, to_ticks
from ksef_emulator.identifiers import digest, reference_number, seeded_random
from ksef_emulator.world.drafts import VALIDITY, Draft
from ksef_emulator.world.taxpayers import Taxpayer
from ksef_emulator.world.texts import NOTHING_SENT, TOO_LATE, TOO_MANY

HOUR_WEIGHTS = (1, 1, 4, 1, 1, 2, 5, 20, 45, 60, 60, 55, 45, 55, 60, 45, 30, 15, 8, 6, 5, 4, 3, 2)
"""Sessions opened in each hour of a Warsaw day; the peak at 2 is the nightly batch."""

WEEKEND_SHARE = 0.15
REJECTION_CODES = (450, 430, 435, 410, 415, 500, 550)
REJECTION_WEIGHTS = (78, 6, 5, 5, 2, 1, 3)
SHOWCASE = (410, 415, 430, 435, 450, 500, 550, 450, 450, 450, 450, 450, 450, 410, 430)
"""Rejections of the weekly showcase session: every code, then every text of the long lists."""


@dataclass(frozen=True)
class Fate:
    """How a session ends; `leaves` says what takes it out of status 100."""

    session_type: Literal["Online", "Batch"]
    code: int
    weight: int = 1
    detail: str | None = None
    leaves: Literal["closed", "expired", "refused"] = "closed"
    showcase: bool = False


FATES = (
    Fate("Online", 200, weight=400),
    Fate("Batch", 200, weight=170),
    Fate("Online", 200, weight=15, leaves="expired"),
    Fate("Online", 440, weight=4, detail=NOTHING_SENT),
    Fate("Online", 440, weight=4, detail=NOTHING_SENT, leaves="expired"),
    Fate("Online", 445, weight=3),
    Fate("Online", 415, leaves="refused"),
    Fate("Batch", 405),
    Fate("Batch", 415, leaves="refused"),
    Fate("Batch", 420, detail=TOO_MANY),
    Fate("Batch", 430),
    Fate("Batch", 435),
    Fate("Batch", 440, weight=3, detail=TOO_LATE, leaves="expired"),
    Fate("Batch", 440, detail=NOTHING_SENT),
    Fate("Batch", 445, weight=2),
    Fate("Batch", 500),
    Fate("Batch", 200, weight=0, showcase=True),
)
SCHEDULED = FATES[2:]


@dataclass(frozen=True)
class DayOfSessions:
    """The size of a world's days: how many sessions, and how large one may be."""

    sessions_per_day: int
    largest_session: int

    def drafts(
        self, seed: int, taxpayer: Taxpayer, day: date, *, start: int, bulk: int
    ) -> list[Draft]:
        """Draw a taxpayer's sessions of a Warsaw day, in order of creation, none before `start`."""
        rng = seeded_random(seed, taxpayer.context_id, day)
        scheduled = _scheduled(day)
        share = WEEKEND_SHARE if day.weekday() >= 5 else rng.uniform(0.75, 1.25)
        common = max(0, round(self.sessions_per_day * share) - len(scheduled))
        fates = scheduled + rng.choices(FATES, [fate.weight for fate in FATES], k=common)
        moments = [(_opening(rng, day), fate) for fate in fates]
        moments.sort(key=lambda moment: moment[0])
        drafts = [self._draft(rng, taxpayer, created, fate, bulk) for created, fate in moments]
        return [draft for draft in drafts if draft.created >= start]

    def _draft(self, rng: Random, taxpayer: Taxpayer, created: int, fate: Fate, bulk: int) -> Draft:
        count = self._own_count(rng, fate)
        closed, settled = _ending(rng, fate, created, count)
        noise = digest(taxpayer.context_id, created, rng.random())
        kind = "SO" if fate.session_type == "Online" else "SB"
        return Draft(
            taxpayer=taxpayer,
            reference_number=reference_number(to_datetime(created).date(), kind, noise),
            session_type=fate.session_type,
            creator_nip=taxpayer.writer_nip if rng.random() < 0.35 else taxpayer.context_id,
            created=created,
            closed=closed,
            settled=settled,
            code=fate.code,
            details=(fate.detail,) if fate.detail else (),
            own_count=count,
            rejections=_rejections(rng, fate, count, taxpayer.rejection_rate),
            duplicate_count=_duplicate_count(rng, fate),
            corrected=_correction(rng, settled),
            bulk=bulk if fate.session_type == "Batch" else 0,
        )

    def _own_count(self, rng: Random, fate: Fate) -> int:
        if fate.code not in (200, 445, 500):
            return 0
        if fate.showcase:
            # Two places stay free for the duplicates that belong to the showcase.
            return max(1, min(24, self.largest_session - 2))
        if fate.session_type == "Online":
            count = 1 + int(rng.expovariate(1 / 6))
            return min(count, 30, self.largest_session)
        if fate.code != 200:
            return min(rng.randint(2, 40), self.largest_session)
        if rng.random() < 0.01:
            return self.largest_session
        return min(int(math.exp(rng.uniform(math.log(20), math.log(2000)))), self.largest_session)


def _scheduled(day: date) -> list[Fate]:
    """Give each day of a week its share of the rare fates."""
    return list(SCHEDULED[day.toordinal() % 7 :: 7])


def _opening(rng: Random, day: date) -> int:
    hour = rng.choices(range(24), HOUR_WEIGHTS)[0]
    local = datetime.combine(day, time(hour), WARSAW) + timedelta(seconds=rng.uniform(0, 3600))
    # The rng gives microseconds only; the seventh decimal is drawn apart.
    return to_ticks(local) + rng.randrange(10)


def _ending(rng: Random, fate: Fate, created: int, count: int) -> tuple[int, int]:
    """Draw when a session leaves status 100 and when it gets its last status."""
    if fate.leaves == "refused":
        refused = created + int(rng.uniform(2, 20) * TICKS_PER_S)
        return refused, refused
    if fate.leaves == "expired":
        # KSeF closes late: both examples in the contract show up to an hour.
        closed = created + VALIDITY + int(rng.uniform(60, 3540) * TICKS_PER_S)
    elif fate.session_type == "Online":
        closed = created + int(min(20 + count * rng.uniform(10, 200), 6 * 3600) * TICKS_PER_S)
    else:
        closed = created + int(rng.choice((2, rng.uniform(20, 900))) * TICKS_PER_S)
    if fate.code == 440 and fate.session_type == "Batch":
        return closed, closed + (0 if fate.leaves == "expired" else 3 * TICKS_PER_S)
    processing = rng.uniform(6, 60) + count * rng.uniform(0.01, 0.04)
    if rng.random() < 0.02:
        processing += rng.uniform(1, 6) * 3600
    return closed, closed + int(processing * TICKS_PER_S)


def _rejections(rng: Random, fate: Fate, count: int, rate: float) -> dict[int, int]:
    if fate.showcase:
        return dict(enumerate(SHOWCASE[: count - 1]))
    if fate.code == 500:
        # The session broke half way: what was not finished is cancelled with it.
        return dict.fromkeys(range(count // 2, count), 405)
    if fate.code == 445:
        return _with_codes(rng, list(range(count)))
    return rejected_positions(rng, count, rate)


def rejected_positions(rng: Random, count: int, rate: float) -> dict[int, int]:
    """Draw which of `count` invoices are rejected with which code, but never all of them."""
    expected = count * rate
    drawn = rng.gauss(expected, math.sqrt(expected)) if count > 30 else _few(rng, count, rate)
    return _with_codes(rng, rng.sample(range(count), max(0, min(int(drawn), count - 1))))


def _with_codes(rng: Random, positions: list[int]) -> dict[int, int]:
    codes = rng.choices(REJECTION_CODES, REJECTION_WEIGHTS, k=len(positions))
    return dict(zip(positions, codes, strict=True))


def _few(rng: Random, count: int, rate: float) -> int:
    return sum(rng.random() < rate for _ in range(count))


def _duplicate_count(rng: Random, fate: Fate) -> int:
    if fate.showcase:
        return 2
    return rng.randint(1, 3) if fate.code == 200 and rng.random() < 0.12 else 0


def _correction(rng: Random, settled: int) -> int | None:
    """Draw when somebody sends the rejected invoices again: minutes, hours, days or never."""
    shortest, longest = rng.choice(((300, 3_600), (300, 3_600), (3_600, 28_800), (86_400, 259_200)))
    delay_s = rng.uniform(shortest, longest)
    return None if rng.random() < 0.15 else settled + int(delay_s * TICKS_PER_S)
