"""The marts against plain Python over the emulated world itself, for random worlds."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from ksef_emulator import VirtualClock, World
from kseflow.marts.build import build
from tests.sql.loaded import NOW, loading, make_world

WARSAW = ZoneInfo("Europe/Warsaw")
OUTCOMES = {200: "accepted", 440: "duplicate", 500: "system_error", 550: "system_error"}
OUTCOMES[405] = "cancelled"
OPEN = (100, 150, 170)
REACH = timedelta(days=30)

NUMBER_REACH = timedelta(days=90)
REFUSED_SELLER = re.compile(r"NIP: (\d{10})")
KSEF_NUMBER = re.compile(r"\d{10}-\d{8}-[0-9A-F]{12}-[0-9A-F]{2}")

Key = tuple[date, str, str]


def decided_invoices(world: World, at: datetime) -> Iterator[dict[str, Any]]:
    """Yield the invoices of sessions that are no longer open, as the world itself knows them.

    Of invoices that KSeF counts and never lists there is no more than the day of their session.
    """
    for who in world.taxpayers:
        for session in world.sessions(who.context_id, at):
            if session["status"]["code"] in OPEN:
                continue
            opened = datetime.fromisoformat(session["dateCreated"]).astimezone(WARSAW).date()
            rows = world.invoices(who.context_id, session["referenceNumber"], at)
            about = {
                "taxpayer": who.context_id,
                "type": session["sessionType"],
                "session": session["referenceNumber"],
                "has_receipt": session["status"]["code"] == 200,
                "has_accepted": session["successfulInvoiceCount"] > 0,
                "opened": opened,
            }
            for _ in range(session["totalInvoiceCount"] - len(rows)):
                yield about | {"code": None, "outcome": "session_failed", "day": opened}
            for row in rows:
                sent = datetime.fromisoformat(row["invoicingDate"])
                code = row["status"]["code"]
                yield (
                    row
                    | about
                    | {
                        "sent": sent,
                        "day": sent.astimezone(WARSAW).date(),
                        "code": code,
                        "outcome": OUTCOMES.get(code, "rejected"),
                    }
                )


def same(one: dict[str, Any], other: dict[str, Any], field: str, theirs: str = "") -> bool:
    return one.get(field) is not None and one.get(field) == other.get(theirs or field)


def as_file_name(text: str | None) -> str | None:
    return text and re.sub(r"[^0-9a-ząćęłńóśźż]+", "_", text.lower()).strip("_")


class Accepted:
    """What is accepted by any source, with the file that it corrects technically."""

    def __init__(self, world: World, rows: list[dict[str, Any]], exported_at: datetime) -> None:
        accepted = {r["ksefNumber"]: dict(r) for r in rows if r["code"] == 200}
        for who in world.taxpayers:
            for row in world.exported(who.context_id, "Subject1", exported_at):
                sent = datetime.fromisoformat(row["invoicingDate"])
                known = accepted.setdefault(
                    row["ksefNumber"], row | {"taxpayer": who.context_id, "sent": sent}
                )
                known["corrects"] = row.get("hashOfCorrectedInvoice")
        self._by: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
        for row in accepted.values():
            row["asFileName"] = as_file_name(row["invoiceNumber"])
            for field in (
                "corrects", "invoiceHash", "invoiceNumber", "asFileName", "invoiceFileName",
            ):  # fmt: skip
                if row.get(field):
                    self._by[row["taxpayer"], field, row[field]].append(row)

    def alike(self, bad: dict[str, Any], field: str, value: str | None) -> list[dict[str, Any]]:
        return self._by[bad["taxpayer"], field, value] if value else []


def resolution(bad: dict[str, Any], accepted: Accepted) -> dict[str, Any] | None:
    """Find by the stated rules as what a failed invoice's content got in."""
    name, numbered = bad.get("invoiceFileName"), bad.get("invoiceNumber")
    refused = REFUSED_SELLER.search(json.dumps(bad["status"]))
    seller = refused[1] if refused else bad["taxpayer"]

    def near(a: dict[str, Any]) -> bool:
        """Whether it is of the same seller, and sent within the reach of a number."""
        is_of_seller = a["ksefNumber"].startswith(seller)
        return bool(is_of_seller and abs(a["sent"] - bad["sent"]) <= NUMBER_REACH)

    def fits(a: dict[str, Any]) -> bool:
        return not numbered or numbered == a["invoiceNumber"]

    corrections = accepted.alike(bad, "corrects", bad["invoiceHash"])
    if found := [a for a in corrections if a["ksefNumber"].startswith(seller)]:
        return nearest(bad, found)
    if bad["code"] == 440:
        number = KSEF_NUMBER.search(json.dumps(bad["status"]))
        return {"ksefNumber": number[0], "sent": bad["sent"]} if number else None
    if found := accepted.alike(bad, "invoiceHash", bad["invoiceHash"]):
        return nearest(bad, found)
    if found := [a for a in accepted.alike(bad, "invoiceNumber", numbered) if near(a)]:
        return nearest(bad, found)
    alike = accepted.alike(bad, "asFileName", as_file_name(name and name.removesuffix(".xml")))
    if len(alike) == 1 and near(alike[0]) and fits(alike[0]):
        return alike[0]
    alike = accepted.alike(bad, "invoiceFileName", name)
    is_later = len(alike) == 1 and bad["sent"] < alike[0]["sent"] <= bad["sent"] + REACH
    return alike[0] if is_later and fits(alike[0]) else None


