from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from ksef_emulator import Emulator, ExportSettings, VirtualClock, World
from ksef_emulator.world.taxpayers import SubjectType
from tests.emulator.exporting import Exporter, hash_of, members, metadata, moment_of
from tests.emulator.logging_in import NOW, SINCE, Headers

Login = Callable[[str, str], Headers]
Make = Callable[..., Exporter]


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=7, since=SINCE, largest_session=60, sessions_per_day=8)


@pytest.fixture
def nip(world: World) -> str:
    return world.taxpayers[0].context_id


def ticks_later(text: str) -> str:
    """Move a date of 7 decimals by 100 ns."""
    return f"{text[:20]}{int(text[20:27]) + 1:07d}{text[27:]}"


@pytest.mark.parametrize("compression_type", ["Zip", "TarGz"])
@pytest.mark.parametrize("subject_type", ["Subject1", "Subject2", "Subject3", "SubjectAuthorized"])
def test_a_package_decrypted_and_unpacked_by_hand_is_the_world_up_to_the_hwm(
    exporter: Exporter, world: World, nip: str, subject_type: SubjectType, compression_type: str
) -> None:
    package = exporter.package(subject_type, compressionType=compression_type)
    archive = exporter.download(package)
    files = members(archive, compression_type)
    hwm = datetime.fromisoformat(package["permanentStorageHwmDate"])
    rows = metadata(files)
    assert rows == world.exported(nip, subject_type, hwm)
    assert package["invoiceCount"] == len(rows) > 10
    assert files.keys() == {"_metadata.json", *(f"{row['ksefNumber']}.xml" for row in rows)}
    for row in rows:
        assert hash_of(files[f"{row['ksefNumber']}.xml"]) == row["invoiceHash"]
    assert package["compressionType"] == compression_type


def test_subject1_is_the_accepted_invoices_of_the_taxpayers_sessions(
    exporter: Exporter, world: World, nip: str
) -> None:
    package = exporter.package()
    exported = {row["ksefNumber"]: row for row in metadata(exporter.files(package))}
    hwm = package["permanentStorageHwmDate"]
    sent = [
        invoice
        for session in world.sessions(nip, NOW)
        for invoice in world.invoices(nip, session["referenceNumber"], NOW)
        if invoice["status"]["code"] == 200 and invoice.get("permanentStorageDate", "9") <= hwm
    ]
    assert exported.keys() == {invoice["ksefNumber"] for invoice in sent}
    for invoice in sent:
        row = exported[invoice["ksefNumber"]]
        for name in ("invoiceNumber", "invoiceHash", "invoicingDate", "acquisitionDate"):
            assert row[name] == invoice[name]
        assert row["invoicingMode"] == invoice["invoicingMode"]
        assert row["permanentStorageDate"] == moment_of(invoice["permanentStorageDate"])
        assert row["seller"]["nip"] == nip


def test_a_sale_to_another_taxpayer_is_the_same_row_in_his_purchases(world: World) -> None:
    seller, buyer = (taxpayer.context_id for taxpayer in world.taxpayers)
    sold = [
        row
        for row in world.exported(seller, "Subject1", NOW)
        if row["buyer"]["identifier"].get("value") == buyer
    ]
    bought = world.exported(buyer, "Subject2", NOW)
    assert len(sold) > 100
    assert [row for row in bought if row["seller"]["nip"] == seller] == sold
    assert any(row["seller"]["nip"] != seller for row in bought)


def test_content_is_fixed_when_the_export_is_processed(
    make: Make, login: Login, world: World
) -> None:
    exporter = make(ExportSettings(duration_s=600))
    reference = exporter.start()
    exporter.clock.sleep(601)
    first = exporter.poll(reference).json()["package"]
    exporter.clock.sleep(3 * 86_400)
    taxpayer = world.taxpayers[0]
    exporter.headers = login(taxpayer.token, taxpayer.context_id)
    later = exporter.poll(reference).json()["package"]
    assert later["permanentStorageHwmDate"] == first["permanentStorageHwmDate"]
    assert later["invoiceCount"] == first["invoiceCount"]
    assert later["parts"][0]["partHash"] == first["parts"][0]["partHash"]


