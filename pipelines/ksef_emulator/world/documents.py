"""What an invoice says: its parties and amounts, as FA(3) XML and as KSeF's metadata.

All of it follows from the seller and `content`, 32 random bytes that belong to the file: the same
file sent twice has the same content, number and issue date, so the same SHA-256.

Source: schemat_FA(3)_v1-0E.xsd; POST /invoices/query/metadata (InvoiceMetadata)
"""

from __future__ import annotations

from base64 import b64encode
from datetime import date
from functools import cache
from typing import Any, NamedTuple

from ksef_emulator.identifiers import nip, seeded_random
from ksef_emulator.world.taxpayers import Party, Taxpayer

SYSTEM_CODE, SCHEMA_VERSION, FORM = "FA (3)", "1-0E", "FA"
SCHEMA_FILE = "Schemat_FA(3)_v1-0E.xsd"

CORRECTED = 16
"""Putting a file right changes its content from this byte on: parties and amounts stay."""

EUR_RATE = 4.2675
FACTOR, TAX_REPRESENTATIVE = 1, 3
"""Roles: of a third subject, of an authorized subject."""

_TYPES = (("Kor", "KOR", 12), ("Zal", "ZAL", 18), ("Roz", "ROZ", 22), ("Upr", "UPR", 25))
_RATES = ((23, 200), (8, 235), (5, 245), (0, 256))
_XML_IDENTIFIERS = {
    "Nip": "<NIP>{}</NIP>",
    "VatUe": "<KodUE>DE</KodUE><NrVatUE>{}</NrVatUE>",
    "Other": "<NrID>{}</NrID>",
    "None": "<BrakID>1</BrakID>",
}


class Terms(NamedTuple):
    """What is sold, for how much; amounts are hundredths, `vat_pln` in PLN, others in currency."""

    invoice_type: str
    code: str
    currency: str
    rate: int
    net: int
    vat: int
    vat_pln: int


def terms(content: bytes) -> Terms:
    """Read the amounts and the type out of the content."""
    kind, code = next(((k, c) for k, c, below in _TYPES if content[8] < below), ("Vat", "VAT"))
    rate = next(rate for rate, below in _RATES if content[4] < below)
    net = (1 + content[0] + (content[1] << 8)) * (1, 3, 10, 100)[content[2] % 4] + content[3]
    if kind == "Kor":
        net = -net
    vat = round(net * rate / 100)
    if content[5] < 30:
        return Terms(kind, code, "EUR", rate, net, vat, round(vat * EUR_RATE))
    return Terms(kind, code, "PLN", rate, net, vat, vat)


