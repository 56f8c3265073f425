"""Amounts, months and people against plain Python sums over an emulated world's own invoices."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from ksef_emulator import VirtualClock, World
from ksef_emulator.world.taxpayers import SubjectType
from kseflow.marts.build import build
from tests.copies import Row, rows_of
from tests.sql.loaded import NOW, loading, make_world

WARSAW = ZoneInfo("Europe/Warsaw")
ROLES: dict[SubjectType, str] = {
    "Subject1": "seller",
    "Subject2": "buyer",
    "Subject3": "third_subject",
    "SubjectAuthorized": "authorized_subject",
}
ZERO = Decimal(0)
Sums = tuple[int, Decimal, Decimal, Decimal]


def sums(rows: Iterable[Row]) -> Sums:
    """Add up KSeF's JSON: how many, net, VAT and gross."""
    told = list(rows)
    net, vat, gross = (
        sum((Decimal(str(row[f"{name}Amount"])) for row in told), ZERO)
        for name in ("net", "vat", "gross")
    )
    return len(told), net, vat, gross


def grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def month(row: Row) -> date:
    return date.fromisoformat(row["issueDate"]).replace(day=1)


def next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def is_correction(row: Row) -> bool:
    return str(row["invoiceType"]).startswith("Kor")


def counterparty(row: Row, role: str) -> tuple[str, str | None, str | None]:
    if role != "seller":
        return "Nip", row["seller"]["nip"], None
    identifier = row["buyer"]["identifier"]
    value = identifier.get("value")
    return identifier["type"], value, None if value else row["buyer"]["name"]


def counterparty_in_currency(row: Row, role: str) -> tuple[str, str | None, str | None, str]:
    return *counterparty(row, role), row["currency"]


def verdict(first: date, begin: datetime, end: datetime) -> str:
    """Judge a month of exports without holes by where they begin and end."""
    from_day, to_day = (moment.astimezone(WARSAW).date() for moment in (begin, end))
    if from_day > first or to_day < next_month(first):
        return "not_complete"
    late = to_day < next_month(first) + timedelta(days=14)
    return "cannot_tell" if late else "complete"


def amounts(row: Row, prefix: str = "") -> tuple[Decimal, Decimal, Decimal]:
    net, vat, gross = (
        row[f"{prefix}{n}"] for n in ("net_amount", "vat_amount_pln", "gross_amount")
    )
    return net, vat, gross


class Truth:
    """What a world exports to each taxpayer as each subject type, up to where a load came."""

    def __init__(self, world: World, database: Path) -> None:
        self.world = world
        self.ends = {
            (row["context_id"], row["subject_type"]): (row["begin"], row["end"])
            for row in rows_of(
                database,
                'select context_id, subject_type, min(requested_from) as "begin", '
                'max(next_from) as "end" from marts.package_windows group by all',
            )
        }
        self.exported = {key: self.until(key, end) for key, (_, end) in self.ends.items()}

    def until(self, key: tuple[str, SubjectType], end: datetime) -> list[Row]:
        return self.world.exported(*key, end)


def check_invoices(truth: Truth, found: list[Row]) -> None:
    expected: dict[tuple[str, str], list[str]] = defaultdict(list)
    metadata: dict[str, Row] = {}
    for (who, subject_type), rows in sorted(truth.exported.items()):
        for row in rows:
            expected[who, row["ksefNumber"]].append(subject_type)
            metadata[row["ksefNumber"]] = row
    told = {(row["context_id"], row["ksef_number"]): row for row in found}
    assert len(told) == len(found)
    assert {key: row["subject_types"] for key, row in told.items()} == {
        key: ", ".join(subject_types) for key, subject_types in expected.items()
    }
    for (_, number), row in told.items():
        subject_types = row["subject_types"].split(", ")
        for subject_type, role in ROLES.items():
            assert row[f"is_{role}"] == (subject_type in subject_types)
        assert (1, *amounts(row)) == sums([metadata[number]])
        assert row["currency"] == metadata[number]["currency"]
        assert row["seller_nip"] == metadata[number]["seller"]["nip"]
        assert row["buyer_name"] == metadata[number]["buyer"]["name"]
        assert row["is_correction"] == is_correction(metadata[number])
    counted = [row for row in found if row["counts_once"]]
    assert sorted(row["ksef_number"] for row in counted) == sorted(metadata)
    sellers = {number for who, number in told if number.startswith(who)}
    assert all(r["is_seller"] for r in counted if r["ksef_number"] in sellers)


