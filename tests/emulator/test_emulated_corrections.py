"""Offline invoices, their technical corrections, and what the world knows of resubmissions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from ksef_emulator import Emulator, Oddities, VirtualClock, World
from ksef_emulator.clock import to_ticks
from ksef_emulator.world.invoices import Invoice
from ksef_emulator.world.sessions import Session
from tests.emulator.exporting import Exporter, metadata
from tests.emulator.logging_in import NOW, SINCE, Headers

WARSAW = ZoneInfo("Europe/Warsaw")
HASH = "hashOfCorrectedInvoice"


def all_sent(world: World, at: datetime = NOW) -> Iterator[tuple[Session, Invoice]]:
    for who in world.taxpayers:
        for session in world.submissions.created_between(who.context_id, None, to_ticks(at)):
            for invoice in world.submissions.received_invoices(session, to_ticks(at)):
                yield session, invoice


@pytest.fixture(scope="module")
def corrected(world: World) -> list[tuple[Session, Invoice]]:
    """All invoices that say which file they correct."""
    return [pair for pair in all_sent(world) if pair[1].hash_of_corrected]


def day(moment: str) -> date:
    return datetime.fromisoformat(moment).astimezone(WARSAW).date()


def test_the_invoices_of_a_batch_are_dated_when_its_session_was_created(world: World) -> None:
    online = Counter[bool]()
    for who in world.taxpayers:
        for session in world.sessions(who.context_id, NOW):
            for row in world.invoices(who.context_id, session["referenceNumber"], NOW):
                is_equal = row["invoicingDate"] == session["dateCreated"]
                if session["sessionType"] == "Batch":
                    assert is_equal
                else:
                    online[is_equal] += 1
    assert set(online) == {False}


def test_the_invoices_of_a_batch_are_listed_only_once_it_is_processed(world: World) -> None:
    nip = world.taxpayers[0].context_id
    seen = 0
    for session in world.submissions.created_between(nip, None, to_ticks(NOW)):
        if session.draft.session_type == "Batch" and session.draft.code == 200:
            assert world.submissions.received_invoices(session, session.draft.closed - 1) == ()
            assert session.counters_at(session.draft.closed - 1).total == 0
            later = world.submissions.received_invoices(session, session.draft.settled)
            assert {invoice.invoiced for invoice in later} == {session.draft.created}
            seen += len(later)
    assert seen > 1_000


def test_a_package_by_invoicing_date_holds_a_batch_by_the_creation_of_its_session(
    exporter: Exporter, world: World
) -> None:
    nip = world.taxpayers[0].context_id
    session = next(
        row
        for row in world.sessions(nip, NOW - timedelta(days=1))
        if row["sessionType"] == "Batch" and row["successfulInvoiceCount"] > 20
    )
    created = session["dateCreated"]
    dates = {"dateType": "Invoicing", "from": created, "to": created}
    rows = metadata(exporter.files(exporter.package(dates=dates)))
    assert {row["invoicingDate"] for row in rows} == {created}
    assert len(rows) == session["successfulInvoiceCount"]


def test_ksef_itself_calls_offline_what_was_issued_on_an_earlier_day(world: World) -> None:
    modes: Counter[tuple[bool, str]] = Counter()
    for who in world.taxpayers:
        for row in world.exported(who.context_id, "Subject1", NOW):
            is_earlier = date.fromisoformat(row["issueDate"]) < day(row["invoicingDate"])
            modes[is_earlier, row["invoicingMode"]] += 1
    assert modes[True, "Online"] == 0
    assert modes[True, "Offline"] > 100
    assert modes[False, "Online"] > 9 * modes[False, "Offline"] > 0


def test_offline_is_declared_for_a_whole_batch_and_for_single_invoices_online(
    world: World,
) -> None:
    declared: dict[str, set[str]] = {}
    for session, invoice in all_sent(world):
        row = invoice.row(to_ticks(NOW))
        if "invoicingMode" in row and invoice.issued == day(row["invoicingDate"]):
            declared.setdefault(session.draft.reference_number, set()).add(row["invoicingMode"])
    batch = Counter(frozenset(modes) for name, modes in declared.items() if "-SB-" in name)
    assert batch.keys() == {frozenset({"Online"}), frozenset({"Offline"})}
    assert {"Online", "Offline"} in [modes for name, modes in declared.items() if "-SO-" in name]


def test_a_technical_correction_is_accepted_online_and_names_the_rejected_file(
    world: World, corrected: list[tuple[Session, Invoice]]
) -> None:
    rejected = {
        invoice.invoice_hash: (session, invoice)
        for session, invoice in all_sent(world)
        if invoice.code in (430, 435, 450)
    }
    kinds: Counter[str] = Counter()
    for session, invoice in corrected:
        assert session.draft.session_type == "Online"
        assert invoice.code == 200
        assert invoice.mode == "Offline"
        if invoice.hash_of_corrected not in rejected:
            kinds["unmatched"] += 1
            continue
        source, before = rejected[invoice.hash_of_corrected]
        assert before.mode == "Offline"
        assert before.invoice_hash != invoice.invoice_hash
        assert (before.invoice_number, before.issued) == (invoice.invoice_number, invoice.issued)
        assert source.draft.taxpayer is session.draft.taxpayer
        assert source.draft.settled < session.draft.created
        kinds[source.draft.session_type] += 1
    assert kinds["Batch"] > kinds["Online"] > 0
    assert kinds["unmatched"] > 0


def test_only_metadata_tell_the_hash_of_the_corrected_file_and_no_correcting_invoice_has_one(
    world: World, corrected: list[tuple[Session, Invoice]]
) -> None:
    numbers = {invoice.ksef_number for _, invoice in corrected}
    rows = [
        row
        for who in world.taxpayers
        for row in world.exported(who.context_id, "Subject1", NOW + timedelta(days=1))
    ]
    told = {row["ksefNumber"]: row["hashOfCorrectedInvoice"] for row in rows if HASH in row}
    assert numbers <= told.keys()
    hashes = {i.ksef_number: i.hash_of_corrected for _, i in all_sent(world, NOW)}
    assert all(told[number] == hashes[number] for number in numbers)
    assert all(HASH not in invoice.row(to_ticks(NOW)) for _, invoice in corrected)
    correcting = [row for row in rows if row["invoiceType"] == "Kor"]
    assert len(correcting) > 20 * sum(HASH in row for row in correcting)


def test_technical_corrections_can_be_switched_off_and_made_the_rule() -> None:
    counts = [
        sum(
            invoice.hash_of_corrected is not None
            for _, invoice in all_sent(World(seed=7, since=SINCE, largest_session=60, oddities=o))
        )
        for o in (
            Oddities(technical_correction_rate=0, unmatched_correction_rate=0),
            Oddities(unmatched_correction_rate=0),
            Oddities(technical_correction_rate=1, unmatched_correction_rate=0),
        )
    ]
    assert 0 == counts[0] < counts[1] < counts[2]


def test_every_resubmission_is_a_failed_invoice_and_one_accepted_elsewhere(world: World) -> None:
    for who in world.taxpayers:
        invoices = {
            (session["referenceNumber"], row["referenceNumber"]): row
            for session in world.sessions(who.context_id, NOW)
            for row in world.invoices(who.context_id, session["referenceNumber"], NOW)
        }
        accepted = {
            (session, row["ksefNumber"]): row
            for (session, _), row in invoices.items()
            if "ksefNumber" in row
        }
        found = world.resubmissions(who.context_id, NOW)
        assert found == sorted(found)
        assert len({(r.session_reference, r.invoice_reference) for r in found}) == len(found)
        for known in found:
            failed = invoices[known.session_reference, known.invoice_reference]
            other = accepted[known.accepted_session_reference, known.ksef_number]
            assert failed["status"]["code"] == known.code > 200
            is_same = failed["invoiceHash"] == other["invoiceHash"]
            assert is_same == (known.kind in ("same file", "duplicate"))
            assert (known.code == 440) == (known.kind == "duplicate")
            if "invoiceNumber" in failed:
                assert failed["invoiceNumber"] == other["invoiceNumber"]


def test_resubmissions_are_of_every_kind_and_change_the_kind_of_session(world: World) -> None:
    found = [r for who in world.taxpayers for r in world.resubmissions(who.context_id, NOW)]
    assert set(Counter(r.kind for r in found)) == {
        "same file",
        "corrected",
        "technical correction",
        "duplicate",
    }
    ways = Counter(
        (r.session_reference[9:11], r.accepted_session_reference[9:11])
        for r in found
        if r.kind == "corrected"
    )
    assert set(ways) == {(one, other) for one in ("SO", "SB") for other in ("SO", "SB")}


def test_every_duplicate_and_every_technical_correction_is_a_known_resubmission(
    world: World, corrected: list[tuple[Session, Invoice]]
) -> None:
    found = [r for who in world.taxpayers for r in world.resubmissions(who.context_id, NOW)]
    duplicates = {r.invoice_reference for r in found if r.kind == "duplicate"}
    now = to_ticks(NOW)
    assert duplicates == {i.reference_number for _, i in all_sent(world) if i.code_at(now) == 440}
    numbers = {r.ksef_number for r in found if r.kind == "technical correction"}
    rejected = {i.invoice_hash for _, i in all_sent(world) if i.code > 200}
    assert numbers == {
        i.ksef_number
        for _, i in corrected
        if i.hash_of_corrected in rejected and i.code_at(now) == 200
    }


def test_a_resubmission_is_known_once_both_invoices_have_their_outcome(world: World) -> None:
    nip = world.taxpayers[0].context_id
    earlier = world.resubmissions(nip, NOW - timedelta(days=5))
    assert 0 < len(earlier) < len(world.resubmissions(nip, NOW))
    assert set(earlier) < set(world.resubmissions(nip, NOW))
    one = next(r for r in earlier if r.kind == "corrected")
    invoice = next(
        row
        for row in world.invoices(nip, one.accepted_session_reference, NOW)
        if row.get("ksefNumber") == one.ksef_number
    )
    accepted = datetime.fromisoformat(invoice["acquisitionDate"])
    assert one not in world.resubmissions(nip, accepted - timedelta(seconds=1))
    assert one in world.resubmissions(nip, accepted + timedelta(hours=7))


def test_invoices_sent_again_days_later_are_found_by_their_day_of_issue(
    connect: Callable[[Emulator], httpx.Client], headers: Headers, clock: VirtualClock
) -> None:
    world = World(seed=7, since=SINCE, largest_session=60, sessions_per_day=8)
    exporter = Exporter(connect(Emulator(world, clock, limits="off")), headers, clock)
    rows = world.exported(world.taxpayers[0].context_id, "Subject1", NOW)
    late = [row for row in rows if _days_late(row) > 4]
    assert late
    for row in late:
        issued = datetime.fromisoformat(row["issueDate"]).replace(hour=12, tzinfo=UTC)
        dates = {"dateType": "Issue", "from": issued.isoformat(), "to": issued.isoformat()}
        package = exporter.package(dates=dates)
        found = {found["ksefNumber"] for found in metadata(exporter.files(package))}
        assert row["ksefNumber"] in found


def _days_late(row: dict[str, Any]) -> int:
    return (day(row["invoicingDate"]) - date.fromisoformat(row["issueDate"])).days