@pytest.mark.parametrize("cap", [20, 97])
@pytest.mark.parametrize("compression_type", ["Zip", "TarGz"])
def test_walking_through_truncated_packages_gives_exactly_the_world(
    make: Make, world: World, nip: str, cap: int, compression_type: str
) -> None:
    exporter = make(ExportSettings(cap=cap, duration_s=0))
    since = {"from": (NOW - timedelta(days=4)).isoformat()}
    seen: dict[str, dict[str, Any]] = {}
    packages = list(exporter.walk(dates=since, onlyMetadata=True, compressionType=compression_type))
    repeated = 0
    for package in packages:
        rows = metadata(exporter.files(package))
        assert package["invoiceCount"] == len(rows) <= cap
        assert (len(rows) == cap) == package["isTruncated"]
        repeated += sum(row["ksefNumber"] in seen for row in rows)
        seen |= {row["ksefNumber"]: row for row in rows}
        if package["isTruncated"]:
            last = rows[-1]["permanentStorageDate"]
            assert moment_of(package["lastPermanentStorageDate"]) == last
    hwm = datetime.fromisoformat(packages[-1]["permanentStorageHwmDate"])
    expected = [
        row
        for row in world.exported(nip, "Subject1", hwm)
        if row["permanentStorageDate"] >= since["from"]
    ]
    assert list(seen.values()) == expected
    assert len(packages) > 3
    # Both ends of a window are inclusive, so the last invoice of a package comes again.
    assert repeated >= len(packages) - 1


def test_a_loop_from_hwm_to_hwm_loses_nothing(make: Make, world: World, nip: str) -> None:
    exporter = make(ExportSettings(duration_s=0))
    since = (NOW - timedelta(hours=5)).isoformat()
    seen, cursor = set(), since
    for _ in range(9):
        package = exporter.package(onlyMetadata=True, dates={"from": cursor})
        if package["parts"]:
            seen |= {row["ksefNumber"] for row in metadata(exporter.files(package))}
        cursor = package["permanentStorageHwmDate"]
        exporter.clock.sleep(90)
    expected = {
        row["ksefNumber"]
        for row in world.exported(nip, "Subject1", datetime.fromisoformat(cursor))
        if row["permanentStorageDate"] >= since
    }
    assert seen == expected


def test_without_restriction_invoices_turn_up_late_below_a_moment_already_asked_for(
    connect: Callable[[Emulator], httpx.Client], headers: Headers, clock: VirtualClock
) -> None:
    busy = World(seed=7, since=NOW - timedelta(days=1), sessions_per_day=400, largest_session=30)
    app = Emulator(busy, clock, limits="off", exports=ExportSettings(duration_s=0))
    exporter = Exporter(connect(app), headers, clock)
    dates = {
        "from": (NOW - timedelta(minutes=30)).isoformat(),
        "to": NOW.isoformat(),
        "restrictToPermanentStorageHwmDate": False,
    }

    def found() -> tuple[dict[str, Any], list[str]]:
        package = exporter.package(onlyMetadata=True, dates=dates)
        rows = metadata(exporter.files(package))
        return package, [row["permanentStorageDate"] for row in rows]

    package, before = found()
    hwm = package["permanentStorageHwmDate"]
    assert max(before) > hwm, "some lie beyond the HWM"
    clock.sleep(200)
    settled, after = found()
    assert len(after) > len(before)
    assert [date for date in after if date <= hwm] == [date for date in before if date <= hwm]
    assert settled["permanentStorageHwmDate"] == "2026-09-22T10:30:00.0000000+00:00"


def test_an_old_range_has_its_end_as_hwm_and_both_ends_are_inclusive(
    make: Make, world: World, nip: str
) -> None:
    exporter = make(ExportSettings(cap=30, duration_s=0))
    first = exporter.package()
    low = high = first["lastPermanentStorageDate"]
    one = exporter.package(dates={"from": low, "to": high})
    assert one["permanentStorageHwmDate"] == high
    assert one["invoiceCount"] >= 1
    rows = metadata(exporter.files(one))
    assert {row["permanentStorageDate"] for row in rows} == {moment_of(high)}
    none = exporter.package(dates={"from": ticks_later(low), "to": ticks_later(low)})
    assert none["invoiceCount"] == 0


def test_an_empty_result_has_no_parts_but_a_hwm(exporter: Exporter) -> None:
    since = (NOW - timedelta(seconds=155)).isoformat()
    package = exporter.package("SubjectAuthorized", dates={"from": since})
    assert package["invoiceCount"] == 0
    assert package["parts"] == []
    assert package["isTruncated"] is False
    assert package["permanentStorageHwmDate"] > since


def test_exactly_the_cap_says_truncated_by_quirk(make: Make) -> None:
    last = make(ExportSettings(cap=30, duration_s=0)).package()["lastPermanentStorageDate"]
    dates = {"to": last}
    count = make().package(dates=dates)["invoiceCount"]
    for flag in (True, False):
        exact = make(ExportSettings(cap=count, exact_cap_truncates=flag)).package(dates=dates)
        assert exact["invoiceCount"] == count
        assert exact["isTruncated"] is flag
        assert ("lastPermanentStorageDate" in exact) is flag