def check_months(truth: Truth, found: list[Row]) -> None:
    left = {
        (month_, who, ROLES[subject_type], currency): rows
        for (who, subject_type), exported in truth.exported.items()
        for (month_, currency), rows in grouped(
            exported, lambda row: (month(row), row["currency"])
        ).items()
    }
    for row in found:
        key = row["month"], row["context_id"], row["role"], row["currency"]
        rows = left.pop(key, [])
        assert (row["invoice_count"], *amounts(row)) == sums(rows)
        corrected = sums(filter(is_correction, rows))
        assert (row["correction_count"], *amounts(row, "correction_")) == corrected
        subject_type = next(s for s, role in ROLES.items() if role == row["role"])
        begin, end = truth.ends[row["context_id"], subject_type]
        assert row["completeness"] == verdict(row["month"], begin, end)
        assert (row["doubt"] is None) == (row["completeness"] == "complete")
        assert row["missing_export_count"] == 0
        if row["completeness"] == "complete":  # whatever time will bring
            ever = truth.until((row["context_id"], subject_type), end + timedelta(days=60))
            same = [r for r in ever if (month(r), r["currency"]) == (row["month"], row["currency"])]
            assert row["invoice_count"] == len(same)
    assert left == {}


def check_counterparties(truth: Truth, found: list[Row]) -> None:
    left = {
        (who, ROLES[subject_type], *key): rows
        for (who, subject_type), exported in truth.exported.items()
        for key, rows in grouped(
            exported,
            partial(counterparty_in_currency, role=ROLES[subject_type]),
        ).items()
    }
    for row in found:
        identifier = row["counterparty_identifier"]
        name = None if identifier else row["counterparty_name"]
        key = (row["context_id"], row["role"], row["counterparty_identifier_type"], identifier)
        rows = left.pop((*key, name, row["currency"]))
        assert (row["invoice_count"], *amounts(row)) == sums(rows)
        assert row["correction_count"] == sum(map(is_correction, rows))
        dates = [date.fromisoformat(r["issueDate"]) for r in rows]
        assert (row["first_issue_date"], row["last_issue_date"]) == (min(dates), max(dates))
        assert row["name_count"] == 1
    assert left == {}


@settings(
    max_examples=1,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(seed=st.integers(0, 10_000), days=st.integers(1, 20), sessions_per_day=st.integers(1, 4))
@example(seed=7, days=50, sessions_per_day=2)
def test_amounts_of_invoices_months_and_counterparties_are_the_sums_of_the_world(
    seed: int, days: int, sessions_per_day: int
) -> None:
    world = make_world(seed, days=days, sessions_per_day=sessions_per_day)
    with TemporaryDirectory() as folder:
        database = Path(folder) / "load.duckdb"
        with loading(
            world,
            VirtualClock(NOW),
            database,
            only=("sessions", "export_packages", "invoice_metadata"),
            exports_per_hour=1000,
            subject_types=get_args(SubjectType),
        ) as load_once:
            load_once()
        build(database)
        truth = Truth(world, database)
        found = {
            mart: rows_of(database, f"from marts.{mart}")
            for mart in ("exported_invoices", "monthly_amounts", "counterparties", "taxpayers")
        }
        oddities = rows_of(database, "select kind from intermediate.odd_packages")
        holes = rows_of(database, "select kind from intermediate.coverage_holes")
    check_invoices(truth, found["exported_invoices"])
    check_months(truth, found["monthly_amounts"])
    check_counterparties(truth, found["counterparties"])
    known = {who.context_id: who.name for who in world.taxpayers}
    assert {row["context_id"] for row in found["taxpayers"]} == set(known)
    assert all(row["name"] in (known[row["context_id"]], None) for row in found["taxpayers"])
    assert (oddities, holes) == ([], [])
    if (seed, days) == (7, 50):  # the figures above are about something
        between = [row for row in found["exported_invoices"] if not row["counts_once"]]
        assert len(between) > 100
        assert {row["role"] for row in found["monthly_amounts"]} == set(ROLES.values())
        assert {"complete", "not_complete"} == {r["completeness"] for r in found["monthly_amounts"]}
        assert {row["name"] for row in found["taxpayers"]} == set(known.values())
