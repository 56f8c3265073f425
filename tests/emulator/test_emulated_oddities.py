"""What KSeF leaves open or shows seldom: whole sessions refused, bare 440, several details."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from ksef_emulator import Oddities, World
from ksef_emulator.api.parameters import KSEF_NUMBER
from tests.emulator.logging_in import NOW, SINCE

UNREAD = {405, 420, 430, 435}


def world_with(seed: int = 7, **oddities: Any) -> World:
    return World(seed=seed, since=SINCE, largest_session=60, oddities=Oddities(**oddities))


def sessions(world: World) -> list[dict[str, Any]]:
    return [row for who in world.taxpayers for row in world.sessions(who.context_id, NOW)]


def invoices(world: World, code: int) -> list[dict[str, Any]]:
    return [
        invoice
        for who in world.taxpayers
        for row in world.sessions(who.context_id, NOW)
        for invoice in world.invoices(who.context_id, row["referenceNumber"], NOW)
        if invoice["status"]["code"] == code
    ]


def counted(world: World) -> dict[int, set[bool]]:
    """Return by status code whether sessions without a single row count invoices as failed."""
    found: dict[int, set[bool]] = {}
    for who in world.taxpayers:
        for row in world.sessions(who.context_id, NOW):
            if not world.invoices(who.context_id, row["referenceNumber"], NOW):
                assert row["totalInvoiceCount"] == row["failedInvoiceCount"]
                code = row["status"]["code"]
                found.setdefault(code, set()).add(row["failedInvoiceCount"] > 0)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_any_week_of_any_taxpayer_has_a_batch_refused_for_its_10001_invoices(seed: int) -> None:
    world = World(seed=seed, taxpayers=1, since=SINCE, sessions_per_day=3, largest_session=10)
    nip, at = world.taxpayers[0].context_id, SINCE + timedelta(days=8)
    rows = [row for row in world.sessions(nip, at) if row["status"]["code"] == 420]
    assert rows
    for row in rows:
        assert row["status"]["details"][0].endswith("'10001'.")
        assert (row["totalInvoiceCount"], row["failedInvoiceCount"]) == (10_001, 10_001)
        assert world.invoices(nip, row["referenceNumber"], at) == []
        assert world.failed_invoices(nip, row["referenceNumber"], at) == []


def test_sessions_that_failed_as_a_whole_may_count_their_invoices_or_not() -> None:
    never, mixed, always = (
        counted(world_with(counted_failures=choice)) for choice in ("never", "mixed", "always")
    )
    assert {code: never[code] for code in UNREAD} == {code: {False} for code in UNREAD}
    assert {code: always[code] for code in UNREAD} == {code: {True} for code in UNREAD}
    assert always[500] == {True}
    assert mixed[420] == {True}
    assert {flag for code in UNREAD - {420} for flag in mixed[code]} == {True, False}
    assert 500 not in never.keys() | mixed.keys(), "these list their invoices"


def test_a_batch_that_came_too_late_counts_only_where_every_failure_does() -> None:
    def late(world: World) -> set[bool]:
        return {
            row["failedInvoiceCount"] > 0
            for row in sessions(world)
            if row["status"].get("details") == ["Przekroczono czas wysyłki"]
        }

    assert late(world_with()) == {False}
    assert late(world_with(counted_failures="always")) == {True}


def test_a_session_without_a_valid_invoice_may_list_none() -> None:
    def rows_of_445(world: World) -> set[bool]:
        return {
            bool(world.invoices(who.context_id, row["referenceNumber"], NOW))
            for who in world.taxpayers
            for row in world.sessions(who.context_id, NOW)
            if row["status"]["code"] == 445
        }

    listed, unlisted = world_with(), world_with(unlisted_445=True)
    assert rows_of_445(listed) == {True}
    assert rows_of_445(unlisted) == {False}

    def counts(world: World) -> list[tuple[str, int]]:
        return [
            (row["referenceNumber"], row["failedInvoiceCount"])
            for row in sessions(world)
            if row["status"]["code"] == 445
        ]

    assert counts(listed) == counts(unlisted)
    assert all(count > 0 for _, count in counts(listed))


def test_counters_of_unlisted_invoices_appear_with_the_last_status() -> None:
    world = World(
        seed=7, since=SINCE, lag_s=0, largest_session=60, oddities=Oddities("always", True)
    )
    who = world.taxpayers[0]
    for session in world.submissions.created_between(who.context_id, None, 10**18):
        if session.draft.unlisted_count:
            before = session.row(session.draft.settled - 1)
            after = session.row(session.draft.settled)
            assert before["totalInvoiceCount"] == 0
            assert after["totalInvoiceCount"] == session.draft.unlisted_count
            assert after["dateUpdated"] >= before["dateUpdated"]
            break
    else:
        pytest.fail("no session counts what it does not list")


def test_a_duplicate_may_name_its_original_in_the_text_alone() -> None:
    shares = []
    for rate in (0, 0.3, 1):
        rows = invoices(world_with(bare_duplicate_rate=rate), 440)
        named = rf"Faktura o numerze KSeF: {KSEF_NUMBER} została już prawidłowo"
        assert all(re.search(named, row["status"]["details"][0]) for row in rows)
        shares.append(sum("extensions" not in row["status"] for row in rows) / len(rows))
    assert shares[0] == 0
    assert 0.1 < shares[1] < 0.5
    assert shares[2] == 1


def test_an_invoice_may_be_rejected_for_several_reasons_the_generic_one_first() -> None:
    plain = invoices(world_with(several_details_rate=0), 450)
    assert {len(row["status"]["details"]) for row in plain} == {1}
    rows = invoices(world_with(), 450)
    lengths = Counter(len(row["status"]["details"]) for row in rows)
    assert set(lengths) == {1, 2, 3, 4}
    assert 0.1 < 1 - lengths[1] / len(rows) < 0.4
    several = [row["status"]["details"] for row in rows if len(row["status"]["details"]) > 1]
    for details in several:
        assert len(set(details)) == len(details)
        assert "Nieprawidłowy XML" not in details[1:]
    leads = {details[0] == "Nieprawidłowy XML" for details in several}
    assert leads == {True, False}


def test_all_other_rejections_have_one_reason_at_most() -> None:
    world = world_with(several_details_rate=1)
    for code in (410, 430, 435, 440, 500, 550):
        rows = invoices(world, code)
        assert rows
        assert all(len(row["status"].get("details", [])) <= 1 for row in rows)


def test_an_oddity_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="counted_failures"):
        Oddities(counted_failures="often")  # type: ignore[arg-type]
