"""A seeded world: taxpayers and the sessions they opened, a pure function of (seed, time)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from ksef_emulator.backlog import Backlog
from ksef_emulator.clock import TICKS_PER_S, to_ticks
from ksef_emulator.history import LONGEST_CORRECTION_DAYS, WARSAW, DayOfSessions, Draft, warsaw_date
from ksef_emulator.identifiers import seeded_random
from ksef_emulator.invoices import Invoice, Row, is_corrected_technically
from ksef_emulator.oddities import ORDINARY, Oddities
from ksef_emulator.repository import Repository, SubjectType
from ksef_emulator.resubmissions import Resubmission, resubmissions
from ksef_emulator.session import Copy, Session
from ksef_emulator.taxpayers import circle, taxpayer, with_partners
from ksef_emulator.whole_failures import with_oddities


class World:
    """Answer what KSeF would know at a moment.

    `since` is the start of history. KSeF's counters follow up to `lag_s` late, its lists of
    failed invoices up to twenty times that; 0 turns both off. `storage_updates` says
    whether filling permanentStorageDate moves dateUpdated, which KSeF leaves open. Invoices of
    batch sessions are stored in bulk every `bulk_storage_s` (0 to 3,600) seconds, so that many
    share one permanentStorageDate; 0 stores each on its own. A `backlog` takes the place of
    ordinary days. `oddities` says how often the seldom happens.

    Taxpayers trade with each other, and one seller outside, without a login, with them all.
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
        bulk_storage_s: float = 10.0,
        backlog: Backlog | None = None,
        oddities: Oddities = ORDINARY,
    ) -> None:
        self.seed = seed
        self.since = since
        self.lag_s = lag_s
        self.storage_updates = storage_updates
        self.oddities = oddities
        self.taxpayers = circle(seed, taxpayers)
        outside = () if backlog else (with_partners(taxpayer(seed, -1), self.taxpayers),)
        self._by_context = {who.context_id: who for who in (*self.taxpayers, *outside)}
        self._size = backlog or DayOfSessions(sessions_per_day, largest_session)
        self._bulk = int(bulk_storage_s * TICKS_PER_S)
        self._drafts: dict[tuple[str, date], list[Draft]] = {}
        self._days: dict[tuple[str, date], dict[str, Session]] = {}
        self.repository = Repository(list(self._by_context.values()), since, self.sessions_of)
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

    def exported(self, context_id: str, subject_type: SubjectType, at: datetime) -> list[Row]:
        """List the metadata of all invoices permanently stored by a moment, oldest first."""
        places = self.repository.places(
            context_id, subject_type, "PermanentStorage", to_ticks(self.since), to_ticks(at)
        )
        return [place.invoice().metadata() for place in places]

    def resubmissions(self, context_id: str, at: datetime) -> list[Resubmission]:
        """List the context's failed invoices that got in by another submission, before or after.

        KSeF never tells this; both submissions have their outcome by that moment.
        """
        now = to_ticks(at)
        return resubmissions(self.sessions_created(context_id, None, now), now)

    def session(self, context_id: str, reference: str, at: int) -> Session:
        """Find a session of a context. Raises KeyError if there is none (yet) at that moment."""
        try:
            opened = date.fromisoformat(reference[:8])
        except ValueError:
            raise KeyError(reference) from None
        for day in (opened, opened + timedelta(days=1)):
            session = self.sessions_of(context_id, day).get(reference)
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
        day = warsaw_date(latest)
        while day >= warsaw_date(first):
            for session in reversed(self.sessions_of(context_id, day).values()):
                if first <= session.draft.created <= latest:
                    yield session
            day -= timedelta(days=1)

    def sessions_of(self, context_id: str, day: date) -> dict[str, Session]:
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
            if context_id in self._by_context and day >= self.since.astimezone(WARSAW).date():
                who, start = self._by_context[context_id], to_ticks(self.since)
                drawn = self._size.drafts(self.seed, who, day, start=start, bulk=self._bulk)
                drafts = [with_oddities(draft, self.oddities) for draft in drawn]
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
        lag = int(self.lag_s * TICKS_PER_S)
        return Session(draft, tuple(copies), lag, self.storage_updates)

    def _duplicates(self, draft: Draft) -> Iterator[Copy]:
        """Choose accepted invoices to repeat: of the own session, or of one settled before it."""
        if not draft.duplicate_count:
            return
        rng = seeded_random(self.seed, draft.reference_number, "duplicates")
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