def nearest(bad: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, Any]:
    return min(
        found,
        key=lambda a: (a["sent"] <= bad["sent"], abs(a["sent"] - bad["sent"]), a["ksefNumber"]),
    )


def is_retry(bad: dict[str, Any], failures: list[dict[str, Any]]) -> bool:
    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["sent"], row["session"], row["ordinalNumber"]

    earlier = [f for f in failures if f["taxpayer"] == bad["taxpayer"] and order(f) < order(bad)]
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


def exported_to(database: Path) -> datetime:
    """Return up to when every taxpayer's exports reach."""
    ends = rows_of(database, "select exported_to from marts.invoice_completeness")
    return min((row["exported_to"] for row in ends if row["exported_to"]), default=NOW)


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


KINDS = ("accepted", "rejected", "duplicate", "system_error", "cancelled", "session_failed")


def check_days(
    days: Iterable[dict[str, Any]],
    rows: list[dict[str, Any]],
    accepted: Accepted,
    *,
    by_counters: Callable[[dict[str, Any]], bool] = lambda row: row["code"] is None,
) -> None:
    """Compare each day; what `by_counters` names counts on the day of its session."""
    counts: dict[Key, Counter[str]] = defaultdict(Counter)
    rows = [row | {"day": row["opened"]} if by_counters(row) else row for row in rows]
    failures = [r for r in rows if r["code"] not in (200, None)]
    resolved = {r["referenceNumber"]: resolution(r, accepted) for r in failures}
    later = {
        bad["referenceNumber"]: got
        for bad in failures
        if bad["code"] != 440 and (got := resolved[bad["referenceNumber"]])
    }
    sent = {bad["referenceNumber"]: bad["sent"] for bad in failures}
    corrected = {got["ksefNumber"] for name, got in later.items() if got["sent"] > sent[name]}
    not_later = {name for name, got in later.items() if got["sent"] <= sent[name]}
    for row in rows:
        counts[key_of(row)][row["outcome"]] += 1
        if by_counters(row):
            counts[key_of(row)]["by counters"] += 1
            continue
        if row["code"] == 200 and row["ksefNumber"] not in corrected:
            counts[key_of(row)]["first pass"] += 1
            counts[key_of(row)]["first attempt"] += 1
        if (
            row["code"] not in (200, 440)
            and row["referenceNumber"] not in not_later
            and not is_retry(row, failures)
        ):
            counts[key_of(row)]["first attempt"] += 1
    seen = set()
    for day in days:
        key = (day["day"], day["context_id"], day["session_type"])
        seen.add(key)
        count = counts[key]
        decided = sum(count[o] for o in KINDS)
        assert {o: day[f"{o}_count"] for o in KINDS} == {o: count[o] for o in KINDS}
        assert day["decided_count"] == decided
        assert day["from_counters_count"] == count["by counters"]
        assert close(day["success_rate"], rate(count["accepted"], decided))
        assert close(day["failure_rate"], rate(decided - count["accepted"], decided))
        if day["first_pass_unknown_count"] == 0:
            assert day["first_pass_count"] == count["first pass"]
            assert day["first_attempt_count"] == count["first attempt"]
            assert close(day["first_pass_rate"], rate(count["first pass"], count["first attempt"]))
        else:
            assert day["first_pass_rate"] is None
            # Those unread, and first attempts that may follow something unread.
            most = count["by counters"] + day["first_attempt_count"]
            assert day["first_pass_unknown_count"] <= most
            lowest = day["first_pass_count"] - day["doubtful_pass_count"]
            assert lowest <= count["first pass"] <= day["first_pass_count"]
        week = [counts[key[0] - timedelta(days=n), key[1], key[2]] for n in range(7)]
        accepted_7d = sum(c["accepted"] for c in week)
        all_decided = sum(c[o] for c in week for o in KINDS)
        assert close(day["success_rate_7d"], rate(accepted_7d, all_decided))
    assert {key for key, count in counts.items() if count} <= seen


