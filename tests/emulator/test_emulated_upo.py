from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from time import process_time
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from lxml import etree

from ksef_emulator import Backlog, Emulator, Quirks, VirtualClock, World
from ksef_emulator.clock import to_ticks
from ksef_emulator.world.receipts import Receipts
from tests.emulator.exporting import hash_of
from tests.emulator.logging_in import NOW, SINCE, Headers

NAMESPACE = "{http://upo.schematy.mf.gov.pl/KSeF/v4-3}"
WARSAW = ZoneInfo("Europe/Warsaw")
Get = Callable[[str], httpx.Response]


@pytest.fixture(scope="module")
def schema() -> Any:
    path = Path(__file__).parents[1] / "data" / "upo-v4-3.xsd"
    return etree.XMLSchema(etree.parse(path))


@pytest.fixture
def get(client: httpx.Client, headers: Headers) -> Get:
    return lambda path: client.get(path, headers=headers)


def sessions(world: World, code: int = 200) -> list[dict[str, Any]]:
    rows = world.sessions(world.taxpayers[0].context_id, NOW)
    return [row for row in rows if row["status"]["code"] == code]


def accepted(world: World, reference: str) -> list[dict[str, Any]]:
    rows = world.invoices(world.taxpayers[0].context_id, reference, NOW)
    return [row for row in rows if row["status"]["code"] == 200]


