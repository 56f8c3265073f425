"""Two budgets: what /invoices has no room for, receipts tell first, and rows come later."""

from collections.abc import Callable

import pytest

from ksef_emulator import Backlog
from tests.conftest import Stage


def tight(per_hour: int) -> dict[str, dict[str, int]]:
    return {"sessionInvoiceList": {"perSecond": -1, "perMinute": -1, "perHour": per_hour}}


TIGHT = tight(20)


def truth(made: Stage) -> list[tuple[str, str, str]]:
    """Return outcome by (session, invoice hash, KSeF number) of sessions with a last status."""
    now = made.clock.now()
    return sorted(
        (session["referenceNumber"], item["invoiceHash"], item.get("ksefNumber") or "")
        for context in made.contexts
        for session in made.world.sessions(context.id, now)
        if session["status"]["code"] not in (100, 150, 170)
        for item in made.world.invoices(context.id, session["referenceNumber"], now)
    )


def known(made: Stage) -> list[tuple[str, str, str]]:
    """Return the same of the warehouse: rows of /invoices and /failed, and receipts."""
    rows = made.rows(
        """
        select session_reference_number as session, invoice_hash, ksef_number
        from ksef_raw.session_invoices
        where session_reference_number in (
            select reference_number from ksef_raw.sessions
            where status_code not in (100, 150, 170)
        )
        union all
        select session_reference_number, invoice_hash, ksef_number
        from ksef_raw.upo_documents
        anti join (from ksef_raw.session_invoices where ksef_number is not null)
            using (context_id, session_reference_number, ksef_number)
        """
    )
    return sorted((r["session"], r["invoice_hash"], r["ksef_number"] or "") for r in rows)


def spent(made: Stage, group: str = "sessionInvoiceList") -> int:
    return sum(request.group == group for request in made.app.requests)


@pytest.mark.parametrize("seed", [3, 4])
def test_a_backlog_over_the_hours_budget_has_its_outcomes_known_within_one_load(
    stage: Callable[..., Stage], seed: int
) -> None:
    made = stage(seed=seed, taxpayers=1, days=10, limits=tight(55), sessions_per_day=10)
    made.load(max_time_s=30 * 60)
    assert spent(made) <= 55
    assert known(made) == truth(made)
    assert made.value("select count(*) from ksef_raw.upo_documents") > 0
    (status,) = made.status()
    assert not status.is_complete


def test_rows_are_completed_by_later_loads_and_a_reserve_is_left_for_new_failures(
    stage: Callable[..., Stage],
) -> None:
    made = stage(taxpayers=1, days=10, limits=TIGHT, sessions_per_day=10, counted_failures="never")
    made.load(max_time_s=30 * 60)
    missing = [made.status()[0].worklist_missing_count]
    for _ in range(30):
        made.clock.sleep(3600)
        made.load(max_time_s=30 * 60)
        missing.append(made.status()[0].worklist_missing_count)
        if made.status()[0].worklist_missing_count == 0:
            break
    assert missing[0] > 0
    assert missing[-1] == 0
    assert known(made) == truth(made)
    stored = {row["ksef_number"] for row in made.rows("from ksef_raw.session_invoices")}
    assert {row["ksef_number"] for row in made.rows("from ksef_raw.upo_documents")} <= stored


def test_completing_rows_leaves_a_quarter_of_the_hours_budget(stage: Callable[..., Stage]) -> None:
    backlog = Backlog("Online", 60, 3, 0.0, 1.0)
    made = stage(taxpayers=1, days=3, limits=TIGHT, world_options={"backlog": backlog})
    made.load(only=["sessions", "upo_documents"])
    made.clock.sleep(3600)
    made.load(max_time_s=30 * 60)
    assert spent(made) == 15


def test_detail_invoices_reads_no_receipts(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=1, days=10, limits=TIGHT, sessions_per_day=10)
    summary = made.load(max_time_s=30 * 60, detail="invoices")
    assert "sessionMisc" not in summary.request_counts
    assert made.value("select count(*) from ksef_raw.upo_documents") == 0
    assert known(made) != truth(made)


def test_what_fits_the_budget_is_read_whole_and_receipts_cost_nothing(
    stage: Callable[..., Stage],
) -> None:
    made = stage(taxpayers=1, days=1, limits="production")
    summary = made.load()
    assert "sessionMisc" not in summary.request_counts
    assert known(made) == truth(made)


def test_a_receipt_that_is_late_leaves_the_session_to_invoices(stage: Callable[..., Stage]) -> None:
    made = stage(
        taxpayers=1,
        days=4,
        limits=TIGHT,
        sessions_per_day=10,
        quirks={"upo_delay_s": 1e9},
    )
    for _ in range(4):
        made.load(max_time_s=30 * 60)
        made.clock.sleep(3600)
    made.limits = "off"
    made.load()
    assert known(made) == truth(made)


def test_large_sessions_have_their_receipts_read_before_small_ones(
    stage: Callable[..., Stage],
) -> None:
    made = stage(taxpayers=1, days=10, limits=TIGHT, sessions_per_day=10)
    made.load(max_time_s=30 * 60)
    sizes = {
        row["session_reference_number"]: row["row_count"]
        for row in made.rows("from ksef_raw.upo_reads")
    }
    asked = [request.path for request in made.app.requests if request.group == "sessionMisc"]
    order = [sizes[path.rpartition("/")[2]] for path in asked]
    assert order == sorted(order, reverse=True)
    assert len(order) > 10
