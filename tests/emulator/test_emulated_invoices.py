from __future__ import annotations

from base64 import b64encode
from collections import Counter
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from lxml import etree

from ksef_emulator import Backlog, World
from ksef_emulator.clock import iso_ticks, to_ticks
from ksef_emulator.identifiers import nip_check_digit
from ksef_emulator.world.documents import customers
from ksef_emulator.world.invoices import Invoice
from tests.emulator.logging_in import NOW, SINCE

NAMESPACE = "{http://crd.gov.pl/wzor/2025/06/25/13775/}"
SUBJECTS: tuple[Any, ...] = ("Subject1", "Subject2", "Subject3", "SubjectAuthorized")


@pytest.fixture(scope="module")
def sent(world: World) -> list[Invoice]:
    """All invoices the first taxpayer has sent."""
    nip = world.taxpayers[0].context_id
    return [
        invoice
        for session in world.submissions.created_between(nip, None, to_ticks(NOW))
        for invoice in world.submissions.received_invoices(session, to_ticks(NOW))
    ]


def text(root: Any, path: str) -> str | None:
    found: str | None = root.findtext("/".join(f"{NAMESPACE}{name}" for name in path.split("/")))
    return found


def test_the_hash_of_an_invoice_is_that_of_its_xml_in_every_listing(
    world: World, sent: list[Invoice]
) -> None:
    exported = {
        row["ksefNumber"]: row
        for row in world.exported(world.taxpayers[0].context_id, "Subject1", NOW)
    }
    for invoice in sent:
        digest = b64encode(sha256(invoice.xml()).digest()).decode()
        assert invoice.row(to_ticks(NOW))["invoiceHash"] == digest
        if invoice.ksef_number in exported:
            assert exported[invoice.ksef_number]["invoiceHash"] == digest


def test_the_xml_says_what_the_metadata_say(sent: list[Invoice]) -> None:
    for invoice in sent[:400]:
        root = etree.fromstring(invoice.xml())
        row = invoice.metadata()
        assert root.tag == f"{NAMESPACE}Faktura"
        assert text(root, "Podmiot1/DaneIdentyfikacyjne/NIP") == row["seller"]["nip"]
        assert text(root, "Podmiot1/DaneIdentyfikacyjne/Nazwa") == row["seller"]["name"]
        assert text(root, "Podmiot2/DaneIdentyfikacyjne/Nazwa") == row["buyer"]["name"]
        identifier = row["buyer"]["identifier"]
        names = {"Nip": "NIP", "VatUe": "NrVatUE", "Other": "NrID"}
        if identifier["type"] in names:
            path = f"Podmiot2/DaneIdentyfikacyjne/{names[identifier['type']]}"
            assert text(root, path) == identifier["value"]
        assert text(root, "Fa/P_1") == row["issueDate"]
        assert text(root, "Fa/P_2") == row["invoiceNumber"]
        assert text(root, "Fa/KodWaluty") == row["currency"]
        assert float(text(root, "Fa/P_15") or 0) == row["grossAmount"]
        assert float(text(root, "Fa/P_13_1") or 0) == row["netAmount"]
        assert (text(root, "Fa/RodzajFaktury") or "").title() == row["invoiceType"]
        thirds = [party["identifier"]["value"] for party in row["thirdSubjects"]]
        assert [n.text for n in root.iterfind(f"{NAMESPACE}Podmiot3//{NAMESPACE}NIP")] == thirds
        authorized = row.get("authorizedSubject", {}).get("nip")
        assert text(root, "PodmiotUpowazniony/DaneIdentyfikacyjne/NIP") == authorized


def test_amounts_add_up_and_have_two_decimals(sent: list[Invoice]) -> None:
    for row in (invoice.metadata() for invoice in sent):
        for name in ("netAmount", "vatAmount", "grossAmount"):
            assert round(row[name], 2) == row[name]
        if row["currency"] == "PLN":
            assert row["grossAmount"] == pytest.approx(row["netAmount"] + row["vatAmount"])
        assert (row["netAmount"] < 0) == (row["invoiceType"] == "Kor")
        if row["invoiceType"] == "Kor":
            assert "hashOfCorrectedInvoice" not in row or row["invoicingMode"] == "Offline"


