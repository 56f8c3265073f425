"""The sessions that taxpayers opened, each day drawn when it is first asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache

from ksef_emulator.clock import TICKS_PER_S, WARSAW, to_ticks, warsaw_date
from ksef_emulator.identifiers import seeded_random
from ksef_emulator.world.backlog import Backlog
from ksef_emulator.world.drafts import LONGEST_CORRECTION_DAYS, Draft
from ksef_emulator.world.history import DayOfSessions
from ksef_emulator.world.invoices import Invoice, is_corrected_technically
from ksef_emulator.world.oddities import Oddities
from ksef_emulator.world.sessions import Copy, Session
from ksef_emulator.world.taxpayers import Taxpayer
from ksef_emulator.world.whole_failures import with_oddities


class Submissions:
    """Find sessions and what KSeF has of their invoices; `World` says what the options mean.

    Sessions of a day take copies from days before, so they are made of drafts, which do not.
    """

    def __init__(
        self,
        sellers: Iterable[Taxpayer],
        size: DayOfSessions | Backlog,
        *,
        seed: int,
        since: datetime,
        lag_s: float,
        storage_updates: bool,
        bulk_storage_s: float,
        oddities: Oddities,
    ) -> None:
        self._by_context = {who.context_id: who for who in sellers}
        self._size = size
        self._seed = seed
        self._first = to_ticks(since)
        self._lag = int(lag_s * TICKS_PER_S)
        self._storage_updates = storage_updates
        self._bulk = int(bulk_storage_s * TICKS_PER_S)
        self._oddities = oddities
        self._drafts: dict[tuple[str, date], list[Draft]] = {}
        self._days: dict[tuple[str, date], dict[str, Session]] = {}
        self._invoices: Callable[[Session], tuple[Invoice, ...]] = lru_cache(64)(
            lambda session: tuple(session.invoices())
        )

    def find(self, context_id: str, reference: str, at: int) -> Session:
        """Find a session of a context. Raises KeyError if there is none (yet) at that moment."""
        try:
            opened = date.fromisoformat(reference[:8])
        except ValueError:
            raise KeyError(reference) from None
        for day in (opened, opened + timedelta(days=1)):
            session = self.of_day(context_id, day).get(reference)
            if session and session.draft.created <= at:
                return session
        raise KeyError(reference)

    def received_invoices(self, session: Session, at: int) -> tuple[Invoice, ...]:
        """Return the invoices that KSeF has taken in by a moment."""
        invoices = self._invoices(session)
        return invoices[: bisect_right(invoices, at, key=lambda invoice: invoice.received)]

    def rejected_invoices(self, session: Session, at: int) -> list[Invoice]:
        """Return the invoices that …/failed shows at a moment."""
        seen = at - session.failed_lag
        received = self.received_invoices(session, at)
        return [i for i in received if i.code != 200 and i.decided <= seen]

    def created_between(
        self, context_id: str, earliest: int | None, latest: int
    ) -> Iterator[Session]:
        """Yield the sessions created between two moments (inclusive), newest first."""
        first = self._first if earliest is None else max(earliest, self._first)
        day = warsaw_date(latest)
        while day >= warsaw_date(first):
            for session in reversed(self.of_day(context_id, day).values()):
                if first <= session.draft.created <= latest:
                    yield session
            day -= timedelta(days=1)

    def of_day(self, context_id: str, day: date) -> dict[str, Session]:
        """Return the sessions opened on a Warsaw day by reference number, oldest first."""
        key = (context_id, day)
        if key not in self._days:
            drafts = self._day_of_drafts(context_id, day)
            corrections = self._corrections(context_id, day, drafts)
            sessions = (self._complete(d, corrections.get(d.reference_number, [])) for d in drafts)
            self._days[key] = {s.draft.reference_number: s for s in sessions}
        return self._days[key]

    def _day_of_drafts(self, context_id: str, day: date) -> list[Draft]:
        key = (context_id, day)
        if key not in self._drafts:
            drafts: list[Draft] = []
            if context_id in self._by_context and day >= warsaw_date(self._first):
                who, start = self._by_context[context_id], self._first
                drawn = self._size.drafts(self._seed, who, day, start=start, bulk=self._bulk)
                drafts = [with_oddities(draft, self._oddities) for draft in drawn]
            self._drafts[key] = drafts
        return self._drafts[key]

    def _corrections(
        self, context_id: str, day: date, drafts: list[Draft]
    ) -> dict[str, list[Copy]]:
        """Assign each rejected invoice to the first fitting session after its correction.

        A technical correction fits into online sessions only.
        """
        takers = [draft for draft in drafts if draft.code == 200]
        online = [draft for draft in takers if draft.session_type == "Online"]
        first = to_ticks(datetime(day.year, day.month, day.day, tzinfo=WARSAW))
        assigned: dict[str, list[Copy]] = {}
        for days_ago in range(LONGEST_CORRECTION_DAYS, -1, -1):
            for source in self._day_of_drafts(context_id, day - timedelta(days=days_ago)):
                if not source.rejections or source.corrected is None or source.corrected < first:
                    continue
                taker = _first_after(takers, source.corrected)
                online_taker = _first_after(online, source.corrected)
                if taker is None:
                    continue
                for position in sorted(source.rejections):
                    if online_taker and is_corrected_technically(source, position):
                        copies = assigned.setdefault(online_taker.reference_number, [])
                        copies.append(Copy("technical", source, position))
                    else:
                        copies = assigned.setdefault(taker.reference_number, [])
                        copies.append(Copy("resent", source, position))
        return assigned

    def _complete(self, draft: Draft, corrections: list[Copy]) -> Session:
        room = self._size.largest_session - draft.own_count
        copies = [*self._duplicates(draft), *corrections][: max(0, room)]
        return Session(draft, tuple(copies), self._lag, self._storage_updates)

    def _duplicates(self, draft: Draft) -> Iterator[Copy]:
        """Choose accepted invoices to repeat: of the own session, or of one settled before it."""
        if not draft.duplicate_count:
            return
        rng = seeded_random(self._seed, draft.reference_number, "duplicates")
        day = warsaw_date(draft.created)
        context_id = draft.taxpayer.context_id
        settled = [
            source
            for days_ago in (1, 0)
            for source in self._day_of_drafts(context_id, day - timedelta(days=days_ago))
            if source.code == 200 and source.settled <= draft.created
        ]
        for number in range(draft.duplicate_count):
            source = rng.choice(settled) if settled and number % 2 == 0 else draft
            accepted = [p for p in range(source.own_count) if p not in source.rejections]
            yield Copy("duplicate", source, rng.choice(accepted))


def _first_after(drafts: list[Draft], moment: int) -> Draft | None:
    """Return the first session opened after a moment; the drafts are in order of creation."""
    number = bisect_right(drafts, moment, key=lambda draft: draft.created)
    return drafts[number] if number < len(drafts) else None
