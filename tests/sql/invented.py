"""An invented company: what happened to its invoices, and what a load would have stored of it.

Shares nothing with the emulator and the load: only the columns of the raw tables.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from kseflow.raw.tables import TABLES

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)
BEGIN = datetime(2026, 10, 20, tzinfo=UTC)
EXPORTS_FROM, EXPORTS_TO = datetime(2026, 10, 23, tzinfo=UTC), datetime(2026, 11, 12, tzinfo=UTC)
NIP, OTHER_NIP = "5265877635", "7438939438"
COMPANY, BRANCH, SUBSIDIARY = ("Nip", NIP), ("InternalId", f"{NIP}-00001"), ("Nip", OTHER_NIP)
CAP = 6  # invoices in a package

# What was read of a session: its rows, the rows while some were in process and then the receipt,
# failures and receipt (stored in one or in both tables), rows and receipt, failures, nothing.
WAYS = ("rows", "stale", "receipt", "ahead", "both", "failures", "nothing", "open")
Taxpayer = tuple[str, str]


@dataclass(frozen=True)
class Invoice:
    taxpayer: Taxpayer
    session: str
    reference: str
    ordinal: int
    content: str
    code: int
    submitted_at: datetime
    ksef_number: str | None = None
    is_self_invoicing: bool = False
    is_seen_in_process: bool = False

    @property
    def accepted_at(self) -> datetime:
        return self.submitted_at + timedelta(seconds=5, microseconds=789)

    @property
    def stored_at(self) -> datetime:
        return self.accepted_at + timedelta(seconds=60 + self.ordinal)

    @property
    def is_accepted(self) -> bool:
        return self.code == 200

    @property
    def issued(self) -> date:
        return self.submitted_at.date() - timedelta(days=self.ordinal % 3)


@dataclass(frozen=True)
class Session:
    taxpayer: Taxpayer
    reference: str
    kind: str
    way: str
    created_at: datetime
    invoices: list[Invoice]

    @property
    def accepted(self) -> list[Invoice]:
        return [invoice for invoice in self.invoices if invoice.is_accepted]

    @property
    def failed(self) -> list[Invoice]:
        return [invoice for invoice in self.invoices if not invoice.is_accepted]


@dataclass(frozen=True)
class Package:
    """Its window in ticks, KSeF's ten-millionths of a second since 1970."""

    taxpayer: Taxpayer
    subject_type: str
    reference: str
    requested_at: datetime
    code: int
    begin: int
    end: int
    hwm: int
    invoices: list[Invoice] = field(default_factory=list)
    is_truncated: bool = False
    size: int = 0

    @property
    def completed_at(self) -> datetime | None:
        return self.requested_at + timedelta(seconds=20) if self.code == 200 else None


@dataclass(frozen=True)
class Company:
    """`carriers` names, for each row that the copy has, the package that it last came in.

    `exported` has the rows of Subject1; a few rows of either subject type were lost.
    """

    sessions: list[Session]
    packages: list[Package]
    exported: dict[Taxpayer, dict[str, Invoice]]
    carriers: dict[tuple[Taxpayer, str], dict[str, tuple[str, Invoice]]]


def ticks(moment: datetime, seventh: int = 0) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10 + seventh


