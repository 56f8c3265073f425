"""Receipts, exports and months against plain Python over an invented company."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from math import ceil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kseflow.marts.build import build
from tests.sql.invented import (
    EXPORTS_FROM,
    Company,
    Invoice,
    Package,
    Session,
    Taxpayer,
    invent,
    milliseconds,
    moment,
    ticks,
    write_raw_tables,
)

WARSAW = ZoneInfo("Europe/Warsaw")
WITH_RECEIPT = ("stale", "receipt", "ahead", "both")
IN_FULL = ("rows", "stale", "both")
Row = dict[str, Any]


def rows_of(connection: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    answer = connection.execute(sql)
    names = [column[0] for column in answer.description]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def day(at: datetime) -> date:
    return at.astimezone(WARSAW).date()


def month(at: datetime) -> date:
    return day(at).replace(day=1)


def is_exported(company: Company, invoice: Invoice) -> bool:
    return invoice.ksef_number in company.exported.get(invoice.taxpayer, {})


def known_invoices(company: Company) -> Iterator[tuple[Session, Invoice, str, str]]:
    """Yield each invoice that was read, with its outcome and which answer tells of it."""
    outcomes = {200: "accepted", 440: "duplicate", 450: "rejected"}
    for session in company.sessions:
        for invoice in session.invoices:
            if session.way in IN_FULL:
                is_late = invoice.is_seen_in_process
                source = "upo" if is_late and invoice.is_accepted else "invoices"
                is_pending = is_late and not invoice.is_accepted
                yield session, invoice, "pending" if is_pending else outcomes[invoice.code], source
            elif invoice.is_accepted and session.way in WITH_RECEIPT:
                yield session, invoice, "accepted", "upo"
            elif not invoice.is_accepted and session.way != "nothing":
                yield session, invoice, outcomes[invoice.code], "failed"


def lacking(company: Company, session: Session, invoice: Invoice, source: str) -> str | None:
    is_listed = invoice.is_seen_in_process
    names = [
        "" if is_listed else "invoice_reference_number",
        "" if is_listed else "ordinal_number",
        "" if is_listed or session.kind == "Online" else "invoice_file_name",
        "" if is_exported(company, invoice) else "stored_at",
    ]
    return ", ".join(filter(None, names)) or None if source == "upo" else None


def check_invoices(company: Company, found: list[Row]) -> None:
    told = {(r["invoice_reference_number"] or r["ksef_number"]): r for r in found}
    assert len(told) == len(found)
    for session, invoice, outcome, source in known_invoices(company):
        is_bare = source == "upo" and not invoice.is_seen_in_process
        row = told.pop(invoice.ksef_number if is_bare else invoice.reference)
        assert (row["outcome"], row["known_from"]) == (outcome, source)
        assert row["lacks"] == lacking(company, session, invoice, source)
        assert row["is_settled"] == (outcome != "pending" and session.way != "open")
        at = milliseconds(invoice.submitted_at) if is_bare else invoice.submitted_at
        assert row["submitted_at"] == at
        is_accepted = outcome == "accepted"
        assert row["ksef_number"] == (invoice.ksef_number if is_accepted else None)
        assert row["has_receipt"] == (is_accepted and session.way in WITH_RECEIPT)
        assert row["is_exported"] == (is_accepted and is_exported(company, invoice))
        assert (row["issue_date"] is not None) == (row["has_receipt"] or row["is_exported"])
        is_stored = is_accepted and (source == "invoices" or row["is_exported"])
        assert row["stored_at"] == (invoice.stored_at if is_stored else None)
    assert told == {}


def check_sessions(company: Company, found: list[Row], differences: list[Row]) -> None:
    known: dict[str, Counter[str]] = defaultdict(Counter)
    for session, invoice, outcome, source in known_invoices(company):
        known[session.reference][outcome] += 1
        known[session.reference]["lacking"] += bool(lacking(company, session, invoice, source))
    told = {r["session_reference_number"]: r for r in found}
    incomplete = set()
    for session in company.sessions:
        counts, row = known[session.reference], told.pop(session.reference)
        failed = counts["rejected"] + counts["duplicate"]
        assert row["stored_accepted_count"] == counts["accepted"]
        assert row["stored_failed_count"] == failed
        assert row["rows_lacking_count"] == counts["lacking"]
        is_complete = (counts["accepted"], failed) == (len(session.accepted), len(session.failed))
        assert row["is_complete"] == is_complete
        if session.way in WITH_RECEIPT and not any(i.is_seen_in_process for i in session.failed):
            assert is_complete
        incomplete |= set() if is_complete else {session.reference}
    assert told == {}
    assert {r["session_reference_number"] for r in differences} == incomplete


def counted_days(company: Company) -> dict[tuple[date, Taxpayer, str], Counter[str]]:
    """Count by rows where all of a closed session are here, else by KSeF's counters on its day."""
    known: dict[str, list[tuple[Invoice, str]]] = defaultdict(list)
    for session, invoice, outcome, _ in known_invoices(company):
        known[session.reference].append((invoice, outcome))
    counts: dict[tuple[date, Taxpayer, str], Counter[str]] = defaultdict(Counter)
    for session in company.sessions:
        rows = known[session.reference]

        def of(at: datetime, session: Session = session) -> Counter[str]:
            return counts[day(at), session.taxpayer, session.kind]

        outcomes = Counter(outcome for _, outcome in rows)
        accepted, failed = len(session.accepted), len(session.failed)
        failed_here = outcomes["rejected"] + outcomes["duplicate"]
        if session.way == "open":
            for invoice, _ in rows:
                of(invoice.submitted_at)["pending"] += 1
            of(session.created_at)["pending"] += len(session.invoices) - len(rows)
        elif (outcomes["accepted"], failed_here) == (accepted, failed):
            for invoice, outcome in rows:
                of(invoice.submitted_at)[outcome] += 1
        else:
            own = of(session.created_at)
            own.update(
                accepted=accepted,
                rejected=outcomes["rejected"],
                duplicate=outcomes["duplicate"],
                unclassified_failed=failed - failed_here,
                from_counters=accepted + failed,
            )
        if lacking := len(session.invoices) - len(rows):
            of(session.created_at)["unread"] += lacking
    return counts