def buyer(seller: Taxpayer, content: bytes) -> Party:
    """Choose who buys: three times in ten a partner, else somebody outside the world."""
    chance = content[6] | content[7] << 8
    partners = seller.partners
    if partners and chance % 10 < 3:
        return partners[chance // 10 % len(partners)]
    outside = customers()
    return outside[chance // 10 % len(outside)]


def third_subject(seller: Taxpayer, content: bytes) -> Party | None:
    """Return the partner that finances the invoice (a factor), on one in 25."""
    return _partner(seller, content[12] | content[13] << 8, 25)


def authorized_subject(seller: Taxpayer, content: bytes) -> Party | None:
    """Return the partner that represents the seller before the tax office, on one in 60."""
    return _partner(seller, content[14] | content[15] << 8, 60)


def _partner(seller: Taxpayer, chance: int, one_in: int) -> Party | None:
    partners = seller.partners
    return partners[chance // one_in % len(partners)] if partners and chance % one_in == 0 else None


def self_invoiced(content: bytes) -> bool:
    return content[9] < 5


@cache
def customers() -> tuple[Party, ...]:
    """Return buyers that are no taxpayers of any world, one in three of them not Polish firms."""
    firms = [Party("Nip", nip("customer", n), f"Odbiorca Świętokrzyski {n + 1}") for n in range(16)]
    union = [Party("VatUe", f"{811_907_980 + n}", f"Käufer GmbH {n + 1}") for n in range(4)]
    others = [Party("Other", f"CH-{100 + n}", f"Acheteur {n + 1} SA") for n in range(2)]
    people = [Party("None", None, name) for name in ("Jan Żółw", "Zofia Ćma")]
    return (*firms, *union, *others, *people)


def xml(seller: Taxpayer, content: bytes, number: str, issued: date) -> bytes:
    """Write the invoice as a small FA(3) document."""
    kind = terms(content)
    whom = buyer(seller, content)
    net, vat = f"{kind.net / 100:.2f}", f"{kind.vat / 100:.2f}"
    gross = f"{(kind.net + kind.vat) / 100:.2f}"
    day = issued.isoformat()
    corrects = (
        f"<DaneFaKorygowanej><DataWystFaKorygowanej>{day}</DataWystFaKorygowanej>"
        f"<NrFaKorygowanej>{number}-0</NrFaKorygowanej><NrKSeFN>1</NrKSeFN></DaneFaKorygowanej>"
        if kind.invoice_type == "Kor"
        else ""
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<Faktura xmlns="http://crd.gov.pl/wzor/2025/06/25/13775/"><Naglowek>'
        '<KodFormularza kodSystemowy="FA (3)" wersjaSchemy="1-0E">FA</KodFormularza>'
        f"<WariantFormularza>3</WariantFormularza><DataWytworzeniaFa>{day}T08:00:00Z"
        "</DataWytworzeniaFa><SystemInfo>ksef_emulator</SystemInfo></Naglowek>"
        f"<Podmiot1>{_party(seller.context_id, seller.name)}</Podmiot1>"
        f"<Podmiot2><DaneIdentyfikacyjne>{_XML_IDENTIFIERS[whom.kind].format(whom.value)}"
        f"<Nazwa>{whom.name}</Nazwa></DaneIdentyfikacyjne><JST>2</JST><GV>2</GV></Podmiot2>"
        f"{_further_parties(seller, content)}"
        f"<Fa><KodWaluty>{kind.currency}</KodWaluty><P_1>{day}</P_1><P_2>{number}</P_2>"
        f"<P_13_1>{net}</P_13_1><P_14_1>{vat}</P_14_1><P_15>{gross}</P_15>"
        "<Adnotacje><P_16>2</P_16>"
        f"<P_17>{1 if self_invoiced(content) else 2}</P_17><P_18>2</P_18><P_18A>2</P_18A>"
        "<Zwolnienie><P_19N>1</P_19N></Zwolnienie><NoweSrodkiTransportu><P_22N>1</P_22N>"
        "</NoweSrodkiTransportu><P_23>2</P_23><PMarzy><P_PMarzyN>1</P_PMarzyN></PMarzy>"
        f"</Adnotacje><RodzajFaktury>{kind.code}</RodzajFaktury>{corrects}"
        f"<FaWiersz><NrWierszaFa>1</NrWierszaFa><UU_ID>{content[CORRECTED:].hex()}</UU_ID>"
        f"<P_7>Towar nr {content[10]}</P_7><P_8A>szt.</P_8A><P_8B>1</P_8B><P_9A>{net}</P_9A>"
        f"<P_11>{net}</P_11><P_12>{kind.rate}</P_12></FaWiersz></Fa></Faktura>\n"
    ).encode()


def padded(text: bytes, size: int) -> bytes:
    """Make a document at least `size` bytes large by a comment that hardly compresses."""
    return text.replace(b"</Faktura>", b"<!--%s--></Faktura>" % _noise(size))


@cache
def _noise(size: int) -> bytes:
    return b64encode(seeded_random("noise", size).randbytes(size * 3 // 4))


def _party(number: str, name: str) -> str:
    return (
        f"<DaneIdentyfikacyjne><NIP>{number}</NIP><Nazwa>{name}</Nazwa></DaneIdentyfikacyjne>"
        "<Adres><KodKraju>PL</KodKraju><AdresL1>ul. Łąkowa 1, 00-001 Warszawa</AdresL1></Adres>"
    )


def _further_parties(seller: Taxpayer, content: bytes) -> str:
    third, authorized = third_subject(seller, content), authorized_subject(seller, content)
    text = ""
    if third:
        text += f"<Podmiot3>{_party(str(third.value), third.name)}<Rola>{FACTOR}</Rola></Podmiot3>"
    if authorized:
        text += (
            f"<PodmiotUpowazniony>{_party(str(authorized.value), authorized.name)}"
            f"<RolaPU>{TAX_REPRESENTATIVE}</RolaPU></PodmiotUpowazniony>"
        )
    return text


def metadata(seller: Taxpayer, content: bytes) -> dict[str, Any]:
    """Return the fields of InvoiceMetadata that follow from the document."""
    kind = terms(content)
    whom = buyer(seller, content)
    third, authorized = third_subject(seller, content), authorized_subject(seller, content)
    identifier = {"type": whom.kind} | ({"value": whom.value} if whom.value else {})
    fields: dict[str, Any] = {
        "seller": {"nip": seller.context_id, "name": seller.name},
        "buyer": {"identifier": identifier, "name": whom.name},
        "netAmount": kind.net / 100,
        "grossAmount": (kind.net + kind.vat) / 100,
        "vatAmount": kind.vat_pln / 100,
        "currency": kind.currency,
        "invoiceType": kind.invoice_type,
        "formCode": {"systemCode": SYSTEM_CODE, "schemaVersion": SCHEMA_VERSION, "value": FORM},
        "isSelfInvoicing": self_invoiced(content),
        "thirdSubjects": [],
    }
    if third:
        who = {"type": third.kind, "value": third.value}
        fields["thirdSubjects"] = [{"identifier": who, "name": third.name, "role": FACTOR}]
    if authorized:
        fields["authorizedSubject"] = {
            "nip": authorized.value,
            "name": authorized.name,
            "role": TAX_REPRESENTATIVE,
        }
    return fields
