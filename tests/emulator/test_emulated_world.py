from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ksef_emulator import World
from ksef_emulator.clock import to_ticks
from ksef_emulator.identifiers import crc8, nip_check_digit
from ksef_emulator.world.rows import Row
from ksef_emulator.world.sessions import LONGEST_LIFE, LONGEST_STORAGE
from ksef_emulator.world.texts import INVOICE_DESCRIPTIONS, SESSION_DESCRIPTIONS

SINCE = datetime(2026, 9, 7, tzinfo=UTC)
LATER = datetime(2026, 9, 22, 10, 30, tzinfo=UTC)
PENDING = {100, 150, 170}
FAILED_AS_A_WHOLE = {405, 415, 420, 430, 435, 440}


@pytest.fixture(scope="module")
def prompt() -> World:
    """A world whose counters and failed invoices never lag."""
    return World(seed=3, since=SINCE, largest_session=300, lag_s=0)


def everything(world: World, at: datetime) -> str:
    return json.dumps(
        [
            [row, world.invoices(who.context_id, row["referenceNumber"], at)]
            for who in world.taxpayers
            for row in world.sessions(who.context_id, at)
        ]
    )


def test_two_worlds_with_one_seed_are_the_same_to_the_byte_whatever_was_asked_before() -> None:
    fresh, used, other = (World(seed=s, since=SINCE, largest_session=500) for s in (5, 5, 6))
    for days in (9, 2, 14):
        everything(used, SINCE + timedelta(days=days))
    at = SINCE + timedelta(days=5, hours=9.5)
    assert everything(fresh, at) == everything(used, at)
    assert everything(fresh, at) != everything(other, at)


def test_nothing_is_known_before_the_world_begins(prompt: World) -> None:
    assert prompt.sessions(prompt.taxpayers[0].context_id, SINCE - timedelta(days=1)) == []


def test_sessions_are_listed_newest_first(prompt: World) -> None:
    for who in prompt.taxpayers:
        created = [row["dateCreated"] for row in prompt.sessions(who.context_id, LATER)]
        assert created == sorted(created, reverse=True)


def test_date_updated_never_goes_back_and_a_last_status_stays(prompt: World) -> None:
    nip = prompt.taxpayers[0].context_id
    before: dict[str, Row] = {}
    for minutes in range(0, 3 * 24 * 60, 17):
        rows = prompt.sessions(nip, SINCE + timedelta(days=8, minutes=minutes))
        for row in rows:
            earlier = before.get(row["referenceNumber"], row)
            assert row["dateUpdated"] >= earlier["dateUpdated"]
            if earlier["status"]["code"] not in PENDING:
                assert row["status"] == earlier["status"]
            if row["dateUpdated"] == earlier["dateUpdated"]:
                assert row == earlier
        assert before.keys() <= {row["referenceNumber"] for row in rows}
        before = {row["referenceNumber"]: row for row in rows}


def test_no_session_changes_later_than_promised() -> None:
    world = World(seed=1, since=SINCE, sessions_per_day=60, largest_session=50)
    for who in world.taxpayers:
        for session in world.submissions.created_between(who.context_id, None, to_ticks(LATER)):
            stored = max((i.stored for i in session.invoices()), default=0)
            assert stored <= session.draft.settled + LONGEST_STORAGE
            assert session.draft.settled + LONGEST_STORAGE <= session.draft.created + LONGEST_LIFE


@pytest.mark.parametrize("seed", range(5))
def test_a_week_of_any_taxpayer_shows_every_last_status_code(seed: int) -> None:
    world = World(seed=seed, taxpayers=1, since=SINCE, sessions_per_day=3, largest_session=10)
    nip, at = world.taxpayers[0].context_id, SINCE + timedelta(days=8)
    rows = world.sessions(nip, at)
    sessions = {(row["sessionType"], row["status"]["code"]) for row in rows}
    assert sessions >= {key for key in SESSION_DESCRIPTIONS if key[1] not in PENDING}
    invoices = {
        invoice["status"]["code"]
        for row in rows
        for invoice in world.invoices(nip, row["referenceNumber"], at)
    }
    assert invoices >= INVOICE_DESCRIPTIONS.keys() - PENDING


def test_sessions_and_invoices_pass_through_the_pending_codes(prompt: World) -> None:
    nip = prompt.taxpayers[0].context_id
    sessions: set[tuple[str, int]] = set()
    invoices: set[int] = set()
    for row in prompt.sessions(nip, LATER)[:60]:
        settled = datetime.fromisoformat(row["dateUpdated"])
        for seconds in (2, 10, 40):
            at = settled - timedelta(seconds=seconds)
            rows = prompt.sessions(nip, at)
            sessions.update((r["sessionType"], r["status"]["code"]) for r in rows)
            for pending in rows:
                if pending["status"]["code"] in PENDING:
                    held = prompt.invoices(nip, pending["referenceNumber"], at)
                    invoices.update(invoice["status"]["code"] for invoice in held)
    assert invoices >= {100, 150}
    assert sessions >= {key for key in SESSION_DESCRIPTIONS if key[1] in PENDING}