def check_days(company: Company, found: list[Row]) -> None:
    counts = counted_days(company)
    for row in found:
        key = row["day"], (row["context_type"], row["context_id"]), row["session_type"]
        count = counts.pop(key, Counter())
        told = ("accepted", "rejected", "duplicate", "unclassified_failed", "pending", "unread",
            "from_counters")  # fmt: skip
        assert {o: row[f"{o}_count"] for o in told} == {o: count[o] for o in told}
        decided = sum(count[o] for o in told[:4])
        assert row["decided_count"] == decided
        rate = pytest.approx(count["accepted"] / decided) if decided else None
        assert row["success_rate"] == rate
    assert not any(count.total() for count in counts.values())


def check_windows(company: Company, found: list[Row]) -> None:
    told = {(r["context_id"], r["package_reference_number"]): r for r in found}
    before: dict[tuple[Taxpayer, str], Package] = {}
    for package in company.packages:
        if package.code != 200:
            continue
        row = told.pop((package.taxpayer[1], package.reference))
        subject = package.taxpayer, package.subject_type
        previous = before.get(subject)
        if previous is None:
            assert (row["relation"], row["difference_seconds"]) == ("first", None)
        else:
            ticks_between = package.begin - previous.end
            relation = ("touching", "gap", "overlap")[(ticks_between > 0) - (ticks_between < 0)]
            assert row["relation"] == relation
            assert row["difference_seconds"] == pytest.approx(abs(ticks_between) / 1e7)
        before[subject] = package
    assert told == {}


def covered_hours(package: Package) -> float:
    return (moment(package.end) - moment(package.begin)).total_seconds() / 3600


