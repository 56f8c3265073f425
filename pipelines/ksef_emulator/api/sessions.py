"""Routes that list sessions and show one.

Source: GET /sessions, GET /sessions/{referenceNumber}
"""

from __future__ import annotations

from dataclasses import dataclass

from werkzeug.wrappers import Response

from ksef_emulator.api import parameters
from ksef_emulator.api.answers import json_answer
from ksef_emulator.api.calls import SESSION_RIGHTS, Call, Route
from ksef_emulator.api.downloads import Links
from ksef_emulator.api.errors import BadRequest, Problems
from ksef_emulator.api.jwt import ACCESS
from ksef_emulator.api.lookup import Lookup, visible_creator
from ksef_emulator.api.paging import Pages
from ksef_emulator.clock import HOUR, TICKS_PER_S, iso_ticks, to_ticks
from ksef_emulator.identifiers import digest
from ksef_emulator.quirks import Quirks
from ksef_emulator.world.receipts import Receipts
from ksef_emulator.world.rows import Row
from ksef_emulator.world.sessions import LONGEST_LIFE, Session

LIST_RIGHTS = ("InvoiceWrite", "Introspection", "EnforcementOperations")

Bounds = tuple[int | None, int | None]
"""The first and the last moment in ticks; None is open."""


@dataclass(frozen=True)
class SessionFilter:
    """The filters of GET /sessions."""

    session_type: str
    reference_number: str | None
    statuses: frozenset[str]
    created: Bounds
    closed: Bounds
    modified: Bounds
    inclusive: bool
    creator_nip: str | None

    def matches(self, session: Session, at: int) -> bool:
        draft = session.draft
        return (
            draft.created <= at
            and draft.session_type == self.session_type
            and self.reference_number in (None, draft.reference_number)
            and self.creator_nip in (None, draft.creator_nip)
            and self._within(self.created, draft.created)
            and (self.closed == (None, None) or self._within(self.closed, session.closed_at(at)))
            and (
                self.modified == (None, None) or self._within(self.modified, session.updated_at(at))
            )
            and common_status(draft.code_at(at)) in self.statuses
        )

    def earliest_creation(self) -> int | None:
        """Return a moment before which no session can match."""
        changed = [
            low - LONGEST_LIFE for low in (self.closed[0], self.modified[0]) if low is not None
        ]
        return max((low for low in (self.created[0], *changed) if low is not None), default=None)

    def check_spans(self, days: int | None, now: int) -> None:
        """Refuse what spans more days than allowed. Raises BadRequest 21405."""
        ranges = {"Created": self.created, "Closed": self.closed, "Modified": self.modified}
        for name, (low, high) in ranges.items():
            end = now if high is None else min(high, now)
            if days is not None and low is not None and end - low > days * 24 * HOUR:
                text = f"Zakres 'date{name}From' – 'date{name}To' nie może przekraczać {days} dni."
                raise BadRequest(21405, text)

    def _within(self, bounds: Bounds, moment: int | None) -> bool:
        low, high = bounds
        if moment is None:
            return False
        if not self.inclusive and moment in (low, high):
            return False
        return (low is None or low <= moment) and (high is None or moment <= high)


def common_status(code: int) -> str:
    """Name a status code as the filter of GET /sessions does."""
    if code in (100, 150, 170):
        return "InProgress"
    return {200: "Succeeded", 440: "Cancelled"}.get(code, "Failed")


@dataclass(frozen=True)
class SessionRoutes:
    """Tell of sessions."""

    lookup: Lookup
    receipts: Receipts
    links: Links
    pages: Pages
    quirks: Quirks

    def routes(self) -> tuple[Route, ...]:
        path = "/v2/sessions/<reference>"
        return (
            Route("GET", "/v2/sessions", self.list, "sessionList", ACCESS, permissions=LIST_RIGHTS),
            Route("GET", path, self.show, "sessionMisc", ACCESS, permissions=SESSION_RIGHTS),
        )

    def list(self, call: Call) -> Response:
        """Answer GET /sessions."""
        wanted, now = self._filter(call), to_ticks(call.at)
        wanted.check_spans(self.quirks.list_span_days, now)
        latest = now if wanted.created[1] is None else min(now, wanted.created[1])
        candidates = self.lookup.submissions.created_between(
            call.context_id, wanted.earliest_creation(), latest
        )
        seen = ((session, now - self._lag(session)) for session in candidates)
        found = [(session, at) for session, at in seen if wanted.matches(session, at)]
        return self.pages.answer(call, "sessions", found, lambda found: found[0].row(found[1]))

    def _lag(self, session: Session) -> int:
        """Return how long the list runs behind with a session, in ticks."""
        share = digest(session.draft.reference_number, "list lag")[0] / 255
        return int(self.quirks.list_lag_s * share * TICKS_PER_S)

    def show(self, call: Call, reference: str) -> Response:
        """Answer GET /sessions/{referenceNumber}; counters that are zero are left out."""
        session = self.lookup.session(call, reference)
        now = to_ticks(call.at)
        row = session.row(now)
        counters = {
            "invoiceCount": row.pop("totalInvoiceCount"),
            "successfulInvoiceCount": row.pop("successfulInvoiceCount"),
            "failedInvoiceCount": row.pop("failedInvoiceCount"),
        }
        del row["referenceNumber"]
        pages = self.receipts.page_references(session, now)
        if pages:
            row["upo"] = {"pages": [self._upo_page(call, session, page) for page in pages]}
        return json_answer({**row, **{name: count for name, count in counters.items() if count}})

    def _upo_page(self, call: Call, session: Session, upo_reference: str) -> Row:
        folder = f"{session.draft.reference_number.lower()}/session-upo"
        url, until = self.links.of_upo(call, f"{folder}/upo_{upo_reference}.xml")
        return {
            "referenceNumber": upo_reference,
            "downloadUrl": url,
            "downloadUrlExpirationDate": iso_ticks(to_ticks(until)),
        }

    def _filter(self, call: Call) -> SessionFilter:
        query = call.request.args

        problems = Problems()

        def bounds(name: str) -> Bounds:
            low, high = (
                problems.read(parameters.moment, query, f"{name}{end}") for end in ("From", "To")
            )
            return low, high

        reference = query.get("referenceNumber")
        wanted = SessionFilter(
            session_type=problems.read(parameters.session_type, query),
            reference_number=reference and problems.read(parameters.reference, reference),
            statuses=problems.read(parameters.statuses, query),
            created=bounds("dateCreated"),
            closed=bounds("dateClosed"),
            modified=bounds("dateModified"),
            inclusive=self.quirks.inclusive_bounds,
            creator_nip=visible_creator(call),
        )
        problems.read(parameters.page_size, query)
        problems.refuse()
        return wanted