@pytest.mark.parametrize("hours", [190.5, 226.2, 298.75, 370.5])
def test_counters_equal_the_rows_of_their_session_at_any_moment(
    prompt: World, hours: float
) -> None:
    at = SINCE + timedelta(hours=hours)
    for who in prompt.taxpayers:
        for row in prompt.sessions(who.context_id, at):
            reference = row["referenceNumber"]
            codes = Counter(
                invoice["status"]["code"]
                for invoice in prompt.invoices(who.context_id, reference, at)
            )
            failed = sum(count for code, count in codes.items() if code > 200)
            if row["status"]["code"] in FAILED_AS_A_WHOLE:
                assert codes.total() == 0
                assert row["totalInvoiceCount"] == row["failedInvoiceCount"]
                assert row["successfulInvoiceCount"] == 0
                continue
            assert row["totalInvoiceCount"] == codes.total()
            assert row["successfulInvoiceCount"] == codes[200]
            assert row["failedInvoiceCount"] == failed
            assert len(prompt.failed_invoices(who.context_id, reference, at)) == failed


def test_counters_and_failed_invoices_may_follow_late_but_do_follow(world: World) -> None:
    nip = world.taxpayers[0].context_id
    late_counters = late_failed = 0
    for row in world.sessions(nip, LATER - timedelta(hours=1)):
        reference = row["referenceNumber"]
        settled = datetime.fromisoformat(row["dateUpdated"]) + timedelta(seconds=1)
        then = next(r for r in world.sessions(nip, settled) if r["referenceNumber"] == reference)
        late_counters += then["successfulInvoiceCount"] < row["successfulInvoiceCount"]
        failed = len(world.failed_invoices(nip, reference, settled))
        late_failed += failed < row["failedInvoiceCount"]
        in_the_end = world.failed_invoices(nip, reference, LATER)
        if row["status"]["code"] in FAILED_AS_A_WHOLE:
            assert in_the_end == []
        elif row["status"]["code"] not in PENDING:
            assert len(in_the_end) == row["failedInvoiceCount"]
    assert late_counters
    assert late_failed


def test_a_session_succeeds_with_one_valid_invoice_and_fails_with_none(prompt: World) -> None:
    for who in prompt.taxpayers:
        for row in prompt.sessions(who.context_id, LATER):
            code = row["status"]["code"]
            if code == 200:
                assert row["successfulInvoiceCount"] > 0
            if code == 445:
                assert row["successfulInvoiceCount"] == 0
                assert row["failedInvoiceCount"] > 0
            if code in (415, 440):
                assert row["totalInvoiceCount"] == 0
            if code in (405, 420, 430, 435):
                assert row["totalInvoiceCount"] == row["failedInvoiceCount"]
                assert row["successfulInvoiceCount"] == 0


def all_invoices(world: World) -> list[tuple[str, Row]]:
    return [
        (session["referenceNumber"], invoice)
        for who in world.taxpayers
        for session in world.sessions(who.context_id, LATER)
        for invoice in world.invoices(who.context_id, session["referenceNumber"], LATER)
    ]


def test_reference_hash_and_ksef_number_identify_an_invoice(prompt: World) -> None:
    invoices = all_invoices(prompt)
    references = [invoice["referenceNumber"] for _, invoice in invoices]
    numbers = [invoice["ksefNumber"] for _, invoice in invoices if "ksefNumber" in invoice]
    assert len(set(references)) == len(references)
    assert len(set(numbers)) == len(numbers)
    assert len({(session, i["ordinalNumber"]) for session, i in invoices}) == len(invoices)


def test_every_ksef_number_has_its_check_value(prompt: World) -> None:
    assert crc8("5265877635-20250626-010080DD2B5E") == 0x26
    for _, invoice in all_invoices(prompt):
        if "ksefNumber" in invoice:
            body, _, check = str(invoice["ksefNumber"]).rpartition("-")
            assert f"{crc8(body):02X}" == check


def test_every_nip_has_its_check_digit() -> None:
    for who in World(taxpayers=40).taxpayers:
        for nip in (who.context_id, who.writer_nip):
            assert nip_check_digit(nip[:9]) == int(nip[9])


def named_original(text: str) -> tuple[str, str]:
    """Return the KSeF number and the session that a 440 names."""
    found = re.search(r"numerze KSeF: (\S+) .* w sesji: (\S+)$", text)
    assert found
    return found[1], found[2]


def test_a_duplicate_points_to_an_invoice_accepted_before_it(prompt: World) -> None:
    invoices = all_invoices(prompt)
    accepted = {
        (session, invoice["ksefNumber"]): invoice
        for session, invoice in invoices
        if "ksefNumber" in invoice
    }
    own = elsewhere = 0
    for session, invoice in invoices:
        if invoice["status"]["code"] != 440:
            continue
        number, where = named_original(invoice["status"]["details"][0])
        if "extensions" in invoice["status"]:
            assert invoice["status"]["extensions"] == {
                "originalSessionReferenceNumber": where,
                "originalKsefNumber": number,
            }
        original = accepted[where, number]
        assert original["invoiceHash"] == invoice["invoiceHash"]
        if where == session and "-SB-" in session:
            assert original["invoicingDate"] == invoice["invoicingDate"]
        else:
            assert original["invoicingDate"] < invoice["invoicingDate"]
        own += where == session
        elsewhere += where != session
    assert own
    assert elsewhere