def moment(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at // 10)


def text(at: int) -> str:
    return f"{moment(at):%Y-%m-%dT%H:%M:%S.%f}{at % 10}+00:00"


def invent(seed: int) -> Company:
    random = Random(seed)
    sessions = [
        invent_session(random, who, number)
        for who in (COMPANY, BRANCH, SUBSIDIARY)
        for number in range(random.randint(10, 40))
    ]
    sold = {who: invent_sold(random, who, sessions) for who in (COMPANY, SUBSIDIARY)}
    packages = [
        package
        for who, invoices, subject_type in (
            (COMPANY, sold[COMPANY], "Subject1"),
            (SUBSIDIARY, sold[SUBSIDIARY], "Subject1"),
            (SUBSIDIARY, sold[COMPANY][::3], "Subject2"),
        )
        for package in invent_packages(random, who, invoices, subject_type)
    ]
    carriers: dict[tuple[Taxpayer, str], dict[str, tuple[str, Invoice]]] = {}
    for package in packages:
        rows = carriers.setdefault((package.taxpayer, package.subject_type), {})
        rows |= {str(i.ksef_number): (package.reference, i) for i in package.invoices}
    for rows in carriers.values():
        for number in [number for number in rows if random.random() < 0.02]:
            del rows[number]
    exported = {
        who: {number: invoice for number, (_, invoice) in rows.items()}
        for (who, subject_type), rows in carriers.items()
        if subject_type == "Subject1"
    }
    return Company(sessions, packages, exported, carriers)


def invent_session(random: Random, who: Taxpayer, number: int) -> Session:
    reference = f"{who[1]}-S{number}"
    way = random.choice(WAYS)
    month_ends = datetime(2026, 10, 31, 23, tzinfo=UTC) - timedelta(minutes=random.randint(1, 9))
    at = BEGIN + timedelta(seconds=random.randrange(25 * 86400))
    created_at = random.choice([at, at, month_ends])
    invoices: list[Invoice] = []
    for ordinal in range(1, random.randint(0, 8) + 1):
        kind = random.choice(["good"] * 6 + ["bad", "bad", "copy"])
        copied = next((i for i in invoices if i.is_accepted), None)
        is_copy = kind == "copy" and copied is not None
        seller = random.choice([NIP, NIP, NIP, "1111111111"]) if who != SUBSIDIARY else OTHER_NIP
        invoices.append(
            Invoice(
                taxpayer=who,
                session=reference,
                reference=f"{reference}-{ordinal}",
                ordinal=ordinal,
                content=copied.content if is_copy and copied else f"{reference}-{ordinal}",
                code=440 if is_copy else 450 if kind == "bad" else 200,
                submitted_at=created_at
                + timedelta(minutes=3 * ordinal, microseconds=random.randrange(10**6)),
                ksef_number=None if is_copy or kind == "bad" else f"{seller}-{reference}-{ordinal}",
                is_seen_in_process=way == "stale" and random.random() < 0.5,
            )
        )
    return Session(who, reference, random.choice(["Online", "Batch"]), way, created_at, invoices)


def invent_sold(random: Random, who: Taxpayer, sessions: list[Session]) -> list[Invoice]:
    """Collect what a taxpayer sold, also by other systems; KSeF's exports lack some."""
    sold = [i for s in sessions for i in s.accepted if str(i.ksef_number).startswith(who[1])]
    for number in range(random.randint(0, 20)):
        at = BEGIN + timedelta(seconds=random.randrange(25 * 86400))
        kinds = {"is_self_invoicing": random.random() < 0.5}
        name = f"{who[1]}-elsewhere-{number}"
        sold.append(Invoice(who, "none", name, number, name, 200, at, ksef_number=name, **kinds))
    return sorted((i for i in sold if random.random() > 0.05), key=lambda i: i.stored_at)


def invent_packages(
    random: Random, who: Taxpayer, sold: list[Invoice], subject_type: str
) -> Iterator[Package]:
    """Walk upward as KSeF prescribes; some exports fail, once we skip."""
    at, begin = EXPORTS_FROM + timedelta(hours=1), ticks(EXPORTS_FROM)
    skip_at = EXPORTS_FROM + timedelta(days=random.randint(1, 19))
    while at < EXPORTS_TO:
        name = f"{who[1]}-{subject_type}-P{at:%m%d%H%M}"
        code = random.choice([200] * 8 + [100, 550])
        hwm = ticks(at - timedelta(seconds=150), random.randrange(10))
        code = 420 if hwm <= begin else code
        package = Package(who, subject_type, name, at, code, begin, begin, hwm)
        if code == 200:
            found = [i for i in sold if begin <= ticks(i.stored_at) <= hwm]
            is_truncated = len(found) >= CAP
            end = ticks(found[CAP - 1].stored_at, random.randrange(10)) if is_truncated else hwm
            size = random.choice([950_000_000, 6000]) if is_truncated else 1000 * len(found)
            package = replace(
                package, end=end, invoices=found[:CAP], is_truncated=is_truncated, size=size
            )
        yield package
        begin = package.end
        if at > skip_at:
            begin += random.choice([36_000_000_000, 1, -1, -36_000_000_000])
            skip_at = NOW
        at += timedelta(minutes=random.choice([20, 300, 900]))


def raw_rows(company: Company) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each raw table as a load would have written them."""
    rows: dict[str, list[dict[str, Any]]] = {table.name: [] for table in TABLES}
    for session in company.sessions:
        store_session(rows, session)
    for package in company.packages:
        store_package(rows, package)
    for (who, subject_type), carried in company.carriers.items():
        rows["invoice_metadata"] += [
            metadata(who, subject_type, package, invoice) for package, invoice in carried.values()
        ]
    return rows


def store_session(rows: dict[str, list[dict[str, Any]]], session: Session) -> None:
    way, accepted, failed = session.way, session.accepted, session.failed
    key = dict(zip(("context_type", "context_id"), session.taxpayer, strict=True))
    reading = key | {
        "session_reference_number": session.reference,
        "session_date_updated": session.created_at,
        "read_at": NOW - timedelta(hours=3),
    }
    rows["sessions"].append(
        key
        | {
            "session_type": session.kind,
            "reference_number": session.reference,
            "status_code": 100 if way == "open" else 200,
            "date_created": session.created_at,
            "date_updated": session.created_at,
            "valid_until": NOW + timedelta(days=1),
            "total_invoice_count": len(session.invoices),
            "successful_invoice_count": len(accepted),
            "failed_invoice_count": len(failed),
            "read_at": NOW,
        }
    )
    if way == "nothing":
        return
    is_listed = way in ("rows", "stale", "both")
    listed = session.invoices if is_listed else failed
    in_failed = [row(i) for i in listed if i.code > 200 and not i.is_seen_in_process]
    rows["failed_invoices"] += in_failed
    rows["session_invoices"] += [] if way == "ahead" else [row(i, session) for i in listed]
    endpoint = "invoices" if is_listed else "failed"
    if is_listed or failed:
        found = {"endpoint": endpoint, "row_count": len(listed)}
        rows["invoice_reads"].append(reading | found)
    if way in ("stale", "receipt", "ahead", "both") and accepted:
        rows["upo_documents"] += [receipt(invoice) for invoice in accepted]
        rows["upo_reads"].append(reading | {"page_count": 1, "row_count": len(accepted)})


def row(invoice: Invoice, session: Session | None = None) -> dict[str, Any]:
    is_decided = not invoice.is_seen_in_process
    is_accepted = invoice.is_accepted and is_decided
    return {
        "context_type": invoice.taxpayer[0],
        "context_id": invoice.taxpayer[1],
        "session_reference_number": invoice.session,
        "reference_number": invoice.reference,
        "ordinal_number": invoice.ordinal,
        "ksef_number": invoice.ksef_number if is_accepted else None,
        "invoice_hash": invoice.content,
        "invoice_file_name": f"{invoice.ordinal}.xml"
        if session and session.kind == "Batch"
        else None,
        "invoicing_date": invoice.submitted_at,
        "acquisition_date": invoice.accepted_at if is_accepted else None,
        "permanent_storage_date": invoice.stored_at if is_accepted else None,
        "status_code": invoice.code if is_decided else 150,
        "status_details": ["Duplikat faktury."] if invoice.code == 440 else None,
        "read_at": NOW - timedelta(hours=3),
    }


def receipt(invoice: Invoice) -> dict[str, Any]:
    return {
        "context_type": invoice.taxpayer[0],
        "context_id": invoice.taxpayer[1],
        "ksef_number": invoice.ksef_number,
        "session_reference_number": invoice.session,
        "upo_reference_number": f"{invoice.session}-UPO",
        "seller_nip": str(invoice.ksef_number)[:10],
        "invoice_number": invoice.content,
        "issue_date": invoice.issued,
        "sent_date": milliseconds(invoice.submitted_at),
        "acquisition_date": milliseconds(invoice.accepted_at),
        "invoice_hash": invoice.content,
        "invoicing_mode": "Online",
        "form_code": "FA (3)",
        "read_at": NOW - timedelta(hours=2),
    }


def milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def metadata(who: Taxpayer, subject_type: str, package: str, invoice: Invoice) -> dict[str, Any]:
    return {
        "context_type": who[0],
        "context_id": who[1],
        "subject_type": subject_type,
        "ksef_number": invoice.ksef_number,
        "package_reference_number": package,
        "issue_date": invoice.issued,
        "invoicing_date": invoice.submitted_at,
        "acquisition_date": invoice.accepted_at,
        "permanent_storage_date": invoice.stored_at,
        "is_self_invoicing": invoice.is_self_invoicing,
        "invoice_hash": invoice.content,
        "read_at": NOW,
    }


def store_package(rows: dict[str, list[dict[str, Any]]], package: Package) -> None:
    is_built = package.code == 200
    rows["export_packages"].append(
        {
            "context_type": package.taxpayer[0],
            "context_id": package.taxpayer[1],
            "subject_type": package.subject_type,
            "reference_number": package.reference,
            "requested_from": moment(package.begin),
            "requested_from_text": text(package.begin),
            "is_metadata_only": True,
            "requested_at": package.requested_at,
            "status_code": package.code,
            "completed_date": package.completed_at,
            "invoice_count": len(package.invoices) if is_built else None,
            "size_bytes": package.size if is_built else None,
            "is_truncated": False if is_built else None,
            "last_permanent_storage_date": moment(package.end) if package.is_truncated else None,
            "permanent_storage_hwm_date": moment(package.hwm) if is_built else None,
            "permanent_storage_hwm_date_text": text(package.hwm) if is_built else None,
            "metadata_count": len(package.invoices) if is_built else None,
            "next_from": moment(package.end),
            "next_from_text": text(package.end),
            "is_effectively_truncated": package.is_truncated if is_built else None,
            "cursor_moved": package.end > package.begin,
            "error": "KSeF did not build it" if package.code in (100, 550) else None,
            "read_at": package.requested_at + timedelta(minutes=1),
        }
    )


def write_raw_tables(company: Company, database: Path) -> None:
    """Write the raw tables into a new DuckDB file, as dlt would: lists as JSON."""
    rows = raw_rows(company)
    with duckdb.connect(str(database)) as connection:
        connection.execute("set timezone = 'UTC'; create schema ksef_raw")
        connection.execute("create table ksef_raw._dlt_loads as select '1' as load_id, 0 as status")
        for table in TABLES:
            connection.register("arrow_rows", table.arrow(rows[table.name]))
            lists = [c.name for c in table.columns if c.name == "status_details"]
            replaced = "".join(f" replace (to_json({name}) as {name})" for name in lists)
            connection.execute(
                f"create table ksef_raw.{table.name} as select *{replaced} from arrow_rows"
            )
            connection.unregister("arrow_rows")
