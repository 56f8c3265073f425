"""The worklist: which sessions lack something, when to ask again, and in which order."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kseflow.constants import SWEEPS
from kseflow.context import Context
from kseflow.loading.cursor import cursor_text
from kseflow.loading.warehouse import Warehouse
from kseflow.loading.worklist import Worklist
from kseflow.raw.tables import (
    FAILED_INVOICES,
    INVOICE_READS,
    SESSION_INVOICES,
    SESSIONS,
    UPO_DOCUMENTS,
    UPO_READS,
)

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


def raw_invoices(counts: Row) -> list[Row]:
    """Return invoices that add up to what is stored of a session; failed ones last."""
    who = {name: counts[name] for name in ("context_type", "context_id")}
    failed = counts["stored_failed_count"]
    pending = counts["stored_count"] - counts["stored_accepted_count"] - failed
    without_date = counts["unsettled_count"] - pending
    codes = [*[150] * pending, *[200] * counts["stored_accepted_count"], *[450] * failed]
    return [
        who
        | {
            "session_reference_number": counts["session_reference_number"],
            "reference_number": f"I{number}",
            "ordinal_number": number,
            "status_code": code,
            "permanent_storage_date": None if number < pending + without_date else NOON,
            "read_at": counts["stored_at"],
        }
        for number, code in enumerate(codes)
    ]


def warehouse(
    sessions: Sequence[Row], rows: Sequence[Row] = (), reads: Sequence[Row] = ()
) -> Warehouse:
    """Make a warehouse that holds these sessions, invoices that add up to `rows`, and readings."""
    invoices = [invoice for counts in rows for invoice in raw_invoices(counts)]
    failed = [invoice for invoice in invoices if invoice["status_code"] > 200]
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    for table, made in (
        (SESSIONS, sessions),
        (SESSION_INVOICES, invoices),
        (FAILED_INVOICES, failed),
        (INVOICE_READS, reads),
        (UPO_DOCUMENTS, ()),
        (UPO_READS, ()),
    ):
        connection.register("made", table.arrow(made))
        connection.execute(f"create table {table.name} as from made")

    def run(sql: str) -> Any:
        answer = connection.execute(sql)
        return [column[0] for column in answer.description], answer.fetchall()

    return Warehouse(run, str)


def worklist(
    sessions: Sequence[Row], rows: Sequence[Row] = (), reads: Sequence[Row] = ()
) -> Worklist:
    return warehouse(sessions, rows, reads).worklist()


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


# -- what leaves the warehouse ------------------------------------------------------------------

EVERY = tuple(
    session(f"S{number}", code=code, total=total, accepted=accepted, failed=failed, updated=at)
    for number, (code, total, accepted, failed, at) in enumerate(
        product((100, 200, 440), (0, 3), (0, 2, 3), (0, 1), (NOON, NOON - timedelta(days=40)))
    )
)


def cursor(listed_to: datetime, swept_at: datetime = NOON) -> dict[str, Any]:
    return {
        "cursor": cursor_text(listed_to),
        "reaches_back_to": "2025-09-01T00:00:00+00:00",
        "swept": {str(reach): cursor_text(swept_at) for reach, _ in SWEEPS},
    }


def followed(holds: Warehouse, **cursors: dict[str, Any]) -> Worklist:
    keys = {f"Nip:{NIP.id}:{name}": each for name, each in cursors.items()}
    return holds.worklist(lists=holds.lists([NIP], keys, None, NOON))


def names(made: Worklist) -> set[str]:
    return set(made.known(NIP, "Batch", NOON - timedelta(days=999)))


def test_what_lacks_nothing_and_is_not_listed_again_stays_in_the_warehouse() -> None:
    old, older = NOON - timedelta(hours=5), NOON - timedelta(days=9)
    holds = warehouse(
        [
            session("WHOLE", total=1, accepted=1, updated=old),
            session("OPEN", code=100, updated=NOON - timedelta(days=3)),
            session("LACKS", total=2, accepted=2, updated=older),
            session("UNSETTLED", total=1, accepted=1, updated=older),
            session("NEW", total=1, accepted=1, updated=NOON - timedelta(hours=1)),
        ],
        [
            stored("WHOLE", accepted=1),
            stored("LACKS", accepted=1),
            stored("UNSETTLED", accepted=1, unsettled=1),
            stored("NEW", accepted=1),
        ],
    )
    assert names(followed(holds, Batch=cursor(NOON))) == {"OPEN", "LACKS", "UNSETTLED", "NEW"}
    assert names(followed(holds)) >= {"WHOLE"}  # without a cursor all are listed again
    swept_long_ago = cursor(NOON, swept_at=NOON - timedelta(days=9))
    assert names(followed(holds, Batch=swept_long_ago)) >= {"WHOLE"}
    left_off = {"listing": {"modified_from": cursor_text(NOON - timedelta(days=1))}}
    assert names(followed(holds, Batch=cursor(NOON) | left_off)) >= {"WHOLE"}


def test_what_others_lack_is_not_followed() -> None:
    other = session("OTHER", total=1, accepted=1) | {"context_id": "1111111111"}
    holds = warehouse([session(total=1, accepted=1), other])
    assert followed(holds, Batch=cursor(NOON)).lacking()["reference_number"].to_pylist() == ["S1"]
    assert holds.worklist().lacking().num_rows == 2
    assert holds.worklist(lists=holds.lists([], {}, None, NOON)).lacking().num_rows == 0


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.sampled_from(EVERY), unique_by=lambda row: str(row["reference_number"])),
    st.data(),
)
def test_whatever_is_listed_again_what_is_followed_lacks_the_same_as_all_would(
    sessions: list[Row], data: st.DataObject
) -> None:
    rows = [
        stored(str(row["reference_number"]), accepted=accepted, failed=failed, unsettled=unsettled)
        for row in sessions
        for accepted, failed, unsettled in [
            data.draw(st.sampled_from([(3, 0, 0), (3, 0, 1), (2, 1, 0), (1, 0, 0)]))
        ]
    ]
    reads = [read(str(row["reference_number"]), updated=row["date_updated"]) for row in sessions]
    holds = warehouse(sessions, rows, data.draw(st.sampled_from([reads, []])))
    some, every = followed(holds, Batch=cursor(NOON - timedelta(days=1))), followed(holds)
    listed = [
        row | {"failed_invoice_count": data.draw(st.sampled_from([0, 1, 3]))}
        for row in sessions
        if row["date_updated"] == NOON
    ]
    for made in (some, every):
        known = made.known(NIP, "Batch", NOON - timedelta(hours=1))
        made.note_listed(NIP, SESSIONS.arrow(listed), known)
    for wanted in ("failed", "all"):
        found = [made.lacking(in_progress=wanted).to_pylist() for made in (some, every)]
        assert found[0] == found[1]


def test_a_whole_session_that_changed_after_all_is_looked_up_by_the_next_load() -> None:
    """What is stored of it did not travel: to ask KSeF for all of it would be a waste."""
    created = NOON - timedelta(days=40)
    whole = session(total=2, accepted=2, updated=created)
    again = whole | {"date_updated": NOON, "total_invoice_count": 3, "failed_invoice_count": 1}
    counts = stored(accepted=2, at=created)
    made = followed(warehouse([whole], [counts]), Batch=cursor(NOON))
    known = made.known(NIP, "Batch", NOON - timedelta(hours=2))
    assert made.note_listed(NIP, SESSIONS.arrow([again]), known) == 1
    assert due(made) == []
    assert due(followed(warehouse([again], [counts]), Batch=cursor(NOON))) == [("S1", "invoices")]
    older_still = session("S0", total=1, failed=1, updated=created - timedelta(days=1))
    assert made.note_listed(NIP, SESSIONS.arrow([older_still]), known) == 1
    assert due(made) == [("S0", "invoices")]


def test_a_table_or_column_that_an_older_version_did_not_load_is_empty() -> None:
    connection = duckdb.connect()
    connection.register("made", SESSIONS.arrow([session(total=1, accepted=1)]))
    connection.execute("create table sessions as from made")
    connection.register("made", INVOICE_READS.arrow([read(rows=0)]))
    connection.execute("create table invoice_reads as select * exclude (error) from made")

    def run(sql: str) -> Any:
        try:
            answer = connection.execute(sql)
        except duckdb.CatalogException:
            return None
        return [column[0] for column in answer.description], answer.fetchall()

    for lists in (None, Warehouse(run, str).lists([NIP], {}, None, NOON)):
        assert due(Warehouse(run, str).worklist(lists=lists, receipts=True)) == [("S1", "invoices")]
