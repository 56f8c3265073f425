"""The raw tables: every column once, with its type, its place in the API and its meaning.

A page of JSON becomes an Arrow table here; what the API sends and no column names is kept in
`unrecognised`. Signed URLs are credentials: they are left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from kseflow.errors import ContractViolation

TEXT, COUNT, TIME = pa.string(), pa.int32(), pa.timestamp("us", tz="UTC")
TEXTS = pa.list_(pa.string())

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One column; `api_field` is its path in the API's item, empty when the load stamps it."""

    name: str
    type: pa.DataType
    api_field: str
    description: str
    is_required: bool = False

    @cached_property
    def path(self) -> list[str]:
        return self.api_field.split(".")


@dataclass(frozen=True)
class Table:
    """One raw table: its key and its columns."""

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    left_out: frozenset[str] = field(default=frozenset())

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema; key columns and required ones are not null."""
        return pa.schema(
            pa.field(c.name, c.type, nullable=not (c.is_required or c.name in self.key))
            for c in self.columns
        )

    @cached_property
    def hints(self) -> dict[str, dict[str, Any]]:
        """dlt's column hints: descriptions, and which of two rows with one key is kept."""
        return {
            c.name: {
                "name": c.name,
                "description": c.description,
                **({"dedup_sort": "desc"} if c.name == "read_at" else {}),
            }
            for c in self.columns
        }

    def arrow(self, rows: Iterable[Row]) -> pa.Table:
        """Build an Arrow table of rows that have the columns' own names; what lacks is null."""
        rows = list(rows)
        return pa.table(
            {c.name: pa.array([row.get(c.name) for row in rows], c.type) for c in self.columns},
            schema=self.schema,
        )

    def arrow_from_api(self, items: Sequence[Row], **stamps: Any) -> pa.Table:
        """Build an Arrow table of API items; `stamps` fill the columns the API does not send.

        Raises `ContractViolation`, naming item and field, when a required field is missing or a
        value does not fit its column.
        """
        if odd := [item for item in items if not isinstance(item, dict)]:
            raise ContractViolation(f"{self.name}: {odd[0]!r} stands where an object should")
        arrays = []
        for column in self.columns:
            if column.name in stamps:
                values = [stamps[column.name]] * len(items)
            elif column.name == "unrecognised":
                values = [self._unrecognised(item) for item in items]
            else:
                values = [_at(item, column.path) for item in items]
                if column.is_required and None in values:
                    raise self._violation(items[values.index(None)], column, "is missing")
            try:
                arrays.append(_array(values, column.type))
            except (pa.ArrowException, TypeError, OverflowError) as error:
                odd = next(v for v in values if not _fits(v, column.type))
                item = items[values.index(odd)]
                raise self._violation(item, column, f"is {odd!r}") from error
        return pa.table(arrays, schema=self.schema)

    def accepts(self, item: Row) -> bool:
        """Tell whether an API item has every required field, each of its type."""
        stamped = {c.name: None for c in self.columns if not c.api_field}
        try:
            self.arrow_from_api([item], **stamped)
        except ContractViolation:
            return False
        return True

    @cached_property
    def _known(self) -> dict[str, frozenset[str]]:
        """The field names the columns know: of the item (key "") and of each nested object."""
        known: dict[str, set[str]] = {"": set(self.left_out)}
        for column in self.columns:
            if column.api_field:
                *parents, leaf = column.path
                known.setdefault(".".join(parents), set()).add(leaf)
                known[""].add(column.path[0])
        return {parent: frozenset(names) for parent, names in known.items()}

    def _unrecognised(self, item: Row) -> str | None:
        """Return the fields that no column names as JSON text, None when there are none."""
        extra = {name: item[name] for name in item.keys() - self._known[""]}
        for parent, names in self._known.items():
            nested = item.get(parent) if parent else None
            if isinstance(nested, dict) and (unknown := nested.keys() - names):
                extra[parent] = {name: nested[name] for name in unknown}
        if not extra:
            return None
        return orjson.dumps(_without_signed_urls(extra), option=orjson.OPT_SORT_KEYS).decode()

    def _violation(self, item: Row, column: Column, trouble: str) -> ContractViolation:
        name = item.get("referenceNumber", "an item without referenceNumber")
        return ContractViolation(f"{self.name}: field {column.api_field} of {name} {trouble}")


