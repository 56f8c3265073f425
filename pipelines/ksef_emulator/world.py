"""A seeded world: taxpayers and the sessions they opened, a pure function of (seed, time)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from ksef_emulator.clock import TICKS_PER_S, to_datetime, to_ticks
from ksef_emulator.history import HOUR, WARSAW, DayOfSessions, Draft
from ksef_emulator.identifiers import seeded_random
from ksef_emulator.invoices import Invoice, Row
from ksef_emulator.session import Copy, Session
from ksef_emulator.taxpayers import Taxpayer, taxpayer

LONGEST_LIFE = 36 * HOUR
"""No session changes later than this after its creation, permanent storage included."""

LONGEST_CORRECTION_DAYS = 5


class World:
    """Answer what KSeF would know at a moment.

    `since` is the start of history. KSeF's counters follow up to `lag_s` late, its lists of
    failed invoices up to twenty times that; 0 turns both off. `storage_updates` says
    whether filling permanentStorageDate moves dateUpdated, which KSeF leaves open.
    """

    def __init__(
        self,
        *,
        seed: int = 7,
        taxpayers: int = 2,
        since: datetime = datetime(2026, 2, 2, tzinfo=UTC),
        sessions_per_day: int = 12,
        largest_session: int = 10_000,
        lag_s: float = 3.0,
        storage_updates: bool = False,
    ) -> None:
        self.seed = seed
        self.since = since
        self.lag_s = lag_s
        self.storage_updates = storage_updates
        self.taxpayers: tuple[Taxpayer, ...] = tuple(taxpayer(seed, n) for n in range(taxpayers))
        self._by_context = {who.context_id: who for who in self.taxpayers}
        self._size = DayOfSessions(sessions_per_day, largest_session)
        self._drafts: dict[tuple[str, date], list[Draft]] = {}
        self._days: dict[tuple[str, date], dict[str, Session]] = {}
        self._invoices: Callable[[Session], tuple[Invoice, ...]] = lru_cache(64)(
            lambda session: tuple(session.invoices())
        )

    def sessions(self, context_id: str, at: datetime) -> list[Row]:
        """List what GET /sessions would give for both session types, newest first.

        Each item carries "sessionType" as well.
        """
        now = to_ticks(at)
        return [
            {**session.row(now), "sessionType": session.draft.session_type}
            for session in self.sessions_created(context_id, None, now)
        ]

    def invoices(self, context_id: str, session_reference: str, at: datetime) -> list[Row]:
        """List what …/invoices would give, by ordinal number, without the signed URLs."""
        now = to_ticks(at)
        session = self.session(context_id, session_reference, now)
        return [invoice.row(now) for invoice in self.received_invoices(session, now)]

    def failed_invoices(self, context_id: str, session_reference: str, at: datetime) -> list[Row]:
        """List what …/invoices/failed would give, which may lag behind the other lists."""
        now = to_ticks(at)
        session = self.session(context_id, session_reference, now)
        return [invoice.row(now) for invoice in self.rejected_invoices(session, now)]

    def session(self, context_id: str, reference: str, at: int) -> Session:
        """Find a session of a context. Raises KeyError if there is none (yet) at that moment."""
        try:
            opened = date.fromisoformat(reference[:8])
        except ValueError:
            raise KeyError(reference) from None
        for day in (opened, opened + timedelta(days=1)):
            session = self._day(context_id, day).get(reference)
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

    def sessions_created(
        self, context_id: str, earliest: int | None, latest: int
    ) -> Iterator[Session]:
        """Yield the sessions created between two moments (inclusive), newest first."""
        first = to_ticks(self.since) if earliest is None else max(earliest, to_ticks(self.since))
        day = to_datetime(latest).astimezone(WARSAW).date()
        while day >= to_datetime(first).astimezone(WARSAW).date():
            for session in reversed(self._day(context_id, day).values()):
                if first <= session.draft.created <= latest:
                    yield session
            day -= timedelta(days=1)

    def _day(self, context_id: str, day: date) -> dict[str, Session]:
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
            if context_id in self._by_context and day >= self.since.astimezone(WARSAW).date():
                drafts = self._size.drafts(self.seed, self._by_context[context_id], day)
            start = to_ticks(self.since)
            self._drafts[key] = [draft for draft in drafts if draft.created >= start]
        return self._drafts[key]

    def _corrections(
        self, context_id: str, day: date, drafts: list[Draft]
    ) -> dict[str, list[Copy]]:
        """Assign each rejected invoice to the first fitting session after its correction."""
        takers = [draft for draft in drafts if draft.code == 200]
        opened = [draft.created for draft in takers]
        first = to_ticks(datetime(day.year, day.month, day.day, tzinfo=WARSAW))
        assigned: dict[str, list[Copy]] = {}
        for days_ago in range(LONGEST_CORRECTION_DAYS, -1, -1):
            for source in self._day_of_drafts(context_id, day - timedelta(days=days_ago)):
                if not source.rejections or source.corrected is None or source.corrected < first:
                    continue
                taker = bisect_right(opened, source.corrected)
                if taker < len(takers):
                    copies = assigned.setdefault(takers[taker].reference_number, [])
                    copies.extend(Copy("resent", source, p) for p in sorted(source.rejections))
        return assigned

    def _complete(self, draft: Draft, corrections: list[Copy]) -> Session:
        room = self._size.largest_session - draft.own_count
        copies = [*self._duplicates(draft), *corrections][: max(0, room)]
        lag = int(self.lag_s * TICKS_PER_S)
        return Session(draft, tuple(copies), lag, self.storage_updates)

    def _duplicates(self, draft: Draft) -> Iterator[Copy]:
        """Choose accepted invoices to repeat: of the own session, or of one settled before it."""
        if not draft.duplicate_count:
            return
        rng = seeded_random(self.seed, draft.reference_number, "duplicates")
        day = to_datetime(draft.created).astimezone(WARSAW).date()
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