@settings(
    max_examples=5,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # shrinking takes minutes and explains no more
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
        accepted = Accepted(world, rows, exported_to(analysts))
        outcomes = rows_of(analysts, "from marts.daily_outcomes")
        check_days(outcomes, rows, accepted)
        found = {
            (f["context_id"], f["invoice_reference_number"]): f
            for f in rows_of(analysts, "from marts.failed_invoices where is_settled")
        }
        failed = [r for r in rows if r["code"] not in (200, None)]
        failures = {(r["taxpayer"], r["referenceNumber"]): r for r in failed}
        assert found.keys() == failures.keys()
        for key, bad in failures.items():
            got = resolution(bad, accepted)
            assert found[key]["resolved_ksef_number"] == (got and got["ksefNumber"])
        reasons = rows_of(analysts, "from marts.failure_reasons")
        assert sum(r["failed_count"] for r in reasons) == sum(r["code"] != 200 for r in rows)
        assert sum(r["failed_count"] for r in reasons) == sum(d["failed_count"] for d in outcomes)
        check_months(world, clock.now(), analysts)
        windows = rows_of(analysts, "from marts.package_windows")
        assert {w["relation"] for w in windows} <= {"first", "touching"}


@settings(
    max_examples=3,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(seed=st.integers(0, 10_000), days=st.integers(1, 12), sessions_per_day=st.integers(1, 14))
@example(seed=6139, days=2, sessions_per_day=8)  # a file's name alone tells of a failure before
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
        check_days(
            rows_of(database, "from marts.daily_outcomes"),
            rows,
            Accepted(world, told, world.since),
            by_counters=lambda row: (
                row["code"] is None or (row["has_accepted"] and not row["has_receipt"])
            ),
        )
        accepted = rows_of(database, "from marts.invoices where outcome = 'accepted'")
        assert {r["known_from"] for r in accepted} <= {"upo"}
        assert {r["ksef_number"] for r in accepted if r["issue_date"]} == {
            r["ksefNumber"] for r in told if r["code"] == 200
        }
        unlisted = {r["session"] for r in rows if r["code"] is None}
        for row in rows_of(database, "from marts.session_reconciliation"):
            cause = "session_open" if row["session_outcome"] == "pending" else "only_failures_read"
            if row["session_reference_number"] in unlisted:
                cause = "session_failed_as_whole"
            assert row["likely_cause"] == cause
            assert row["session_outcome"] != "accepted"
        with loading(world, clock, database, is_frozen=True) as load_once:
            load_once()
        build(database)
        rows = list(decided_invoices(world, clock.now()))
        check_days(
            rows_of(database, "from marts.daily_outcomes"),
            rows,
            Accepted(world, rows, world.since),
        )
        lacking = rows_of(database, "from marts.invoices where known_from = 'upo'")
        assert lacking == []
