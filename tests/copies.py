"""The rows of a copy beside those that the emulated world tells, in one form to compare."""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

SESSION_FIELDS = {
    "reference_number": "referenceNumber",
    "session_type": "sessionType",
    "date_created": "dateCreated",
    "date_updated": "dateUpdated",
    "valid_until": "validUntil",
    "total_invoice_count": "totalInvoiceCount",
    "successful_invoice_count": "successfulInvoiceCount",
    "failed_invoice_count": "failedInvoiceCount",
}
INVOICE_FIELDS = {
    "reference_number": "referenceNumber",
    "ordinal_number": "ordinalNumber",
    "invoice_number": "invoiceNumber",
    "ksef_number": "ksefNumber",
    "invoice_hash": "invoiceHash",
    "invoice_file_name": "invoiceFileName",
    "invoicing_mode": "invoicingMode",
    "invoicing_date": "invoicingDate",
    "acquisition_date": "acquisitionDate",
    "permanent_storage_date": "permanentStorageDate",
}
DATES = {name for name in {**SESSION_FIELDS, **INVOICE_FIELDS} if "date" in name} | {"valid_until"}

Row = dict[str, Any]


def expected(item: Row, fields: dict[str, str]) -> Row:
    """Return what should be stored of an item of the API."""
    row: Row = {name: item.get(api_name) for name, api_name in fields.items()}
    for name in DATES & row.keys():
        if row[name] is not None:
            moment, offset = row[name].split("+")
            row[name] = datetime.fromisoformat(f"{moment[:26]}+{offset}")
    state = item["status"]
    row |= {"status_code": state["code"], "status_description": state["description"]}
    return row | {"details": state.get("details"), "extensions": state.get("extensions")}


def stored_rows(rows: Iterable[Row], fields: dict[str, str]) -> dict[tuple[str, ...], Row]:
    """Return stored rows in the form of `expected`, by taxpayer, session and reference."""
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        key = (row["context_id"], row.get("session_reference_number", ""), row["reference_number"])
        assert key not in found, f"{key} is stored twice"
        assert row["unrecognised"] is None
        kept = {name: row[name] for name in fields}
        kept |= {name: row[name] for name in ("status_code", "status_description")}
        details, extensions = row["status_details"], row.get("status_extensions")
        kept["details"] = json.loads(details) if details else None
        kept["extensions"] = json.loads(extensions) if extensions else None
        found[key] = kept
    return found


def rows_of(database: Path, sql: str) -> list[Row]:
    """Run a query on a database file."""
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        answer = connection.execute(sql)
        names = [column[0] for column in answer.description]
        return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
