"""From JSON to Arrow: nothing dropped, nothing guessed, no credential kept."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kseflow.errors import ContractViolation
from kseflow.raw.tables import SESSION_INVOICES, SESSIONS, TABLES

NOW = datetime(2026, 11, 17, tzinfo=UTC)
STAMPS = {
    "context_type": "Nip",
    "context_id": "5265877635",
    "session_reference_number": "S",
    "read_at": NOW,
}
INVOICE = {
    "ordinalNumber": 1,
    "referenceNumber": "20250918-EE-2F15D39000-242207E5C4-1B",
    "invoicingDate": "2025-09-18T12:23:56.0154302+00:00",
    "status": {"code": 200, "description": "Sukces"},
    "upoDownloadUrl": "https://ksef/storage?sig=secret",
    "upoDownloadUrlExpirationDate": "2025-09-21T14:54:20+00:00",
}


def row(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any]
    (made,) = SESSION_INVOICES.arrow_from_api([{**INVOICE, **changes}], **STAMPS).to_pylist()
    return made


def test_seven_decimals_are_cut_to_six_never_rounded() -> None:
    made = row(acquisitionDate="2025-09-18T12:23:56.9999999+02:00")
    assert made["acquisition_date"] == datetime(2025, 9, 18, 10, 23, 56, 999999, UTC)


def test_unknown_fields_are_kept_as_json_and_known_ones_are_not() -> None:
    assert row()["unrecognised"] is None
    status = {"code": 200, "description": "Sukces", "severity": "low"}
    assert row(colour="red", status=status)["unrecognised"] == (
        '{"colour":"red","status":{"severity":"low"}}'
    )


def test_signed_urls_are_never_kept() -> None:
    made = row(otherUrl={"href": ["https://x?sv=1&sig=abc"]})
    assert "sig=" not in str(made)
    assert "secret" not in str(made)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ordinalNumber": None}, "ordinalNumber of 20250918-EE-.* is missing"),
        ({"ordinalNumber": "one"}, "ordinalNumber of 20250918-EE-.* is 'one'"),
        ({"status": None}, "status.code of 20250918-EE-.* is missing"),
        ({"status": {"code": 2**40}}, "status.code"),
        ({"invoicingDate": "yesterday"}, "invoicingDate of 20250918-EE-.* is 'yesterday'"),
        ({"invoicingDate": "2025-09-18T12:23:56"}, "invoicingDate"),
        ({"referenceNumber": None}, "referenceNumber of"),
    ],
)
def test_a_value_against_the_contract_names_field_and_item(
    changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ContractViolation, match=problem):
        SESSION_INVOICES.arrow_from_api([INVOICE, {**INVOICE, **changes}], **STAMPS)


def test_an_item_that_is_no_object_is_a_violation() -> None:
    with pytest.raises(ContractViolation, match="stands where an object should"):
        SESSION_INVOICES.arrow_from_api(["20250918-EE"], **STAMPS)  # type: ignore[list-item]  # on purpose


def test_an_invoice_without_hash_is_accepted_as_in_the_official_example() -> None:
    assert row()["invoice_hash"] is None


def test_every_column_is_described_and_every_key_is_a_column() -> None:
    for table in TABLES:
        names = [column.name for column in table.columns]
        assert len(set(names)) == len(names)
        assert set(table.key) <= set(names)
        assert all(column.description for column in table.columns)


def test_extensions_are_json_text() -> None:
    status = {"code": 440, "description": "Duplikat", "extensions": {"originalKsefNumber": "1"}}
    assert row(status=status)["status_extensions"] == '{"originalKsefNumber":"1"}'


def test_sessions_need_their_counters() -> None:
    item = {
        "referenceNumber": "20250925-SO-2F67776000-97273B191A-65",
        "status": {"code": 200, "description": "ok"},
        "dateCreated": "2025-09-25T13:48:26.8700925+00:00",
        "dateUpdated": "2025-09-26T02:16:07+00:00",
        "totalInvoiceCount": 2,
        "successfulInvoiceCount": 2,
    }
    with pytest.raises(ContractViolation, match="failedInvoiceCount"):
        SESSIONS.arrow_from_api([item], session_type="Online", **STAMPS)
