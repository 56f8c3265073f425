"""Routes that answer from the world: sessions and their invoices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from werkzeug.wrappers import Response

from ksef_emulator import parameters, upo
from ksef_emulator.answers import BadRequest, json_answer
from ksef_emulator.calls import Call
from ksef_emulator.clock import iso_seconds, to_ticks
from ksef_emulator.identifiers import sha256_base64
from ksef_emulator.invoices import Invoice, Row
from ksef_emulator.paging import Pages
from ksef_emulator.session import LONGEST_LIFE, Session

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
    pages = call.emulator.receipts.page_references(session, now)
    if pages:
        row["upo"] = {"pages": [_upo_page(call, session, page) for page in pages]}
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
    raise _no_invoice(invoice_reference)


def session_upo(call: Call, reference: str, upo_reference: str) -> Response:
    """Answer GET /sessions/{referenceNumber}/upo/{upoReferenceNumber}."""
    session = _session(call, reference)
    parameters.reference(upo_reference, "upoReferenceNumber")
    page = call.emulator.receipts.session_page(session, upo_reference, to_ticks(call.at))
    if page is None:
        raise BadRequest(
            21178,
            f"UPO o numerze referencyjnym {upo_reference} dla sesji {reference}"
            " nie zostało znalezione.",
        )
    return _receipt(page)


def invoice_upo(call: Call, reference: str, invoice_reference: str) -> Response:
    """Answer GET /sessions/{referenceNumber}/invoices/{invoiceReferenceNumber}/upo."""
    session = _session(call, reference, code=21405)
    parameters.reference(invoice_reference, "invoiceReferenceNumber")
    now = to_ticks(call.at)
    for invoice in call.emulator.world.received_invoices(session, now):
        if invoice.reference_number == invoice_reference and invoice.code_at(now) == 200:
            return _receipt(upo.invoice_receipt(session, invoice))
    raise _no_invoice(invoice_reference)


def invoice_upo_by_ksef_number(call: Call, reference: str, ksef_number: str) -> Response:
    """Answer GET /sessions/{referenceNumber}/invoices/ksef/{ksefNumber}/upo."""
    parameters.ksef_number(ksef_number)
    session = _session(call, reference, code=21178)
    now = to_ticks(call.at)
    for invoice in call.emulator.world.received_invoices(session, now):
        if invoice.ksef_number == ksef_number and invoice.code_at(now) == 200:
            return _receipt(upo.invoice_receipt(session, invoice))
    raise BadRequest(
        21178,
        f"UPO o numerze KSeF {ksef_number} i numerze referencyjnym sesji {reference}"
        " nie zostało znalezione.",
    )


def _no_invoice(reference: str) -> BadRequest:
    return BadRequest(21405, f"Faktura o numerze referencyjnym {reference} nie została znaleziona.")


def _receipt(document: bytes) -> Response:
    headers = {"x-ms-meta-hash": sha256_base64(document)}
    return Response(document, headers=headers, content_type="application/xml")


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
        folder = f"{session.draft.reference_number.lower()}/invoice-upo"
        url, expires = _signed_url(call, f"{folder}/upo_{invoice.ksef_number}.xml")
        row["upoDownloadUrl"] = url
        row["upoDownloadUrlExpirationDate"] = expires
    return row


def _upo_page(call: Call, session: Session, upo_reference: str) -> Row:
    folder = f"{session.draft.reference_number.lower()}/session-upo"
    url, expires = _signed_url(call, f"{folder}/upo_{upo_reference}.xml")
    return {
        "referenceNumber": upo_reference,
        "downloadUrl": url,
        "downloadUrlExpirationDate": expires,
    }


def _signed_url(call: Call, path: str) -> tuple[str, str]:
    """Sign a storage link anew; it says until when it holds and needs no token."""
    until = call.at + LINK_LIFETIME
    root = call.request.host_url.rstrip("/")
    url = call.emulator.links.sign(root, path, call.context_id, until)
    return url, iso_seconds(to_ticks(until))
