"""The body of an export request, refused in the words of .NET where it is malformed.

Source: POST /invoices/exports (InvoiceExportRequest, InvoiceQueryFilters)
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from ksef_emulator.api.errors import BadRequest
from ksef_emulator.api.parameters import KSEF_NUMBER, NIP, read_moment
from ksef_emulator.clock import HOUR
from ksef_emulator.world.rows import DateType, Row
from ksef_emulator.world.taxpayers import SubjectType

LONGEST_SPAN = 100 * 24 * HOUR
"""Since 2.7.1 (#854)."""

SUBJECT_TYPES = ("Subject1", "Subject2", "Subject3", "SubjectAuthorized")
DATE_TYPES = ("PermanentStorage", "Invoicing", "Issue")
INVOICE_TYPES = (
    *("Vat", "Zal", "Kor", "Roz", "Upr", "KorZal", "KorRoz"),
    *("VatPef", "VatPefSp", "KorPef", "VatRr", "KorVatRr"),
)
AMOUNTS = {"Brutto": "grossAmount", "Netto": "netAmount", "Vat": "vatAmount"}

Fields = Mapping[str, Any]
Matches = Callable[[Row], bool]


@dataclass(frozen=True)
class ExportRequest:
    """What to export and how to encrypt it.

    `low` and `high` are ticks, inclusive; `high` is None for "until now". `matches` decides on a
    row of metadata.
    """

    subject_type: SubjectType
    date_type: DateType
    low: int
    high: int | None
    restrict: bool
    matches: Matches
    only_metadata: bool
    compression_type: str
    encrypted_key: bytes
    initialization_vector: bytes
    public_key_id: str | None


def read_export_request(body: Fields, *, now: int) -> ExportRequest:
    """Read the body of POST /invoices/exports. Raises BadRequest 21405."""
    encryption = _object(body, "encryption")
    filters = _object(body, "filters")
    dates = _object(filters, "dateRange", "filters")
    date_type = cast(DateType, _one_of(DATE_TYPES, dates, "dateType", required=True))
    low, high = _bounds(dates, now)
    vector = _bytes(encryption, "initializationVector")
    if len(vector) != 16:
        raise BadRequest(21405, "'Initialization Vector' must be 16 bytes long.")
    key_id = _text(encryption, "publicKeyId", r"[A-Za-z0-9+/]{43}=")
    return ExportRequest(
        subject_type=cast(
            SubjectType, _one_of(SUBJECT_TYPES, filters, "subjectType", required=True)
        ),
        date_type=date_type,
        low=low,
        high=high,
        restrict=_flag(dates, "restrictToPermanentStorageHwmDate") is True
        and date_type == "PermanentStorage",
        matches=_all_of(_conditions(filters)),
        only_metadata=_flag(body, "onlyMetadata", nullable=False) is True,
        compression_type=_one_of(("Zip", "TarGz"), body, "compressionType") or "Zip",
        encrypted_key=_bytes(encryption, "encryptedSymmetricKey"),
        initialization_vector=vector,
        public_key_id=key_id,
    )


def _bounds(dates: Fields, now: int) -> tuple[int, int | None]:
    low, high = _moment(dates, "from"), _moment(dates, "to")
    if low is None:
        raise BadRequest(21405, "'From' must not be empty.")
    if high is not None and high < low:
        raise BadRequest(21405, "'From' must be less than or equal to 'To'.")
    if (now if high is None else high) - low > LONGEST_SPAN:
        raise BadRequest(21405, "'dateRange' must not exceed 100 days.")
    # Nothing is older than 1970, and the first days of the calendar cannot be converted.
    return max(low, 0), None if high is None else max(high, 0)


def _conditions(filters: Fields) -> list[Matches]:
    """Read the filters on the metadata, those that are given."""
    equal = {
        "ksefNumber": _text(filters, "ksefNumber", KSEF_NUMBER),
        "invoiceNumber": _text(filters, "invoiceNumber", r"(?s:.{0,256})"),
        "invoicingMode": _one_of(("Online", "Offline"), filters, "invoicingMode"),
        "isSelfInvoicing": _flag(filters, "isSelfInvoicing"),
        "hasAttachment": _flag(filters, "hasAttachment"),
    }
    seller = _text(filters, "sellerNip", NIP)
    form = _one_of(("FA", "PEF", "FA_RR"), filters, "formType")
    wanted = {name: value for name, value in equal.items() if value is not None}
    conditions: list[Matches] = [lambda row: all(row[n] == v for n, v in wanted.items())]
    if seller is not None:
        conditions.append(lambda row: row["seller"]["nip"] == seller)
    if form is not None:
        conditions.append(lambda row: row["formCode"]["value"] == form)
    conditions += _any_of(filters, "currencyCodes", "currency", r"[A-Z]{3}")
    conditions += _any_of(filters, "invoiceTypes", "invoiceType", "|".join(INVOICE_TYPES))
    return [*conditions, *_amount(filters), *_buyer(filters)]


def _all_of(conditions: list[Matches]) -> Matches:
    return lambda row: all(condition(row) for condition in conditions)


def _any_of(filters: Fields, name: str, field: str, pattern: str) -> list[Matches]:
    values = filters.get(name)
    if values is None:
        return []
    if not isinstance(values, list):
        raise _not_convertible(name)
    chosen = {_text({name: value}, name, pattern) or _refuse(name) for value in values}
    return [lambda row: row[field] in chosen] if chosen else []


def _amount(filters: Fields) -> list[Matches]:
    amount = _object(filters, "amount", "filters", required=False)
    if amount is None:
        return []
    field = AMOUNTS[_one_of(tuple(AMOUNTS), amount, "type", required=True) or ""]
    low, high = _number(amount, "from"), _number(amount, "to")
    return [lambda row: (low is None or low <= row[field]) and (high is None or row[field] <= high)]


def _buyer(filters: Fields) -> list[Matches]:
    buyer = _object(filters, "buyerIdentifier", "filters", required=False)
    if buyer is None:
        return []
    kind = _one_of(("Nip", "VatUe", "Other", "None"), buyer, "type", required=True)
    value = _text(buyer, "value", r"(?s:.{0,50})")

    def matches(row: Row) -> bool:
        identifier = row["buyer"]["identifier"]
        return identifier["type"] == kind and value in (None, identifier.get("value"))

    return [matches]


def _object(fields: Fields, name: str, path: str = "", *, required: bool = True) -> Any:
    value = fields.get(name)
    if value is None and required:
        raise _empty(name)
    if value is not None and not isinstance(value, dict):
        raise _not_convertible(f"{path}.{name}".lstrip("."))
    return value


def _text(fields: Fields, name: str, pattern: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _not_convertible(name)
    if not re.fullmatch(pattern, value, re.ASCII):
        raise BadRequest(21405, f"'{_spaced(name)}' is not in the correct format.")
    return value


def _one_of(
    allowed: tuple[str, ...], fields: Fields, name: str, *, required: bool = False
) -> str | None:
    value = fields.get(name)
    if value is None and required:
        raise _empty(name)
    if value is not None and value not in allowed:
        raise _not_convertible(name)
    return cast("str | None", value)


def _flag(fields: Fields, name: str, *, nullable: bool = True) -> bool | None:
    value = fields.get(name)
    if not isinstance(value, bool | None) or (value is None and name in fields and not nullable):
        raise _not_convertible(name)
    return value


def _number(fields: Fields, name: str) -> float | None:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise _not_convertible(name)
    return value


def _moment(fields: Fields, name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        return read_moment(value)
    except (TypeError, ValueError):
        raise _not_convertible(f"filters.dateRange.{name}") from None


def _bytes(fields: Fields, name: str) -> bytes:
    value = fields.get(name)
    if value is None or value == "":
        raise _empty(name)
    try:
        return b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise _not_convertible(f"encryption.{name}") from None


def _refuse(name: str) -> str:
    raise _not_convertible(name)


def _empty(name: str) -> BadRequest:
    return BadRequest(21405, f"'{_spaced(name)}' must not be empty.")


def _not_convertible(path: str) -> BadRequest:
    return BadRequest(21405, f"The JSON value could not be converted. Path: $.{path}.")


def _spaced(name: str) -> str:
    """Write a name as FluentValidation does: dateRange as Date Range."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name[0].upper() + name[1:])
