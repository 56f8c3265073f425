"""KSeF's repository: who sees which stored invoice, ascending by any of three dates.

An index of a day keeps only where its invoices are; they are built again when asked for.

Source: POST /invoices/exports (subjectType, dateRange)
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from ksef_emulator.clock import HOUR, WARSAW, to_ticks, warsaw_date
from ksef_emulator.world import documents
from ksef_emulator.world.drafts import (
    EARLIEST_ISSUE_DAYS,
    EARLIEST_STORAGE,
    LONGEST_CORRECTION_DAYS,
)
from ksef_emulator.world.invoices import Invoice
from ksef_emulator.world.rows import DateType
from ksef_emulator.world.sessions import LONGEST_LIFE, Session
from ksef_emulator.world.taxpayers import Party, SubjectType, Taxpayer

SUBJECTS: dict[SubjectType, Callable[[Taxpayer, bytes], Party | None]] = {
    "Subject1": lambda seller, _: Party("Nip", seller.context_id, seller.name),
    "Subject2": documents.buyer,
    "Subject3": documents.third_subject,
    "SubjectAuthorized": documents.authorized_subject,
}
DATES: dict[DateType, Callable[[Invoice], int]] = {
    "PermanentStorage": lambda invoice: invoice.stored,
    "Invoicing": lambda invoice: invoice.invoiced,
    "Issue": lambda invoice: issue_key(invoice.issued),
}
BEFORE_SESSION: dict[DateType, int] = {
    "PermanentStorage": EARLIEST_STORAGE,
    "Invoicing": 0,
    "Issue": (EARLIEST_ISSUE_DAYS + LONGEST_CORRECTION_DAYS + 1) * 24 * HOUR,
}
"""Dates of an invoice lie at most this long before its session was opened, in ticks."""


class Place(NamedTuple):
    """Where an invoice is; `key` is the date the places are sorted by, in ticks."""

    key: int
    session: Session
    ordinal_number: int

    def invoice(self) -> Invoice:
        return self.session.invoice(self.ordinal_number)


Named = Mapping[tuple[SubjectType, str], list[Place]]
"""Places of the invoices that name somebody in a role, by role and number."""


def issue_key(day: date) -> int:
    """Turn a day of issue into ticks, so that it compares as the other dates do."""
    return to_ticks(datetime.combine(day, time(), UTC))


def bound(moment: int, date_type: DateType) -> int:
    """Turn a moment into a bound; days of issue are compared as Polish days (#507)."""
    return issue_key(warsaw_date(moment)) if date_type == "Issue" else moment


class Repository:
    """Find accepted invoices by the role a taxpayer plays on them.

    `sessions_of` gives a seller's sessions of a Warsaw day.
    """

    def __init__(
        self,
        sellers: Sequence[Taxpayer],
        since: datetime,
        sessions_of: Callable[[str, date], Mapping[str, Session]],
    ) -> None:
        self._sellers = sellers
        self._first = to_ticks(since)
        self._sessions_of = sessions_of
        self._day: Callable[[str, SubjectType, DateType, date], list[Place]] = lru_cache(32)(
            self._places_of_day
        )
        # Many buyers ask for the same sellers' days.
        self._named: Callable[[Taxpayer, DateType, date], Named] = lru_cache(1024)(
            self._named_on_day
        )

    def places(
        self,
        context_id: str,
        subject_type: SubjectType,
        date_type: DateType,
        low: int,
        high: int,
    ) -> Iterator[Place]:
        """Yield the invoices dated between two moments (inclusive), ascending."""
        before = BEFORE_SESSION[date_type]
        low = max(low, self._first - before)
        day = max(warsaw_date(self._first), warsaw_date(low - LONGEST_LIFE))
        pending: list[Place] = []
        while day <= warsaw_date(high + before):
            pending += self._day(context_id, subject_type, date_type, day)
            pending.sort(key=itemgetter(0))
            day += timedelta(days=1)
            # Sessions of the next day hold nothing older than this.
            horizon = to_ticks(datetime.combine(day, time(), WARSAW)) - before
            final = bisect_left(pending, horizon, key=itemgetter(0))
            yield from _between(pending[:final], low, high)
            del pending[:final]
        yield from _between(pending, low, high)

    def _places_of_day(
        self, context_id: str, subject_type: SubjectType, date_type: DateType, day: date
    ) -> list[Place]:
        places = [
            place
            for seller in self._sellers
            if _may_name(seller, subject_type, context_id)
            for place in self._named(seller, date_type, day).get((subject_type, context_id), ())
        ]
        places.sort(key=itemgetter(0))
        return places

    def _named_on_day(self, seller: Taxpayer, date_type: DateType, day: date) -> Named:
        key = DATES[date_type]
        named: defaultdict[tuple[SubjectType, str], list[Place]] = defaultdict(list)
        for session in self._sessions_of(seller.context_id, day).values():
            for invoice in session.invoices():
                if invoice.code != 200:
                    continue
                place = Place(key(invoice), session, invoice.ordinal_number)
                for subject_type, find in SUBJECTS.items():
                    party = find(seller, invoice.content)
                    if party and party.value:
                        named[subject_type, party.value].append(place)
        return named


def _between(places: Sequence[Place], low: int, high: int) -> Sequence[Place]:
    first = bisect_left(places, low, key=itemgetter(0))
    last = bisect_left(places, high + 1, key=itemgetter(0))
    return places[first:last]


def _may_name(seller: Taxpayer, subject_type: SubjectType, context_id: str) -> bool:
    if subject_type == "Subject1":
        return seller.context_id == context_id
    return any(partner.value == context_id for partner in seller.partners)