def check_packages(company: Company, found: list[Row]) -> None:
    told = {(r["context_id"], r["package_reference_number"]): r for r in found}
    for package in company.packages:
        row = told.pop((package.taxpayer[1], package.reference))
        rows = company.carriers.get((package.taxpayer, package.subject_type), {})
        mine = [i for carrier, i in rows.values() if carrier == package.reference]
        if package.is_truncated:
            mine += [i for _, i in rows.values() if ticks(i.stored_at) // 10 == package.end // 10]
        assert row["last_issue_date"] == max((i.issued for i in mine), default=None)
        assert row["last_submitted_at"] == max((i.submitted_at for i in mine), default=None)
        stored = max((i.stored_at for i in mine), default=None)
        assert row["last_stored_at"] == (moment(package.end) if package.is_truncated else stored)
        from_rows = "last_issue_date, last_submitted_at" if mine else None
        if mine and not package.is_truncated:
            from_rows = "last_issue_date, last_submitted_at, last_stored_at"
        assert row["last_dates_from_metadata"] == from_rows
        by = "size" if package.size == 950_000_000 else "unknown"
        assert row["truncated_by"] == (by if package.is_truncated else None)
        hours, count = covered_hours(package), len(package.invoices)
        if not count or not hours:
            assert row["widest_window_hours"] is None
        else:
            widest = min(10_000 / count, 1e9 / package.size) * hours
            assert row["widest_window_hours"] == pytest.approx(widest)
    assert told == {}


def check_holes(company: Company, found: list[Row], oddities: list[Row]) -> None:
    """Compare holes with what no window spans, and packages with the rows of their windows.

    Rows have no seventh decimal: one on the border counts for either side.
    """
    walks: dict[tuple[str, str], list[Package]] = defaultdict(list)
    for package in company.packages:
        if package.code == 200:
            walks[package.taxpayer[1], package.subject_type].append(package)
    expected, lost = [], Counter[str]()
    for (who, subject_type), walk in walks.items():
        spanned = sorted((p.begin, p.end) for p in walk)
        reached = spanned[0][0]
        for begin, end in spanned:
            if begin > reached:
                expected.append((who, subject_type, "gap", moment(reached), moment(begin)))
            reached = max(reached, end)
        for p in walk:
            rows = [
                ticks(i.stored_at) for _, i in company.carriers[p.taxpayer, subject_type].values()
            ]
            here = [at for at in rows if p.begin // 10 <= at // 10 <= p.end // 10]
            if len(here) < len(p.invoices):
                lost[who] += 1
                expected.append((who, subject_type, "rows_lost", moment(p.begin), moment(p.end)))
    names = ("context_id", "subject_type", "kind", "hole_from", "hole_to")
    assert sorted(tuple(row[name] for name in names) for row in found) == sorted(expected)
    assert {(o["context_id"], o["kind"]): o["odd_count"] for o in oddities} == {
        (who, "rows_lost"): count for who, count in lost.items()
    }


def exports_to_catch_up(package: Package) -> int:
    if not package.is_truncated:
        return 0
    left = ticks(moment(package.hwm)) - ticks(moment(package.end))
    return max(1, ceil(left / (ticks(moment(package.end)) - ticks(moment(package.begin)))))


def check_truncation(company: Company, found: list[Row]) -> None:
    packages: dict[tuple[date, str, str], list[Package]] = defaultdict(list)
    for package in company.packages:
        at = package.completed_at or package.requested_at
        packages[day(at), package.taxpayer[1], package.subject_type].append(package)
    for row in found:
        group = packages.pop((row["day"], row["context_id"], row["subject_type"]))
        built = [p for p in group if p.code == 200]
        truncated = sum(p.is_truncated for p in built)
        assert row["package_count"] == len(group)
        assert row["built_count"] == len(built)
        assert row["truncated_count"] == truncated
        assert row["truncation_rate"] == (truncated / len(built) if built else None)
        sizes = [p.size for p in built]
        assert row["invoice_count"] == sum(len(p.invoices) for p in built)
        assert row["size_bytes"] == sum(sizes)
        by_size = sum(p.size == 950_000_000 for p in built)
        assert row["truncated_by_size_count"] == by_size
        assert row["truncated_by_unknown_count"] == truncated - by_size
        assert row["p50_seconds_to_completion"] == (20 if built else None)
        backlogs = {p.requested_at: (p.requested_at - moment(p.end)).total_seconds() for p in group}
        assert row["max_backlog_seconds"] == pytest.approx(max(backlogs.values()))
        assert row["last_backlog_seconds"] == pytest.approx(backlogs[max(backlogs)])
        hours = sum(covered_hours(p) for p in built)
        assert row["covered_hours"] == (pytest.approx(hours) if built else None)
        density = row["invoice_count"] / hours if hours else None
        assert row["invoices_per_hour"] == (density and pytest.approx(density))
        assert row["max_size_cap_share"] == (max(sizes) / 1e9 if sizes else None)
        assert row["p50_size_bytes"] == (median(sizes) if sizes else None)
        last = max(built, key=lambda p: p.requested_at, default=None)
        assert row["exports_to_catch_up"] == (exports_to_catch_up(last) if last else None)
    assert packages == {}


def check_completeness(company: Company, found: list[Row]) -> None:
    months: dict[tuple[date, Taxpayer], Counter[str]] = defaultdict(Counter)
    in_sessions: dict[Taxpayer, set[str]] = defaultdict(set)
    ends: dict[Taxpayer, datetime] = {}
    for package in company.packages:
        if package.code == 200 and package.subject_type == "Subject1":
            ends[package.taxpayer] = moment(package.end)
    for session in company.sessions:
        count = months[month(session.created_at), session.taxpayer]
        count["counted"] += len(session.accepted)
    for session, invoice, outcome, source in known_invoices(company):
        if outcome != "accepted":
            continue
        count = months[month(session.created_at), session.taxpayer]
        in_sessions[session.taxpayer].add(str(invoice.ksef_number))
        count["known_in_sessions"] += 1
        count["row"] += source == "invoices"
        count["upo"] += session.way in WITH_RECEIPT
        is_stored_known = source == "invoices" or is_exported(company, invoice)
        end, slack = ends.get(session.taxpayer), timedelta(days=0 if is_stored_known else 1)
        by = (invoice.stored_at if is_stored_known else milliseconds(invoice.accepted_at)) + slack
        if is_exported(company, invoice):
            count["export"] += 1
        elif not str(invoice.ksef_number).startswith(session.taxpayer[1][:10]):
            count["other_seller"] += 1
        elif end and by - slack < EXPORTS_FROM:
            count["before_exports"] += 1
        else:
            count["missing_export" if end and by < end else "pending_export"] += 1
    everywhere = set().union(*in_sessions.values())
    for who, exported in company.exported.items():
        for number in exported.keys() - in_sessions[who]:
            count = months[month(exported[number].accepted_at), who]
            alone = "other_context" if number in everywhere else "known_only_by_export"
            count["self_invoicing" if exported[number].is_self_invoicing else alone] += 1
            count["export"] += 1
    columns = ("counted", "row", "upo", "export", "known_in_sessions", "missing_export",
        "pending_export", "before_exports", "other_seller", "known_only_by_export",
        "self_invoicing", "other_context")  # fmt: skip
    for row in found:
        count = months.pop((row["month"], (row["context_type"], row["context_id"])))
        assert {c: row[f"{c}_count"] for c in columns} == {c: count[c] for c in columns}
        unread = count["counted"] - count["known_in_sessions"]
        assert row["unread_count"] == unread
        assert row["missing_rows_count"] == count["counted"] - count["row"]
        assert row["missing_upo_count"] == count["counted"] - count["upo"]
        assert row["exported_to"] == ends.get((row["context_type"], row["context_id"]))
    assert months == {}


@settings(
    max_examples=4,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # a smaller company explains no more, and takes minutes to find
    suppress_health_check=[HealthCheck.too_slow],
)
@given(seed=st.integers(0, 10_000))
def test_receipts_exports_and_months_equal_the_company_itself(seed: int) -> None:
    company = invent(seed)
    with TemporaryDirectory() as folder:
        database = Path(folder) / "load.duckdb"
        write_raw_tables(company, database)
        build(database)
        with duckdb.connect(str(database), read_only=True) as connection:
            connection.execute("set timezone = 'UTC'")
            found = {
                table: rows_of(connection, f"from marts.{table}")
                for table in ("invoices", "sessions", "session_reconciliation", "daily_outcomes",
                    "packages", "package_windows", "package_truncation", "invoice_completeness")
            }  # fmt: skip
            holes = rows_of(connection, "from intermediate.coverage_holes")
            oddities = rows_of(connection, "from intermediate.odd_packages")
    check_invoices(company, found["invoices"])
    check_sessions(company, found["sessions"], found["session_reconciliation"])
    check_days(company, found["daily_outcomes"])
    check_packages(company, found["packages"])
    check_holes(company, holes, oddities)
    check_windows(company, found["package_windows"])
    check_truncation(company, found["package_truncation"])
    check_completeness(company, found["invoice_completeness"])