def _at(item: Any, path: list[str]) -> Any:
    for name in path:
        item = item.get(name) if isinstance(item, dict) else None
    return item


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind is TIME and any(isinstance(value, str) for value in values):
        # KSeF sends up to 7 decimals; Arrow keeps 9, the warehouse 6: cut here, on purpose.
        return pc.cast(pc.cast(pa.array(values, TEXT), pa.timestamp("ns", tz="UTC")), TIME, False)
    if kind is TEXT and any(isinstance(value, dict) for value in values):
        values = [value and orjson.dumps(value).decode() for value in values]
    return pa.array(values, kind)


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        _array([value], kind)
    except (pa.ArrowException, TypeError, OverflowError):
        return False
    return True


def _without_signed_urls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_signed_urls(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_signed_urls(part) for part in value]
    return "(signed URL left out)" if isinstance(value, str) and "sig=" in value else value


TAXPAYER = (
    Column("context_type", TEXT, "", "Kind of taxpayer identifier: Nip, InternalId or NipVatUe"),
    Column("context_id", TEXT, "", "The taxpayer one logged in for"),
)
READ = (
    Column("unrecognised", TEXT, "", "JSON of the fields that the API sent and no column names"),
    Column("read_at", TIME, "", "KSeF's time when the answer was received", True),
)
STATUS = (
    Column("status_code", COUNT, "status.code", "KSeF's status code", True),
    Column("status_description", TEXT, "status.description", "Its Polish description"),
    Column("status_details", TEXTS, "status.details", "Its details, a list of texts"),
)

SESSIONS = Table(
    "sessions",
    "One row per submission session, as KSeF last listed it. GET /sessions",
    ("context_type", "context_id", "reference_number"),
    (
        *TAXPAYER,
        Column("session_type", TEXT, "", "Online (interactive) or Batch", True),
        Column("reference_number", TEXT, "referenceNumber", "KSeF's name of the session", True),
        *STATUS,
        Column("date_created", TIME, "dateCreated", "When the session was opened", True),
        Column("date_updated", TIME, "dateUpdated", "Last activity, in whole seconds", True),
        Column("date_updated_text", TEXT, "dateUpdated", "The same as KSeF wrote it"),
        Column("valid_until", TIME, "validUntil", "KSeF closes the session after this moment"),
        Column(
            "total_invoice_count",
            COUNT,
            "totalInvoiceCount",
            "Invoices sent, those in process included",
            True,
        ),
        Column(
            "successful_invoice_count", COUNT, "successfulInvoiceCount", "Invoices accepted", True
        ),
        Column("failed_invoice_count", COUNT, "failedInvoiceCount", "Invoices rejected", True),
        *READ,
    ),
)

INVOICE = (
    *TAXPAYER,
    Column("session_reference_number", TEXT, "", "The session it was sent in"),
    Column("reference_number", TEXT, "referenceNumber", "KSeF's name of the submission", True),
    Column("ordinal_number", COUNT, "ordinalNumber", "Place in the session, from 1", True),
    Column("invoice_number", TEXT, "invoiceNumber", "The seller's number; often null when failed"),
    Column("ksef_number", TEXT, "ksefNumber", "KSeF number, given when accepted"),
    Column("invoice_hash", TEXT, "invoiceHash", "SHA-256 of the invoice's XML, Base64"),
    Column("invoice_file_name", TEXT, "invoiceFileName", "File in the package; batch only"),
    Column("invoicing_mode", TEXT, "invoicingMode", "Online or Offline"),
    Column("invoicing_date", TIME, "invoicingDate", "When KSeF took it in", True),
    Column("acquisition_date", TIME, "acquisitionDate", "When the KSeF number was given"),
    Column(
        "permanent_storage_date",
        TIME,
        "permanentStorageDate",
        "When it was stored for good; null for a while after acceptance",
    ),
    *STATUS,
    Column(
        "status_extensions",
        TEXT,
        "status.extensions",
        "JSON object; for duplicates the original's session and KSeF number",
    ),
    *READ,
)
INVOICE_KEY = ("context_type", "context_id", "session_reference_number", "reference_number")
SIGNED = frozenset({"upoDownloadUrl", "upoDownloadUrlExpirationDate"})