def test_a_rejected_file_comes_back_with_another_hash_and_is_accepted(prompt: World) -> None:
    files: dict[str, list[Row]] = {}
    for _, invoice in all_invoices(prompt):
        if "invoiceFileName" in invoice and invoice["status"]["code"] != 440:
            files.setdefault(str(invoice["invoiceFileName"]), []).append(invoice)
    corrected = [pair for pair in files.values() if len(pair) > 1]
    assert corrected
    changed = 0
    for pair in corrected:
        first, second = sorted(pair, key=lambda invoice: str(invoice["invoicingDate"]))
        assert first["status"]["code"] > 200
        assert second["status"]["code"] == 200
        changed += first["invoiceHash"] != second["invoiceHash"]
    assert changed > len(corrected) / 2


def test_failed_rows_lack_what_ksef_leaves_out(prompt: World) -> None:
    for _, invoice in all_invoices(prompt):
        code = invoice["status"]["code"]
        if code != 200:
            assert not {"ksefNumber", "acquisitionDate", "permanentStorageDate"} & invoice.keys()
        if code in (440, 450):
            assert "invoiceNumber" not in invoice
            assert "invoicingMode" not in invoice


def test_file_names_belong_to_batch_sessions_only(prompt: World) -> None:
    for session, invoice in all_invoices(prompt):
        assert ("invoiceFileName" in invoice) == ("-SB-" in session)


def test_permanent_storage_is_filled_after_acceptance_and_mostly_dated_later() -> None:
    world = World(seed=3, since=SINCE, largest_session=300, lag_s=0)
    accepted = [i for _, i in all_invoices(world) if i["status"]["code"] == 200]
    stored = [i for i in accepted if "permanentStorageDate" in i]
    later = [i for i in stored if str(i["permanentStorageDate"]) > str(i["acquisitionDate"])]
    assert 0.95 < len(later) / len(stored) < 1


def test_permanent_storage_moves_date_updated_only_where_the_world_says_so() -> None:
    still, moving = (
        World(seed=3, since=SINCE, largest_session=30, storage_updates=flag)
        for flag in (False, True)
    )
    nip = still.taxpayers[0].context_id
    for one, other in zip(still.sessions(nip, LATER), moving.sessions(nip, LATER), strict=True):
        assert other["dateUpdated"] >= one["dateUpdated"]
        assert {**other, "dateUpdated": one["dateUpdated"]} == one
    assert still.sessions(nip, LATER) != moving.sessions(nip, LATER)


def test_open_sessions_are_closed_late_but_within_an_hour(prompt: World) -> None:
    overdue = [
        datetime.fromisoformat(row["dateUpdated"]) - datetime.fromisoformat(row["validUntil"])
        for row in prompt.sessions(prompt.taxpayers[0].context_id, LATER)
        if row["dateUpdated"] > row["validUntil"]
    ]
    assert overdue
    assert all(delay < timedelta(hours=8) for delay in overdue)
    assert sum(delay < timedelta(hours=1, minutes=2) for delay in overdue) > len(overdue) * 0.8


def test_people_work_in_the_day_and_rest_at_the_weekend() -> None:
    world = World(seed=2, since=SINCE, sessions_per_day=100, largest_session=10)
    rows = world.sessions(world.taxpayers[0].context_id, SINCE + timedelta(days=14))
    created = [datetime.fromisoformat(row["dateCreated"]) for row in rows]
    local = [moment.astimezone(ZoneInfo("Europe/Warsaw")) for moment in created]
    weekend = sum(moment.weekday() >= 5 for moment in local)
    office_hours = sum(7 <= moment.hour < 18 for moment in local)
    assert weekend < len(local) * 0.1
    assert office_hours > len(local) * 0.75


def test_the_largest_session_holds_ten_thousand_invoices() -> None:
    world = World(seed=4, since=SINCE, sessions_per_day=100)
    rows = world.sessions(world.taxpayers[0].context_id, SINCE + timedelta(days=5))
    counts = dict.fromkeys({row["status"]["code"] for row in rows}, 0)
    for row in rows:
        code = row["status"]["code"]
        counts[code] = max(counts[code], row["totalInvoiceCount"])
    assert counts.pop(420) == 10_001, "which is why it was refused"
    assert max(counts.values()) == counts[200] == 10_000


def test_a_world_of_many_small_sessions_is_listed_at_once() -> None:
    world = World(seed=4, since=SINCE, sessions_per_day=5_000, largest_session=20)
    at = SINCE + timedelta(days=2)
    assert len(world.sessions(world.taxpayers[0].context_id, at)) > 7_000