def test_metadata_alone_may_overrun_the_cap_by_one_and_not_say_so(make: Make) -> None:
    exporter = make(ExportSettings(cap=10, metadata_overrun=True))
    package = exporter.package(onlyMetadata=True)
    files = exporter.files(package)
    assert files.keys() == {"_metadata.json"}
    assert len(metadata(files)) == package["invoiceCount"] == 11
    assert package["isTruncated"] is False
    assert "lastPermanentStorageDate" not in package


def test_a_package_ends_at_the_size_cap_too(make: Make) -> None:
    for compression_type in ("Zip", "TarGz"):
        exporter = make(ExportSettings(size_cap_bytes=30_000))
        package = exporter.package(compressionType=compression_type)
        assert package["isTruncated"] is True
        assert 20 < package["invoiceCount"] < 1000
        alone = exporter.package(compressionType=compression_type, onlyMetadata=True)
        assert alone["invoiceCount"] > package["invoiceCount"], "metadata do not count"


def test_more_than_the_cap_may_share_one_instant(
    connect: Callable[[Emulator], httpx.Client], headers: Headers, clock: VirtualClock
) -> None:
    world = World(seed=7, since=SINCE, largest_session=60, bulk_storage_s=3600)
    app = Emulator(world, clock, limits="off", exports=ExportSettings(cap=10))
    exporter = Exporter(connect(app), headers, clock)
    with pytest.raises(AssertionError, match="the walk is stuck"):
        list(exporter.walk(onlyMetadata=True))


@pytest.mark.parametrize(
    ("date_type", "name", "field"),
    [
        ("Invoicing", "lastInvoicingDate", "invoicingDate"),
        ("Issue", "lastIssueDate", "issueDate"),
    ],
)
def test_other_dates_sort_and_truncate_by_themselves_and_have_no_hwm(
    make: Make, world: World, nip: str, date_type: str, name: str, field: str
) -> None:
    low, high = NOW - timedelta(days=6), NOW - timedelta(days=3)
    dates = {"dateType": date_type, "from": low.isoformat(), "to": high.isoformat()}
    exporter = make()
    package = exporter.package(dates=dates)
    rows = metadata(exporter.files(package))
    assert "permanentStorageHwmDate" not in package
    values = [row[field] for row in rows]
    assert values == sorted(values)
    end = 10 if date_type == "Issue" else 99
    expected = [
        row["ksefNumber"]
        for row in world.exported(nip, "Subject1", NOW)
        if low.isoformat()[:end] <= row[field][:end] <= high.isoformat()[:end]
    ]
    assert sorted(row["ksefNumber"] for row in rows) == sorted(expected)
    cut = make(ExportSettings(cap=20)).package(dates=dates)
    assert cut["isTruncated"] is True
    assert cut[name] == values[19]
    assert not {"lastPermanentStorageDate", "permanentStorageHwmDate"} & cut.keys()


@pytest.mark.parametrize(
    "filters",
    [
        {"currencyCodes": ["EUR"]},
        {"invoiceTypes": ["Kor", "Zal"]},
        {"invoicingMode": "Offline"},
        {"isSelfInvoicing": True},
        {"amount": {"type": "Brutto", "from": 1000, "to": 2000.5}},
        {"buyerIdentifier": {"type": "VatUe"}},
        {"formType": "FA", "hasAttachment": False, "currencyCodes": ["EUR", "PLN"]},
    ],
)
def test_filters_choose_among_the_rows(
    exporter: Exporter, world: World, nip: str, filters: dict[str, Any]
) -> None:
    package = exporter.package(filters=filters)
    rows = metadata(exporter.files(package))
    hwm = datetime.fromisoformat(package["permanentStorageHwmDate"])
    everything = world.exported(nip, "Subject1", hwm)
    assert 0 < len(rows) < len(everything)
    checks: dict[str, Callable[[dict[str, Any], Any], bool]] = {
        "currencyCodes": lambda row, wanted: row["currency"] in wanted,
        "invoiceTypes": lambda row, wanted: row["invoiceType"] in wanted,
        "amount": lambda row, wanted: wanted["from"] <= row["grossAmount"] <= wanted["to"],
        "buyerIdentifier": lambda row, wanted: row["buyer"]["identifier"]["type"] == "VatUe",
        "formType": lambda row, wanted: row["formCode"]["value"] == wanted,
    }
    assert rows == [
        row
        for row in everything
        if all(
            checks.get(name, lambda row, wanted, name=name: row[name] == wanted)(row, wanted)
            for name, wanted in filters.items()
        )
    ]


def test_one_invoice_can_be_asked_for_by_its_numbers(
    exporter: Exporter, world: World, nip: str
) -> None:
    row = world.exported(nip, "Subject1", NOW - timedelta(days=2))[50]
    for name in ("ksefNumber", "invoiceNumber"):
        package = exporter.package(filters={name: row[name], "sellerNip": nip})
        assert metadata(exporter.files(package)) == [row]