def codes(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 400
    return [d["exceptionCode"] for d in answer.json()["exception"]["exceptionDetailList"]]


def documents(upo: bytes) -> list[dict[str, str]]:
    return [
        {etree.QName(field).localname: field.text for field in document}
        for document in etree.fromstring(upo).iterfind(f"{NAMESPACE}Dokument")
    ]


def polish(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(WARSAW).isoformat(timespec="milliseconds")


@pytest.mark.parametrize("session_type", ["Online", "Batch"])
def test_the_receipt_of_a_session_holds_its_accepted_invoices_in_order(
    get: Get, client: httpx.Client, world: World, schema: Any, session_type: str
) -> None:
    rows = [row for row in sessions(world) if row["sessionType"] == session_type]
    row = max(rows, key=lambda row: int(row["failedInvoiceCount"]))
    url = f"/sessions/{row['referenceNumber']}"
    pages = get(url).json()["upo"]["pages"]
    assert len(pages) == 1
    answer = get(f"{url}/upo/{pages[0]['referenceNumber']}")
    assert answer.headers["Content-Type"].startswith("application/xml")
    assert answer.headers["x-ms-meta-hash"] == hash_of(answer.content)
    linked = client.get(pages[0]["downloadUrl"])
    assert linked.content == answer.content
    assert linked.headers["x-ms-meta-hash"] == hash_of(answer.content)
    schema.assertValid(etree.fromstring(answer.content))
    nip = world.taxpayers[0].context_id
    expected = accepted(world, row["referenceNumber"])
    found = documents(answer.content)
    assert [document["NumerKSeFDokumentu"] for document in found] == [
        invoice["ksefNumber"] for invoice in expected
    ]
    for document, invoice in zip(found, expected, strict=True):
        assert document["NipSprzedawcy"] == nip
        assert document["NumerFaktury"] == invoice["invoiceNumber"]
        assert document["SkrotDokumentu"] == invoice["invoiceHash"]
        assert document["TrybWysylki"] == invoice["invoicingMode"]
        assert document["DataPrzeslaniaDokumentu"] == polish(invoice["invoicingDate"])
        assert document["DataNadaniaNumeruKSeF"] == polish(invoice["acquisitionDate"])


def test_a_receipt_tells_the_day_of_issue_that_the_metadata_tell(get: Get, world: World) -> None:
    row = max(sessions(world), key=lambda row: int(row["totalInvoiceCount"]))
    url = f"/sessions/{row['referenceNumber']}"
    page = get(url).json()["upo"]["pages"][0]["referenceNumber"]
    exported = {
        row["ksefNumber"]: row["issueDate"]
        for row in world.exported(world.taxpayers[0].context_id, "Subject1", NOW)
    }
    found = documents(get(f"{url}/upo/{page}").content)
    assert len(found) > 100
    for document in found:
        issued = exported[document["NumerKSeFDokumentu"]]
        assert document["DataWystawieniaFaktury"] == issued


def test_the_receipt_of_one_invoice_is_found_by_either_number_and_by_its_link(
    get: Get, client: httpx.Client, world: World, schema: Any
) -> None:
    reference = sessions(world)[0]["referenceNumber"]
    url = f"/sessions/{reference}/invoices"
    rows = get(f"{url}?pageSize=100").json()["invoices"]
    row = next(row for row in rows if row["status"]["code"] == 200)
    one = get(f"{url}/{row['referenceNumber']}/upo")
    other = get(f"{url}/ksef/{row['ksefNumber']}/upo")
    linked = client.get(row["upoDownloadUrl"])
    assert one.content == other.content == linked.content
    assert one.headers["x-ms-meta-hash"] == hash_of(one.content)
    root = etree.fromstring(one.content)
    schema.assertValid(root)
    assert root.find(f"{NAMESPACE}OpisPotwierdzenia") is None
    assert [d["NumerKSeFDokumentu"] for d in documents(one.content)] == [row["ksefNumber"]]


def test_a_large_session_has_several_pages_that_are_all_listed(
    connect: Callable[[Emulator], httpx.Client],
    headers: Headers,
    world: World,
    clock: VirtualClock,
    schema: Any,
) -> None:
    client = connect(Emulator(world, clock, limits="off", quirks=Quirks(upo_page_size=40)))
    row = max(sessions(world), key=lambda row: int(row["successfulInvoiceCount"]))
    numbers = []
    listed = client.get(f"/sessions/{row['referenceNumber']}", headers=headers).json()["upo"]
    count = int(row["successfulInvoiceCount"])
    assert len(listed["pages"]) == -(-count // 40) > 2
    for number, page in enumerate(listed["pages"], start=1):
        root = etree.fromstring(client.get(page["downloadUrl"]).content)
        schema.assertValid(root)
        description = [int(field.text) for field in root.find(f"{NAMESPACE}OpisPotwierdzenia")]
        last = min(number * 40, count)
        assert description == [number, len(listed["pages"]), number * 40 - 39, last, count]
        numbers += [d["NumerKSeFDokumentu"] for d in documents(etree.tostring(root))]
    assert numbers == [row["ksefNumber"] for row in accepted(world, row["referenceNumber"])]


def test_only_a_session_that_succeeded_has_receipts_and_by_setting_a_little_late(
    get: Get,
    connect: Callable[[Emulator], httpx.Client],
    headers: Headers,
    world: World,
) -> None:
    failed = sessions(world, 445)[0]["referenceNumber"]
    assert "upo" not in get(f"/sessions/{failed}").json()
    row = sessions(world)[0]
    settled = datetime.fromisoformat(row["dateUpdated"]) + timedelta(seconds=1)
    clock = VirtualClock(settled)
    late = Emulator(world, clock, limits="off", quirks=Quirks(upo_delay_s=60))
    url = f"/sessions/{row['referenceNumber']}"
    page = get(url).json()["upo"]["pages"][0]["referenceNumber"]
    client = connect(late)
    shown = client.get(url, headers=headers).json()
    assert (shown["status"]["code"], "upo" in shown) == (200, False)
    assert codes(client.get(f"{url}/upo/{page}", headers=headers)) == [21178]
    clock.sleep(60)
    assert client.get(url, headers=headers).json()["upo"]["pages"][0]["referenceNumber"] == page


def test_receipts_that_do_not_exist_are_refused_with_the_documented_codes(
    get: Get, world: World
) -> None:
    reference = sessions(world)[0]["referenceNumber"]
    unknown = "20260922-EU-0000000000-0000000000-00"
    own = accepted(world, reference)[0]
    elsewhere = accepted(world, sessions(world)[1]["referenceNumber"])[0]
    assert codes(get(f"/sessions/{unknown}/upo/{unknown}")) == [21173]
    missing = get(f"/sessions/{reference}/upo/{unknown}")
    assert codes(missing) == [21178]
    assert missing.json()["exception"]["exceptionDetailList"][0]["details"] == [
        f"UPO o numerze referencyjnym {unknown} dla sesji {reference} nie zostało znalezione."
    ]
    missing = get(f"/sessions/{reference}/invoices/ksef/{elsewhere['ksefNumber']}/upo")
    assert codes(missing) == [21178]
    assert missing.json()["exception"]["exceptionDetailList"][0]["details"] == [
        f"UPO o numerze KSeF {elsewhere['ksefNumber']} i numerze referencyjnym sesji {reference}"
        " nie zostało znalezione."
    ]
    assert codes(get(f"/sessions/{unknown}/invoices/ksef/{own['ksefNumber']}/upo")) == [21178]
    assert codes(get(f"/sessions/{reference}/invoices/ksef/1234567890/upo")) == [21405]
    assert codes(get(f"/sessions/{reference}/invoices/{unknown}/upo")) == [21405]
    assert codes(get(f"/sessions/{unknown}/invoices/{unknown}/upo")) == [21405]


def test_rejected_invoices_have_no_receipt(get: Get, world: World) -> None:
    nip = world.taxpayers[0].context_id
    row = max(sessions(world), key=lambda row: int(row["failedInvoiceCount"]))
    url = f"/sessions/{row['referenceNumber']}/invoices"
    rejected = world.failed_invoices(nip, row["referenceNumber"], NOW)[0]
    assert codes(get(f"{url}/{rejected['referenceNumber']}/upo")) == [21405]


def test_receipts_of_others_do_not_exist(
    get: Get, login: Callable[[str, str], Headers], client: httpx.Client, world: World
) -> None:
    reference = sessions(world)[0]["referenceNumber"]
    page = get(f"/sessions/{reference}").json()["upo"]["pages"][0]["referenceNumber"]
    other = world.taxpayers[1]
    headers = login(other.token, other.context_id)
    foreign = client.get(f"/sessions/{reference}/upo/{page}", headers=headers)
    assert codes(foreign) == [21173]


def test_receipts_count_with_the_other_session_routes(
    world: World,
    clock: VirtualClock,
    headers: Headers,
    connect: Callable[[Emulator], httpx.Client],
) -> None:
    client = connect(Emulator(world, clock))
    url = f"/sessions/{sessions(world)[0]['referenceNumber']}"
    page = client.get(url, headers=headers).json()["upo"]["pages"][0]["referenceNumber"]
    paths = [f"{url}/upo/{page}", url, f"{url}/invoices/{page}/upo"]
    statuses = [client.get(paths[n % 3], headers=headers).status_code for n in range(10)]
    assert statuses[-1] == 429
    assert 429 not in statuses[:-1]


def test_ten_thousand_documents_are_written_in_a_moment_and_kept() -> None:
    world = World(taxpayers=1, since=SINCE, backlog=Backlog("Batch", 3, 10_000, days=3))
    nip = world.taxpayers[0].context_id
    now = to_ticks(SINCE + timedelta(days=4))
    reference = world.sessions(nip, SINCE + timedelta(days=4))[0]["referenceNumber"]
    session = world.submissions.find(nip, reference, now)
    receipts = Receipts(world.submissions, 10_000, 0)
    page = receipts.page_references(session, now)[0]
    began = process_time()
    written = receipts.session_page(session, page, now)
    # 0.2 s on an idle machine.
    assert process_time() - began < 2
    assert written is not None
    assert written.count(b"<Dokument>") > 9_500
    assert receipts.session_page(session, page, now) is written
