"""Rates come from complete information at every moment of any load, however it was cut short."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ksef_emulator import VirtualClock
from kseflow.marts.build import build

OPEN = (100, 150, 170)
KINDS = ("rejected", "duplicate", "system_error", "cancelled", "session_failed")
TABLES = ("sessions", "failed_invoices", "session_invoices", "upo_documents")

SLOW = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

steps = st.fixed_dictionaries(
    {
        "minutes": st.sampled_from([0.2, 1, 5, 61, 240]),
        "tables": st.lists(st.sampled_from(TABLES), unique=True).map(
            lambda tables: ("sessions", *(t for t in tables if t != "sessions")) if tables else ()
        ),
        "detail": st.sampled_from(["auto", "invoices"]),
        "in_progress": st.sampled_from(["failed", "all"]),
        "later": st.sampled_from([0, 0.1, 7]),
    }
)


def counters(stage: Any) -> dict[tuple[str, str], tuple[int, int]]:
    """Add up KSeF's own counters of the closed sessions, as they were last listed."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for row in stage.rows("from ksef_raw.sessions"):
        key = (row["context_id"], row["session_type"])
        accepted, failed = sums.get(key, (0, 0))
        if row["status_code"] not in OPEN:
            accepted += row["successful_invoice_count"]
            failed += row["failed_invoice_count"]
        sums[key] = accepted, failed
    return sums


def check_sums(stage: Any) -> list[dict[str, Any]]:
    days = stage.rows("from marts.daily_outcomes")
    expected = counters(stage)
    for key, sums in expected.items():
        own = [day for day in days if (day["context_id"], day["session_type"]) == key]
        assert (
            sum(day["accepted_count"] for day in own),
            sum(day["failed_count"] for day in own),
        ) == sums
    assert {(day["context_id"], day["session_type"]) for day in days} <= expected.keys()
    reasons = stage.rows("from marts.failure_reasons")
    uncounted = sum(day["uncounted_failed_count"] for day in days)
    failed = sum(failed for _, failed in expected.values())
    assert sum(reason["failed_count"] for reason in reasons) == failed + uncounted
    return days  # type: ignore[no-any-return]


def check_bounds(stage: Any, days: list[dict[str, Any]]) -> None:
    """What is not known yet is bounded: compare with the rows that the world has by now."""
    now = stage.clock.now()
    for who in stage.world.taxpayers:
        truth = Counter[int]()
        for session in stage.world.sessions(who.context_id, now):
            if session["status"]["code"] in OPEN:
                continue
            rows = stage.world.invoices(who.context_id, session["referenceNumber"], now)
            truth.update(row["status"]["code"] for row in rows)
        own = [day for day in days if day["context_id"] == who.context_id]
        unknown = sum(day["unclassified_failed_count"] for day in own)
        for kind, codes in {
            "rejected": (410, 415, 430, 435, 450),
            "duplicate": (440,),
            "system_error": (500, 550),
            "cancelled": (405,),
        }.items():
            known = sum(day[f"{kind}_count"] for day in own)
            assert known <= sum(truth[code] for code in codes) <= known + unknown, kind


@settings(SLOW, max_examples=3)
@given(
    seed=st.integers(0, 10_000),
    days=st.integers(1, 9),
    sessions_per_day=st.integers(2, 16),
    loads=st.lists(steps, min_size=1, max_size=3),
)
def test_days_add_up_to_the_counters_of_ksef_whatever_was_read_by_then(
    stage: Callable[..., Any],
    seed: int,
    days: int,
    sessions_per_day: int,
    loads: list[dict[str, Any]],
) -> None:
    with TemporaryDirectory() as folder:
        made = stage(
            seed=seed, days=days, sessions_per_day=sessions_per_day, limits="production", lag_s=0
        )
        made.database = Path(folder) / "load.duckdb"
        for step in loads:
            made.clock.sleep(step["later"] * 3600)
            made.load(
                max_time_s=step["minutes"] * 60,
                only=step["tables"],
                detail=step["detail"],
                in_progress=step["in_progress"],
            )
        build(made.database)
        check_sums(made)


@settings(SLOW, max_examples=2)
@given(
    seed=st.integers(0, 10_000),
    tables=st.sampled_from(
        [
            ("sessions",),
            ("sessions", "failed_invoices"),
            ("sessions", "upo_documents"),
            ("sessions", "failed_invoices", "upo_documents"),
        ]
    ),
)
def test_what_is_not_known_yet_is_bounded_and_known_once_all_rows_are_here(
    stage: Callable[..., Any], seed: int, tables: tuple[str, ...]
) -> None:
    with TemporaryDirectory() as folder:
        made = stage(seed=seed, days=4, sessions_per_day=8, lag_s=0)
        made.database = Path(folder) / "load.duckdb"
        for only in (tables, ()):
            made.load(client_clock=VirtualClock(made.clock.now()), only=only)
            build(made.database)
            days = check_sums(made)
            check_bounds(made, days)
        assert sum(day["unclassified_failed_count"] for day in days) == 0
        assert sum(day["unread_count"] for day in days if day["day"] < made.clock.now().date()) == 0
