"""The worklist: which sessions lack something, when to ask again, and in which order."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from kseflow.context import Context
from kseflow.loading.lacking import STORED
from kseflow.loading.worklist import Worklist
from kseflow.raw.tables import INVOICE_READS, SESSIONS

Row = dict[str, Any]

NIP = Context("Nip", "5265877635")
NOON = datetime(2026, 11, 17, 12, tzinfo=UTC)


def session(
    reference: str = "S1",
    *,
    code: int = 200,
    total: int = 0,
    accepted: int = 0,
    failed: int = 0,
    updated: datetime = NOON,
) -> Row:
    return {
        "context_type": "Nip",
        "context_id": NIP.id,
        "session_type": "Batch",
        "reference_number": reference,
        "status_code": code,
        "date_created": updated,
        "date_updated": updated,
        "total_invoice_count": total,
        "successful_invoice_count": accepted,
        "failed_invoice_count": failed,
        "read_at": updated,
    }


def stored(
    reference: str = "S1",
    *,
    accepted: int = 0,
    failed: int = 0,
    unsettled: int = 0,
    pending: int = 0,
    at: datetime = NOON,
) -> Row:
    return {
        "context_type": "Nip",
        "context_id": NIP.id,
        "session_reference_number": reference,
        "stored_count": accepted + failed + pending,
        "stored_accepted_count": accepted,
        "stored_failed_count": failed,
        "unsettled_count": unsettled,
        "stored_at": at,
    }


def read(
    reference: str = "S1", *, at: datetime = NOON, updated: datetime = NOON, rows: int = 1
) -> Row:
    return {
        "context_type": "Nip",
        "context_id": NIP.id,
        "session_reference_number": reference,
        "endpoint": "invoices",
        "session_date_updated": updated,
        "row_count": rows,
        "read_at": at,
    }


def worklist(
    sessions: Sequence[Row],
    rows: Sequence[Row] = (),
    reads: Sequence[Row] = (),
) -> Worklist:
    return Worklist(
        SESSIONS.arrow(sessions),
        pa.Table.from_pylist(list(rows), STORED),
        INVOICE_READS.arrow(reads),
    )


def due(
    made: Worklist, now: datetime = NOON + timedelta(minutes=1), **options: Any
) -> list[tuple[str, str]]:
    work = made.agenda(NIP, now, **options).invoices
    return [(w.session_reference_number, w.endpoint) for w in work]


def test_a_session_without_invoices_costs_nothing() -> None:
    assert due(worklist([session(code=440)])) == []


def test_a_session_whose_rows_add_up_is_done() -> None:
    complete = worklist([session(total=3, accepted=2, failed=1)], [stored(accepted=2, failed=1)])
    assert due(complete) == []
    assert complete.lacking().num_rows == 0


def test_a_closed_session_with_too_few_rows_is_read() -> None:
    assert due(worklist([session(total=3, accepted=3)], [stored(accepted=2)])) == [
        ("S1", "invoices")
    ]


@pytest.mark.parametrize("code", [100, 150, 170])
def test_of_an_open_session_only_failures_are_read_unless_all_is_asked_for(code: int) -> None:
    accepted_only = worklist([session(code=code, total=3, accepted=3)])
    assert due(accepted_only) == []
    assert due(accepted_only, in_progress="all") == [("S1", "invoices")]
    assert due(worklist([session(code=code, total=3, failed=1)])) == [("S1", "failed")]


def test_outcomes_that_differ_are_read_even_when_the_number_of_rows_is_right() -> None:
    moved_on = session(total=2, accepted=2)
    assert due(worklist([moved_on], [stored(accepted=1, pending=1, unsettled=1)])) == [
        ("S1", "invoices")
    ]


def test_failures_come_first_then_the_oldest_change() -> None:
    made = worklist(
        [
            session("NEW", total=2, accepted=2, updated=NOON),
            session("OLD", total=2, accepted=2, updated=NOON - timedelta(days=9)),
            session("BAD", total=2, accepted=1, failed=1, updated=NOON),
        ]
    )
    assert [name for name, _ in due(made)] == ["BAD", "OLD", "NEW"]


def test_failures_of_a_large_session_are_read_by_themselves_only_when_the_budget_is_short() -> None:
    made = worklist([session(total=10_000, accepted=9_990, failed=10)])
    assert due(made, budget=200) == [("S1", "invoices")]
    assert due(made, budget=5, detail="invoices") == [("S1", "failed"), ("S1", "invoices")]


def test_when_only_failures_are_wanted_nothing_else_is_read() -> None:
    made = worklist([session("A", total=5, accepted=5), session("B", total=5, failed=5)])
    assert due(made, tables={"failed_invoices"}) == [("B", "failed")]


def test_an_unsettled_session_is_asked_again_when_the_age_of_the_information_has_doubled() -> None:
    waiting = worklist(
        [session(total=1, accepted=1)],
        [stored(accepted=1, unsettled=1, at=NOON + timedelta(hours=1))],
        [read(at=NOON + timedelta(hours=1))],
    )
    assert due(waiting, NOON + timedelta(hours=1, minutes=59)) == []
    assert due(waiting, NOON + timedelta(hours=2)) == [("S1", "invoices")]


def test_an_unsettled_session_is_left_alone_after_seven_days_but_stays_on_the_list() -> None:
    read_at = NOON + timedelta(days=7, seconds=1)
    given_up = worklist(
        [session(total=1, accepted=1)],
        [stored(accepted=1, unsettled=1, at=read_at)],
        [read(at=read_at)],
    )
    assert due(given_up, NOON + timedelta(days=400)) == []
    assert given_up.lacking().num_rows == 1


def test_missing_rows_are_never_given_up() -> None:
    read_at = NOON + timedelta(days=7, seconds=1)
    made = worklist([session(total=1, accepted=1)], [], [read(at=read_at, rows=0)])
    assert due(made, NOON + timedelta(days=14)) == []
    assert due(made, NOON + timedelta(days=15)) == [("S1", "invoices")]


def test_a_session_that_changed_since_it_was_read_is_due_at_once() -> None:
    changed = worklist(
        [session(code=100, total=3, failed=1, updated=NOON + timedelta(hours=9))],
        [],
        [read(at=NOON + timedelta(hours=8, minutes=59), rows=0)],
    )
    assert due(changed, NOON + timedelta(hours=9, seconds=1)) == [("S1", "failed")]


def test_a_reading_whose_rows_never_reached_the_warehouse_is_repeated_at_once() -> None:
    """A load killed between two tables leaves the reading without its rows."""
    lost = worklist(
        [session(total=5, accepted=5)], [], [read(at=NOON + timedelta(days=30), rows=5)]
    )
    assert due(lost, NOON + timedelta(days=30, seconds=1)) == [("S1", "invoices")]


def test_more_rows_than_ksef_counts_are_no_work() -> None:
    late_counters = worklist([session(total=1, accepted=1)], [stored(accepted=2)])
    assert due(late_counters) == []


def test_one_taxpayers_sessions_are_not_read_for_another() -> None:
    made = worklist([session(total=1, accepted=1)])
    assert not made.agenda(Context("Nip", "1111111111"), NOON).invoices


def test_the_oldest_open_session_widens_the_window_only_within_its_reach() -> None:
    made = worklist(
        [
            session("STUCK", code=100, updated=NOON - timedelta(days=30)),
            session("OPEN", code=150, updated=NOON - timedelta(hours=20)),
            session("DONE", code=200, updated=NOON - timedelta(hours=30)),
        ]
    )
    assert made.oldest_open(NIP, "Batch", NOON) == NOON - timedelta(hours=20)
    assert made.oldest_open(NIP, "Online", NOON) is None


def test_listing_a_session_again_replaces_it_and_counts_only_changes() -> None:
    made = worklist([session(total=1)])
    known = made.known(NIP, "Batch", NOON - timedelta(days=99))
    assert made.note_listed(NIP, SESSIONS.arrow([session(total=1)]), known) == 0
    changed = SESSIONS.arrow([session(total=2, failed=1), session("S2")])
    assert made.note_listed(NIP, changed, known) == 2
    assert made.note_listed(NIP, changed, known) == 0
    assert due(made) == [("S1", "invoices")]
