"""A seeded world: taxpayers and what they sent, a pure function of (seed, time)."""

from __future__ import annotations

from datetime import UTC, datetime

from ksef_emulator.clock import to_ticks
from ksef_emulator.world.backlog import Backlog
from ksef_emulator.world.circle import circle, taxpayer, with_partners
from ksef_emulator.world.history import DayOfSessions
from ksef_emulator.world.oddities import ORDINARY, Oddities
from ksef_emulator.world.repository import Repository
from ksef_emulator.world.resubmissions import Resubmission, resubmissions
from ksef_emulator.world.rows import Row
from ksef_emulator.world.submissions import Submissions
from ksef_emulator.world.taxpayers import SubjectType


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
        self.taxpayers = circle(seed, taxpayers)
        outside = () if backlog else (with_partners(taxpayer(seed, -1), self.taxpayers),)
        sellers = (*self.taxpayers, *outside)
        self.submissions = Submissions(
            sellers,
            backlog or DayOfSessions(sessions_per_day, largest_session),
            seed=seed,
            since=since,
            lag_s=lag_s,
            storage_updates=storage_updates,
            bulk_storage_s=bulk_storage_s,
            oddities=oddities,
        )
        self.repository = Repository(sellers, since, self.submissions.of_day)

    def sessions(self, context_id: str, at: datetime) -> list[Row]:
        """List what GET /sessions would give for both session types, newest first.

        Each item carries "sessionType" as well.
        """
        now = to_ticks(at)
        return [
            {**session.row(now), "sessionType": session.draft.session_type}
            for session in self.submissions.created_between(context_id, None, now)
        ]

    def invoices(self, context_id: str, session_reference: str, at: datetime) -> list[Row]:
        """List what …/invoices would give, by ordinal number, without the signed URLs."""
        now = to_ticks(at)
        session = self.submissions.find(context_id, session_reference, now)
        return [invoice.row(now) for invoice in self.submissions.received_invoices(session, now)]

    def failed_invoices(self, context_id: str, session_reference: str, at: datetime) -> list[Row]:
        """List what …/invoices/failed would give, which may lag behind the other lists."""
        now = to_ticks(at)
        session = self.submissions.find(context_id, session_reference, now)
        return [invoice.row(now) for invoice in self.submissions.rejected_invoices(session, now)]

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
        return resubmissions(self.submissions.created_between(context_id, None, now), now)