SESSION_INVOICES = Table(
    "session_invoices",
    "One row per invoice sent, as KSeF last told it. GET /sessions/{ref}/invoices",
    INVOICE_KEY,
    INVOICE,
    SIGNED,
)
FAILED_INVOICES = Table(
    "failed_invoices",
    "One row per failed invoice: a terminal status other than 200. "
    "GET /sessions/{ref}/invoices/failed, or the failed rows of /invoices",
    INVOICE_KEY,
    INVOICE,
    SIGNED,
)

INVOICE_READS = Table(
    "invoice_reads",
    "One row per session: what the last reading of its invoices found",
    ("context_type", "context_id", "session_reference_number"),
    (
        *TAXPAYER,
        Column("session_reference_number", TEXT, "", "The session"),
        Column("endpoint", TEXT, "", "invoices, or failed when only those were read", True),
        Column("session_date_updated", TIME, "", "date_updated of the session read for", True),
        Column("row_count", COUNT, "", "Invoices in the answer", True),
        Column("error", TEXT, "", "Why the reading failed; null when it did not"),
        Column("read_at", TIME, "", "KSeF's time when the last page was received", True),
    ),
)

API_REQUESTS = Table(
    "api_requests",
    "One row per run, taxpayer and group of endpoints: what the run spent of KSeF's limits",
    ("run_id", "context_type", "context_id", "api_group"),
    (
        Column("run_id", TEXT, "", "The run: when it began (UTC), and a random part"),
        *TAXPAYER,
        Column("api_group", TEXT, "", "KSeF's group of rate limits, e.g. sessionList"),
        Column("request_count", COUNT, "", "Requests sent, repeated ones included", True),
        Column("throttled_count", COUNT, "", "Answers HTTP 429", True),
        Column("retry_count", COUNT, "", "Requests repeated after a fault", True),
        Column("waited_s", pa.float64(), "", "Seconds waited for the limits", True),
        Column("received_bytes", pa.int64(), "", "Bytes of the answers' bodies", True),
        Column("hourly_limit", COUNT, "", "The group's limit an hour; -1 is none", True),
        Column(
            "requested_at",
            TEXTS,
            "",
            "When the requests of the last hour were sent, those of earlier runs included: "
            "the next run's windows begin with them",
        ),
        Column("read_at", TIME, "", "When this was written, by the client's clock", True),
    ),
)

SYNC_LOG = Table(
    "sync_log",
    "One row per run, taxpayer and part of the load: what was done, or why not",
    ("run_id", "context_type", "context_id", "resource"),
    (
        Column("run_id", TEXT, "", "The run: when it began (UTC), and a random part"),
        *TAXPAYER,
        Column("resource", TEXT, "", "login, sessions_online, sessions_batch or invoices"),
        Column("environment", TEXT, "", "The API's base URL", True),
        Column("started_at", TIME, "", "KSeF's time when the part began", True),
        Column("ended_at", TIME, "", "KSeF's time when the part ended", True),
        Column("modified_from", TIME, "", "Sessions: listed if changed since this moment"),
        Column("cursor_text", TEXT, "", "Sessions: the cursor the part ended with"),
        Column("page_count", COUNT, "", "Pages read", True),
        Column("row_count", COUNT, "", "Rows received", True),
        Column("changed_count", COUNT, "", "Sessions: those new or changed since last seen", True),
        Column("outcome", TEXT, "", "ok, out of time, failed, or warning", True),
        Column("message", TEXT, "", "The error or warning; null when all went well"),
        Column("read_at", TIME, "", "When this was written, by the client's clock", True),
    ),
)

TABLES = (SESSIONS, SESSION_INVOICES, FAILED_INVOICES, INVOICE_READS, API_REQUESTS, SYNC_LOG)


def taxpayer_stamps(context_type: str, context_id: str, read_at: datetime) -> dict[str, Any]:
    """Return the columns that every row of the API's tables carries."""
    return {"context_type": context_type, "context_id": context_id, "read_at": read_at}