def test_invoices_are_of_many_kinds(sent: list[Invoice]) -> None:
    rows = [invoice.metadata() for invoice in sent]
    currencies = Counter(row["currency"] for row in rows)
    assert currencies["PLN"] > currencies["EUR"] > 100
    assert {row["invoiceType"] for row in rows} == {"Vat", "Kor", "Zal", "Roz", "Upr"}
    assert {row["buyer"]["identifier"]["type"] for row in rows} == {"Nip", "VatUe", "Other", "None"}
    for name in ("isSelfInvoicing", "hasAttachment"):
        assert {row[name] for row in rows} == {True, False}
    assert any(row["thirdSubjects"] for row in rows)
    assert any("authorizedSubject" in row for row in rows)
    late = Counter(
        (datetime.fromisoformat(iso_ticks(i.received)).date() - i.issued).days for i in sent
    )
    assert late[0] > late[1] > 0


def test_buyers_have_valid_numbers() -> None:
    for party in customers():
        if party.kind == "Nip" and party.value:
            assert nip_check_digit(party.value[:9]) == int(party.value[9])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_taxpayer_sells_and_buys_and_is_named(count: int) -> None:
    world = World(seed=3, taxpayers=count, since=SINCE, largest_session=100)
    for taxpayer in world.taxpayers:
        at = SINCE + timedelta(days=5)
        rows = {s: world.exported(taxpayer.context_id, s, at) for s in SUBJECTS}
        assert all(rows[subject] for subject in SUBJECTS[:3])
        for row in rows["Subject2"]:
            assert row["buyer"]["identifier"]["value"] == taxpayer.context_id
        for row in rows["Subject3"]:
            assert row["thirdSubjects"][0]["identifier"]["value"] == taxpayer.context_id
        for row in rows["SubjectAuthorized"]:
            assert row["authorizedSubject"]["nip"] == taxpayer.context_id
        assert all(row["seller"]["nip"] != taxpayer.context_id for row in rows["Subject2"])


def test_what_is_exported_grows_with_time_and_never_changes(world: World) -> None:
    nip = world.taxpayers[0].context_id
    earlier = world.exported(nip, "Subject1", NOW - timedelta(days=3))
    later = world.exported(nip, "Subject1", NOW)
    assert 0 < len(earlier) < len(later)
    assert later[: len(earlier)] == earlier
    stored = [row["permanentStorageDate"] for row in later]
    assert stored == sorted(stored)


@pytest.mark.parametrize(("bulk_storage_s", "least", "most"), [(0, 1, 2), (10, 24, 300)])
def test_invoices_of_batch_sessions_are_stored_in_bulk(
    bulk_storage_s: float, least: int, most: int
) -> None:
    world = World(seed=7, since=SINCE, largest_session=300, bulk_storage_s=bulk_storage_s)
    rows = world.exported(world.taxpayers[0].context_id, "Subject1", NOW)
    largest = max(Counter(row["permanentStorageDate"] for row in rows).values())
    assert least <= largest <= most


@pytest.mark.parametrize("session_type", ["Online", "Batch"])
def test_a_backlog_is_uniform_and_over(session_type: Any) -> None:
    backlog = Backlog(session_type, sessions=500, invoices_per_session=20, days=10)
    world = World(seed=1, taxpayers=2, since=SINCE, backlog=backlog)
    for taxpayer in world.taxpayers:
        rows = world.sessions(taxpayer.context_id, SINCE + timedelta(days=10, hours=1))
        assert len(rows) == 500
        assert {(r["sessionType"], r["status"]["code"]) for r in rows} == {(session_type, 200)}
        assert {row["totalInvoiceCount"] for row in rows} == {20}
        failed = sum(row["failedInvoiceCount"] for row in rows)
        assert 0.01 < failed / 10_000 < 0.03
        days = Counter(row["dateCreated"][:10] for row in rows)
        assert set(days.values()) == {50}
        assert rows == world.sessions(taxpayer.context_id, SINCE + timedelta(days=30))
        at = SINCE + timedelta(days=12)
        assert len(world.exported(taxpayer.context_id, "Subject1", at)) == 10_000 - failed
        assert world.exported(taxpayer.context_id, "Subject2", at)
