"""Official receipts (UPO): from KSeF's XML to one row per accepted invoice."""

import io
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from lxml import etree

from kseflow.api.address import reference
from kseflow.api.answers import Bound, documented
from kseflow.api.client import KsefClient
from kseflow.constants import SIZE_FACTOR, UPO_BYTES, UPO_MARKS
from kseflow.context import Context
from kseflow.errors import ContractViolation, CorruptDownload, Unavailable, shown
from kseflow.files import private_files, put_in_place
from kseflow.raw.tables import UPO_DOCUMENTS, taxpayer_stamps

NAMESPACE = re.compile(r"http://upo\.schematy\.mf\.gov\.pl/KSeF/v4-\d+")
TAXPAYER = "{{{0}}}Uwierzytelnienie/{{{0}}}IdKontekstu/*"


@dataclass(frozen=True)
class UpoPage:
    """A page of a session's receipt: the XML, and KSeF's time (UTC) at receipt."""

    reference_number: str
    content: bytes
    received_at: datetime


async def session_upo_pages(client: KsefClient, session_reference: str) -> AsyncIterator[UpoPage]:
    """Yield the pages of a session's receipt; none while KSeF has not made it.

    One request for all: the pages come by links that are outside KSeF's limits.
    Source: GET /sessions/{ref}, field upo.pages
    """
    session = await client.session(session_reference)
    bound = documented("a receipt", UPO_BYTES, client.gateway.size_factor)
    for page_reference, url in _links(session, session_reference):
        content = io.BytesIO()
        await client.storage.download(url, content, what=f"UPO {page_reference}", bound=bound)
        bound = Bound(bound.max_bytes - content.tell(), bound.reason)
        yield UpoPage(page_reference, content.getvalue(), client.now())


def _links(session: dict[str, Any], session_reference: str) -> list[tuple[str, str]]:
    """Return (reference number, link) of each page of a session's receipt."""
    upo = session.get("upo")
    pages = upo.get("pages") if isinstance(upo, dict) else upo
    try:
        return [(reference(page["referenceNumber"]), page["downloadUrl"]) for page in pages or []]
    except (KeyError, TypeError):
        raise ContractViolation(
            f"session {session_reference}: a page of its UPO lacks its number or link"
        ) from None


def upo_documents(page: UpoPage, context: Context, session_reference: str) -> pa.Table:
    """Read a page into rows of `upo_documents`.

    Raises `CorruptDownload` when it is not a receipt of that session and taxpayer, or is XML of a
    kind that no receipt is (with a document type, entities or another namespace).
    """
    root = _root(page)
    namespace = etree.QName(root).namespace
    session = root.findtext(f"{{{namespace}}}NumerReferencyjnySesji", "").strip()
    if session != session_reference:
        raise CorruptDownload(
            f"UPO {page.reference_number}: it is of session {shown(session)}, "
            f"not {session_reference}"
        )
    taxpayers = {(one.text or "").strip() for one in root.iterfind(TAXPAYER.format(namespace))}
    if taxpayers - {context.id}:
        raise CorruptDownload(
            f"UPO {page.reference_number}: it is of {shown(min(taxpayers))}, not of {context}"
        )
    form_code = root.findtext(f"{{{namespace}}}KodFormularza")
    items = [
        _fields(document) | {"NumerReferencyjnySesji": session, "KodFormularza": form_code}
        for document in root.iter(f"{{{namespace}}}Dokument")
    ]
    stamps = taxpayer_stamps(context.type, context.id, page.received_at)
    return UPO_DOCUMENTS.arrow_from_api(items, upo_reference_number=page.reference_number, **stamps)


def _fields(document: etree._Element) -> dict[str, str]:
    children = document.iterchildren("*")
    return {etree.QName(field).localname: (field.text or "").strip() for field in children}


async def save_upo(
    client: KsefClient,
    folder: Path,
    session_reference: str,
    *,
    invoice: str | None = None,
    ksef_number: str | None = None,
) -> list[Path]:
    """Save a session's receipt (one file a page), or that of one of its invoices, as KSeF sent it.

    The invoice is told by its reference number or its KSeF number. Raises `CorruptDownload` when
    it does not have the hash that came with it, or is no receipt of what was asked for; then
    nothing is written.
    """
    if invoice is not None or ksef_number is not None:
        pages = [await _invoice_page(client, session_reference, invoice, ksef_number or "")]
    else:
        pages = [page async for page in session_upo_pages(client, session_reference)]
    if not pages:
        raise Unavailable(
            f"session {session_reference} has no receipt (yet): KSeF makes it when the session "
            "ends with at least one accepted invoice"
        )
    for page in pages:
        upo_documents(page, client.context, session_reference)
    with private_files():
        folder.mkdir(parents=True, exist_ok=True)
        return [_write(folder / f"UPO-{page.reference_number}.xml", page.content) for page in pages]


async def _invoice_page(
    client: KsefClient, session: str, invoice: str | None, ksef_number: str
) -> UpoPage:
    """Return the receipt of one invoice, once it is that of no other."""
    if invoice is None:
        content = await client.invoice_upo_by_ksef_number(session, ksef_number)
    else:
        content = await client.invoice_upo(session, invoice)
        ksef_number = str((await client.session_invoice(session, invoice)).get("ksefNumber"))
    page = UpoPage(invoice or ksef_number, content, client.now())
    confirmed = upo_documents(page, client.context, session)["ksef_number"].to_pylist()
    if confirmed != [ksef_number]:
        raise CorruptDownload(
            f"UPO {page.reference_number}: it confirms {shown(confirmed)}, not {shown(ksef_number)}"
        )
    return page


def _write(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all."""
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(content)
    put_in_place(unfinished, path)
    return path


def _root(page: UpoPage) -> etree._Element:
    # In UTF-8, as KSeF writes: in another encoding the signs would be others.
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, load_dtd=False, no_network=True
    )
    if sum(map(page.content.count, (b"<", b"="))) > UPO_MARKS * SIZE_FACTOR:
        raise CorruptDownload(f"UPO {page.reference_number}: more elements than a receipt has")
    try:
        root = etree.fromstring(page.content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise CorruptDownload(
            f"UPO {page.reference_number}: no well-formed XML ({error})"
        ) from None
    if root.getroottree().docinfo.doctype:
        raise CorruptDownload(f"UPO {page.reference_number}: a receipt has no document type")
    name = etree.QName(root)
    if name.localname != "Potwierdzenie" or not NAMESPACE.fullmatch(name.namespace or ""):
        raise CorruptDownload(
            f"UPO {page.reference_number}: {shown(root.tag)} is no receipt of KSeF's"
        )
    return root
