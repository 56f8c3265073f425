"""Routes that answer from the world: sessions and their invoices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from urllib.parse import quote

from werkzeug.wrappers import Response

from ksef_emulator import parameters
from ksef_emulator.answers import BadRequest, json_answer
from ksef_emulator.calls import Call
from ksef_emulator.clock import iso_seconds, to_datetime, to_ticks
from ksef_emulator.identifiers import digest, reference_number
from ksef_emulator.invoices import Invoice, Row
from ksef_emulator.paging import Pages
from ksef_emulator.session import Session
from ksef_emulator.world import LONGEST_LIFE

SEES_ALL = frozenset({"Introspection", "EnforcementOperations"})
LINK_LIFETIME = timedelta(days=3)

Item = TypeVar("Item")


@dataclass(frozen=True)
class SessionFilter:
    """The filters of GET /sessions; bounds are ticks, None is open."""

    session_type: str
    reference_number: str | None
    statuses: frozenset[str]
    created: tuple[int | None, int | None]
    closed: tuple[int | None, int | None]
    modified: tuple[int | None, int | None]
    inclusive: bool
    creator_nip: str | None

    def matches(self, session: Session, at: int) -> bool:
        draft = session.draft
        return (
            draft.session_type == self.session_type
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

    def _within(self, bounds: tuple[int | None, int | None], moment: int | None) -> bool:
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


def list_sessions(call: Call) -> Response:
    """Answer GET /sessions."""
    wanted = _filter(call)
    now = to_ticks(call.at)
    world = call.emulator.world
    latest = now if wanted.created[1] is None else min(now, wanted.created[1])
    candidates = world.sessions_created(call.context_id, wanted.earliest_creation(), latest)
    found = [session for session in candidates if wanted.matches(session, now)]
    return _page(call, "sessions", found, lambda session: session.row(now))


def show_session(call: Call, reference: str) -> Response:
    """Answer GET /sessions/{referenceNumber}; counters that are zero are left out."""
    session = _session(call, reference)
    now = to_ticks(call.at)
    row = session.row(now)
    counters = {
        "invoiceCount": row.pop("totalInvoiceCount"),
        "successfulInvoiceCount": row.pop("successfulInvoiceCount"),
        "failedInvoiceCount": row.pop("failedInvoiceCount"),
    }
    del row["referenceNumber"]
    if row["status"]["code"] == 200:
        row["upo"] = {"pages": [_upo_page(call, session)]}
    return json_answer({**row, **{name: count for name, count in counters.items() if count}})


def list_invoices(call: Call, reference: str) -> Response:
    """Answer GET /sessions/{referenceNumber}/invoices."""
    session = _session(call, reference)
    found = call.emulator.world.received_invoices(session, to_ticks(call.at))
    return _page(call, "invoices", found, lambda invoice: _invoice_row(call, session, invoice))


def list_failed_invoices(call: Call, reference: str) -> Response:
    """Answer GET /sessions/{referenceNumber}/invoices/failed."""
    session = _session(call, reference)
    found = call.emulator.world.rejected_invoices(session, to_ticks(call.at))
    return _page(call, "invoices", found, lambda invoice: _invoice_row(call, session, invoice))


def show_invoice(call: Call, reference: str, invoice_reference: str) -> Response:
    """Answer GET /sessions/{referenceNumber}/invoices/{invoiceReferenceNumber}."""
    session = _session(call, reference, code=21405)
    parameters.reference(invoice_reference, "invoiceReferenceNumber")
    for invoice in call.emulator.world.received_invoices(session, to_ticks(call.at)):
        if invoice.reference_number == invoice_reference:
            return json_answer(_invoice_row(call, session, invoice))
    raise BadRequest(
        21405, f"Faktura o numerze referencyjnym {invoice_reference} nie została znaleziona."
    )


def _filter(call: Call) -> SessionFilter:
    query = call.request.args

    def bounds(name: str) -> tuple[int | None, int | None]:
        return parameters.moment(query, f"{name}From"), parameters.moment(query, f"{name}To")

    reference = query.get("referenceNumber")
    return SessionFilter(
        session_type=parameters.session_type(query),
        reference_number=None if reference is None else parameters.reference(reference),
        statuses=parameters.statuses(query),
        created=bounds("dateCreated"),
        closed=bounds("dateClosed"),
        modified=bounds("dateModified"),
        inclusive=call.emulator.quirks.inclusive_bounds,
        creator_nip=_visible_creator(call),
    )


def _visible_creator(call: Call) -> str | None:
    """Return whose sessions alone a token sees, None for a token that sees all."""
    return None if SEES_ALL.intersection(call.permissions) else call.subject_nip


def _session(call: Call, reference: str, *, code: int = 21173) -> Session:
    """Find a session that the caller may see. Raises BadRequest."""
    parameters.reference(reference)
    try:
        session = call.emulator.world.session(call.context_id, reference, to_ticks(call.at))
    except KeyError:
        session = None
    if session is None or _visible_creator(call) not in (None, session.draft.creator_nip):
        raise BadRequest(code, f"Sesja o numerze referencyjnym {reference} nie została znaleziona.")
    return session


def _page(call: Call, name: str, found: Sequence[Item], row: Callable[[Item], Row]) -> Response:
    pages = Pages(
        seed=call.emulator.world.seed,
        endpoint=f"{call.context_id}{call.request.path}",
        size=parameters.page_size(call.request.args),
        short=call.emulator.quirks.short_pages,
    )
    position = pages.start(call.request.headers.get("x-continuation-token"))
    page = found[position.offset : position.offset + pages.length(position)]
    is_last = position.offset + len(page) >= len(found)
    token = pages.token(position, page, is_last=is_last)
    return json_answer({"continuationToken": token, name: [row(item) for item in page]})


def _invoice_row(call: Call, session: Session, invoice: Invoice) -> Row:
    row = invoice.row(to_ticks(call.at))
    if row["status"]["code"] == 200:
        folder = f"{session.draft.reference_number}/invoice-upo"
        url, expires = _signed_url(call, f"{folder}/upo_{invoice.ksef_number}.xml")
        row["upoDownloadUrl"] = url
        row["upoDownloadUrlExpirationDate"] = expires
    return row


def _upo_page(call: Call, session: Session) -> Row:
    reference = session.draft.reference_number
    day = to_datetime(session.draft.settled).date()
    url, expires = _signed_url(call, f"{reference}/session-upo/upo_00.xml")
    return {
        "referenceNumber": reference_number(day, "EU", digest(reference, "upo")),
        "downloadUrl": url,
        "downloadUrlExpirationDate": expires,
    }


def _signed_url(call: Call, path: str) -> tuple[str, str]:
    """Sign a storage link anew; it says until when it holds and needs no token."""
    expires = iso_seconds(to_ticks(call.at + LINK_LIFETIME))
    until = quote(expires.replace("+00:00", "Z"), safe="")
    signature = digest("storage", path, call.at).hex()
    root = call.request.host_url.rstrip("/")
    query = f"sv=2025-01-05&se={until}&sr=b&sp=r&sig={signature}"
    return f"{root}/storage/01/{path}?{query}", expires
