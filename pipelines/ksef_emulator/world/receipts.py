"""Official receipts (UPO): one document for each accepted invoice, in pages for a session.

Source: GET /sessions/{referenceNumber}/upo/{upoReferenceNumber}, upo-v4-3.xsd
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ksef_emulator.clock import TICKS_PER_S, WARSAW, to_datetime
from ksef_emulator.identifiers import digest, reference_number, sha256_base64
from ksef_emulator.world.documents import SCHEMA_FILE, SYSTEM_CODE
from ksef_emulator.world.invoices import Invoice
from ksef_emulator.world.sessions import Session
from ksef_emulator.world.submissions import Submissions


class Receipts:
    """Write the receipts of sessions and invoices.

    A page of a session holds `page_size` documents; pages exist from `delay_s` after the session
    got its last status.
    """

    def __init__(self, submissions: Submissions, page_size: int, delay_s: float) -> None:
        self._submissions = submissions
        self._page_size = page_size
        self._delay = int(delay_s * TICKS_PER_S)
        self._page = lru_cache(8)(self._written_page)

    def page_references(self, session: Session, at: int) -> list[str]:
        """Return the reference numbers of a session's pages; only one that succeeded has any."""
        draft = session.draft
        if draft.code != 200 or at < draft.settled + draft.lateness + self._delay:
            return []
        pages = -(-session.last_counters.successful // self._page_size)
        day = to_datetime(draft.settled).date()
        return [
            reference_number(day, "EU", digest(draft.reference_number, "upo", page))
            for page in range(pages)
        ]

    def session_page(self, session: Session, reference: str, at: int) -> bytes | None:
        """Return a page by its reference number, None if there is no such page."""
        references = self.page_references(session, at)
        return self._page(session, references.index(reference)) if reference in references else None

    def _written_page(self, session: Session, page: int) -> bytes:
        # The session is over, so its accepted invoices are those of any later moment.
        settled = self._submissions.received_invoices(session, session.draft.settled)
        accepted = [invoice for invoice in settled if invoice.code == 200]
        first = page * self._page_size
        documents = accepted[first : first + self._page_size]
        description = (
            "<OpisPotwierdzenia>"
            f"<Strona>{page + 1}</Strona>"
            f"<LiczbaStron>{-(-len(accepted) // self._page_size)}</LiczbaStron>"
            f"<ZakresDokumentowOd>{first + 1}</ZakresDokumentowOd>"
            # The schema calls this end exclusive, but in MF's own example it is inclusive.
            f"<ZakresDokumentowDo>{first + len(documents)}</ZakresDokumentowDo>"
            f"<CalkowitaLiczbaDokumentow>{len(accepted)}</CalkowitaLiczbaDokumentow>"
            "</OpisPotwierdzenia>"
        )
        return _confirmation(session, documents, description)


def invoice_receipt(session: Session, invoice: Invoice) -> bytes:
    """Write the receipt of one accepted invoice."""
    return _confirmation(session, [invoice])


def _confirmation(session: Session, invoices: Sequence[Invoice], description: str = "") -> bytes:
    draft = session.draft
    if draft.session_type == "Batch":
        proof = sha256_base64(draft.reference_number.encode())
        signed = f"<SkrotDokumentuUwierzytelniajacego>{proof}</SkrotDokumentuUwierzytelniajacego>"
    else:
        token = draft.taxpayer.token.partition("|")[0]
        signed = f"<NumerReferencyjnyTokenaKSeF>{token}</NumerReferencyjnyTokenaKSeF>"
    head = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<Potwierdzenie xmlns="http://upo.schematy.mf.gov.pl/KSeF/v4-3">'
        "<NazwaPodmiotuPrzyjmujacego>Ministerstwo Finansów</NazwaPodmiotuPrzyjmujacego>"
        f"<NumerReferencyjnySesji>{draft.reference_number}</NumerReferencyjnySesji>"
        f"<Uwierzytelnienie><IdKontekstu><Nip>{draft.taxpayer.context_id}</Nip></IdKontekstu>"
        f"{signed}</Uwierzytelnienie>{description}"
        f"<NazwaStrukturyLogicznej>{SCHEMA_FILE}</NazwaStrukturyLogicznej>"
        f"<KodFormularza>{SYSTEM_CODE}</KodFormularza>\n"
    )
    return "".join([head, *map(_document, invoices), "</Potwierdzenie>\n"]).encode()


def _document(invoice: Invoice) -> str:
    return (
        f"<Dokument><NipSprzedawcy>{invoice.seller.context_id}</NipSprzedawcy>"
        f"<NumerKSeFDokumentu>{invoice.ksef_number}</NumerKSeFDokumentu>"
        f"<NumerFaktury>{invoice.invoice_number}</NumerFaktury>"
        f"<DataWystawieniaFaktury>{invoice.issued}</DataWystawieniaFaktury>"
        f"<DataPrzeslaniaDokumentu>{_polish_time(invoice.invoiced)}</DataPrzeslaniaDokumentu>"
        f"<DataNadaniaNumeruKSeF>{_polish_time(invoice.acquired)}</DataNadaniaNumeruKSeF>"
        f"<SkrotDokumentu>{invoice.invoice_hash}</SkrotDokumentu>"
        f"<TrybWysylki>{invoice.mode}</TrybWysylki></Dokument>\n"
    )


def _polish_time(ticks: int) -> str:
    """Write a moment with milliseconds and the Polish offset."""
    seconds, fraction = divmod(ticks, TICKS_PER_S)
    second, offset = _polish_second(seconds)
    return f"{second}.{fraction // 10_000:03d}{offset}"


@lru_cache(1 << 12)
def _polish_second(seconds: int) -> tuple[str, str]:
    text = to_datetime(seconds * TICKS_PER_S).astimezone(WARSAW).isoformat()
    return text[:19], text[19:]
