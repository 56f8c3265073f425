"""The marts against plain Python over the emulated world itself, for random worlds."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from loaded import NOW, loading, make_world

from ksef_emulator import VirtualClock, World
from kseflow.build import build

WARSAW = ZoneInfo("Europe/Warsaw")
OUTCOMES = {200: "accepted", 440: "duplicate", 500: "system_error", 550: "system_error"}
OUTCOMES[405] = "cancelled"
OPEN = (100, 150, 170)
REACH = timedelta(days=30)

Key = tuple[date, str, str]


def decided_invoices(world: World, at: datetime) -> Iterator[dict[str, Any]]:
    """Yield the invoices of sessions that are no longer open, as the world itself knows them."""
    for who in world.taxpayers:
        for session in world.sessions(who.context_id, at):
            if session["status"]["code"] in OPEN:
                continue
            for row in world.invoices(who.context_id, session["referenceNumber"], at):
                sent = datetime.fromisoformat(row["invoicingDate"])
                opened = datetime.fromisoformat(session["dateCreated"])
                yield row | {
                    "taxpayer": who.context_id,
                    "type": session["sessionType"],
                    "has_receipt": session["status"]["code"] == 200,
                    "opened": opened.astimezone(WARSAW).date(),
                    "sent": sent,
                    "day": sent.astimezone(WARSAW).date(),
                    "code": row["status"]["code"],
                    "outcome": OUTCOMES.get(row["status"]["code"], "rejected"),
                }


def same(one: dict[str, Any], other: dict[str, Any], field: str) -> bool:
    return one.get(field) is not None and one.get(field) == other.get(field)


def later_acceptance(bad: dict[str, Any], rows: list[dict[str, Any]]) -> str | None:
    """Find by the stated rules, trying every pair, under which KSeF number a failure got in."""
    accepted = [r for r in rows if r["taxpayer"] == bad["taxpayer"] and r["code"] == 200]
    for field in ("invoiceHash", "invoiceNumber", "invoiceFileName"):
        alike = [r for r in accepted if same(r, bad, field)]
        if field == "invoiceFileName":
            numbered = bad.get("invoiceNumber")
            if len(alike) != 1 or alike[0]["sent"] > bad["sent"] + REACH:
                continue
            if numbered and numbered != alike[0]["invoiceNumber"]:
                continue
        later = [r for r in alike if r["sent"] > bad["sent"]]
        if later:
            return str(min(later, key=lambda r: r["sent"])["ksefNumber"])
    return None


def is_retry(bad: dict[str, Any], failures: list[dict[str, Any]]) -> bool:
    earlier = [
        f
        for f in failures
        if f["taxpayer"] == bad["taxpayer"]
        and (f["sent"], f["ordinalNumber"]) < (bad["sent"], bad["ordinalNumber"])
    ]
    return any(
        same(f, bad, "invoiceHash")
        or same(f, bad, "invoiceNumber")
        or (same(f, bad, "invoiceFileName") and bad["sent"] - f["sent"] <= REACH)
        for f in earlier
    )


def key_of(row: dict[str, Any]) -> Key:
    return row["day"], row["taxpayer"], row["type"]


def rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def close(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and abs(one - other) < 1e-12)


def rows_of(database: Path, sql: str) -> list[dict[str, Any]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        answer = connection.execute(sql)
        names = [column[0] for column in answer.description]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def check_months(world: World, at: datetime, database: Path) -> None:
    """Compare the monthly reconciliation with what the world accepted and exports."""
    counts: dict[tuple[date, str], Counter[str]] = defaultdict(Counter)
    found = rows_of(database, "from marts.invoice_completeness")
    ends = {row["context_id"]: row["exported_to"] for row in found}
    rows = list(decided_invoices(world, at))
    for who in world.taxpayers:
        for session in world.sessions(who.context_id, at):
            opened = datetime.fromisoformat(session["dateCreated"]).astimezone(WARSAW).date()
            count = counts[opened.replace(day=1), who.context_id]
            count["counted"] += session["successfulInvoiceCount"]
        if who.context_id not in ends:
            continue
        end = ends[who.context_id]
        exported = world.exported(who.context_id, "Subject1", end)
        left = {row["ksefNumber"]: row for row in exported}
        for row in rows:
            if row["taxpayer"] == who.context_id and row["code"] == 200:
                count = counts[row["opened"].replace(day=1), who.context_id]
                count["known_in_sessions"] += 1
                is_exported = left.pop(row["ksefNumber"], None) is not None
                count["export" if is_exported else "pending_export"] += 1
        for row in left.values():
            accepted = datetime.fromisoformat(row["acquisitionDate"]).astimezone(WARSAW).date()
            count = counts[accepted.replace(day=1), who.context_id]
            count["export"] += 1
            count["self_invoicing" if row["isSelfInvoicing"] else "known_only_by_export"] += 1
    for row in found:
        count = counts.pop((row["month"], row["context_id"]))
        names = ("counted", "known_in_sessions", "export", "pending_export", "self_invoicing",
            "known_only_by_export", "missing_export")  # fmt: skip
        assert {n: row[f"{n}_count"] for n in names} == {n: count[n] for n in names}
    assert counts == {}


def check_days(
    days: Iterable[dict[str, Any]], rows: list[dict[str, Any]], *, with_first_pass: bool = True
) -> None:
    counts: dict[Key, Counter[str]] = defaultdict(Counter)
    failures = [r for r in rows if r["code"] != 200]
    corrected = {
        number
        for bad in failures
        if bad["code"] != 440 and (number := later_acceptance(bad, rows)) is not None
    }
    for row in rows:
        counts[key_of(row)][row["outcome"]] += 1
        if row["code"] == 200 and row["ksefNumber"] not in corrected:
            counts[key_of(row)]["first pass"] += 1
            counts[key_of(row)]["first attempt"] += 1
        if row["code"] not in (200, 440) and not is_retry(row, failures):
            counts[key_of(row)]["first attempt"] += 1
    seen = set()
    for day in days:
        key = (day["day"], day["context_id"], day["session_type"])
        seen.add(key)
        count = counts[key]
        decided = sum(count[o] for o in {*OUTCOMES.values(), "rejected"})
        assert {o: day[f"{o}_count"] for o in {*OUTCOMES.values(), "rejected"}} == {
            o: count[o] for o in {*OUTCOMES.values(), "rejected"}
        }
        assert day["decided_count"] == decided
        assert close(day["success_rate"], rate(count["accepted"], decided))
        assert close(day["failure_rate"], rate(decided - count["accepted"], decided))
        if with_first_pass:
            assert day["first_pass_count"] == count["first pass"]
            assert close(day["first_pass_rate"], rate(count["first pass"], count["first attempt"]))
        week = [counts[key[0] - timedelta(days=n), key[1], key[2]] for n in range(7)]
        accepted = sum(c["accepted"] for c in week)
        all_decided = sum(c[o] for c in week for o in {*OUTCOMES.values(), "rejected"})
        assert close(day["success_rate_7d"], rate(accepted, all_decided))
    assert {key for key, count in counts.items() if count} <= seen


@settings(
    max_examples=5,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    seed=st.integers(0, 10_000),
    days=st.integers(1, 12),
    sessions_per_day=st.integers(0, 14),
    hour=st.integers(0, 23),
)
def test_rates_equal_those_of_the_world_itself(
    seed: int, days: int, sessions_per_day: int, hour: int
) -> None:
    world = make_world(seed, days=days, sessions_per_day=sessions_per_day)
    clock = VirtualClock(NOW + timedelta(hours=hour))
    with TemporaryDirectory() as folder:
        database, analysts = Path(folder) / "load.duckdb", Path(folder) / "ksef.duckdb"
        with loading(world, clock, database, exports_per_hour=1000) as load_once:
            load_once()
        with loading(world, clock, database, is_frozen=True) as load_once:
            load_once()  # what changed while packages were waited for
        build(database, analysts)
        rows = list(decided_invoices(world, clock.now()))
        check_days(rows_of(analysts, "from marts.daily_outcomes"), rows)
        found = {
            (f["context_id"], f["invoice_reference_number"]): f
            for f in rows_of(analysts, "from marts.failed_invoices where is_settled")
        }
        failures = {(r["taxpayer"], r["referenceNumber"]): r for r in rows if r["code"] != 200}
        assert found.keys() == failures.keys()
        for key, bad in failures.items():
            number = later_acceptance(bad, rows)
            if bad["code"] == 440:
                number = bad["status"]["extensions"]["originalKsefNumber"]
            assert found[key]["resolved_ksef_number"] == number
        reasons = rows_of(analysts, "from marts.failure_reasons")
        assert sum(r["failed_count"] for r in reasons) >= len(failures)
        check_months(world, clock.now(), analysts)
        windows = rows_of(analysts, "from marts.package_windows")
        assert {w["relation"] for w in windows} <= {"first", "touching"}


@settings(
    max_examples=3,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(seed=st.integers(0, 10_000), days=st.integers(1, 12), sessions_per_day=st.integers(1, 14))
def test_failures_and_receipts_alone_give_the_rates_of_the_world_and_rows_complete_them(
    seed: int, days: int, sessions_per_day: int
) -> None:
    world = make_world(seed, days=days, sessions_per_day=sessions_per_day)
    clock = VirtualClock(NOW)
    with TemporaryDirectory() as folder:
        database = Path(folder) / "load.duckdb"
        fast = ("sessions", "failed_invoices", "upo_documents")
        with loading(world, clock, database, only=fast, is_frozen=True) as load_once:
            load_once()
        build(database)
        rows = list(decided_invoices(world, clock.now()))
        # KSeF makes no receipt for a session that failed, even if invoices of it got in.
        told = [r for r in rows if r["has_receipt"] or r["code"] != 200]
        check_days(rows_of(database, "from marts.daily_outcomes"), told, with_first_pass=False)
        accepted = rows_of(database, "from marts.invoices where outcome = 'accepted'")
        assert {r["known_from"] for r in accepted} <= {"upo"}
        assert {r["ksef_number"] for r in accepted if r["issue_date"]} == {
            r["ksefNumber"] for r in told if r["code"] == 200
        }
        for row in rows_of(database, "from marts.session_reconciliation"):
            cause = "session_open" if row["session_outcome"] == "pending" else "only_failures_read"
            assert row["likely_cause"] == cause
            assert row["session_outcome"] != "accepted"
        with loading(world, clock, database, is_frozen=True) as load_once:
            load_once()
        build(database)
        rows = list(decided_invoices(world, clock.now()))
        check_days(rows_of(database, "from marts.daily_outcomes"), rows)
        lacking = rows_of(database, "from marts.invoices where known_from = 'upo'")
        assert lacking == []
