"""The body of an export request, refused in the words of .NET where it is malformed.

Source: POST /invoices/exports (InvoiceExportRequest, InvoiceQueryFilters)
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from ksef_emulator.api.errors import BadRequest, Problems, Unreadable
from ksef_emulator.api.parameters import KSEF_NUMBER, NIP, read_moment
from ksef_emulator.clock import HOUR
from ksef_emulator.world.rows import DateType, Row
from ksef_emulator.world.taxpayers import SubjectType

Value = TypeVar("Value")

LONGEST_SPAN = 100 * 24 * HOUR
"""Since 2.7.1 (#854)."""

SUBJECT_TYPES = ("Subject1", "Subject2", "Subject3", "SubjectAuthorized")
DATE_TYPES = ("PermanentStorage", "Invoicing", "Issue")
INVOICE_TYPES = (
    *("Vat", "Zal", "Kor", "Roz", "Upr", "KorZal", "KorRoz"),
    *("VatPef", "VatPefSp", "KorPef", "VatRr", "KorVatRr"),
)
AMOUNTS = {"Brutto": "grossAmount", "Netto": "netAmount", "Vat": "vatAmount"}

Matches = Callable[[Row], bool]


@dataclass(frozen=True)
class Fields:
    """An object of the body, where it lies in it, and what is wrong with the body so far."""

    values: Mapping[str, Any]
    path: str = ""
    problems: Problems = field(default_factory=Problems)

    def get(self, name: str) -> Any:
        return self.values.get(name)

    def name(self, name: str) -> str:
        """Name a field from the top of the body on, as KSeF does."""
        return f"{self.path}.{name}".lstrip(".")

    def read(self, reader: Callable[..., Value], *arguments: object) -> Value:
        """Read something of the object with a reader that takes it first."""
        return self.problems.read(reader, self, *arguments)


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


def read_export_request(body: Mapping[str, Any], *, now: int) -> ExportRequest:
    """Read the body of POST /invoices/exports. Raises BadRequest 21405 with all that is wrong."""
    whole = Fields(body)
    encryption, filters = _object(whole, "encryption"), _object(whole, "filters")
    subject_type = filters.read(_required, SUBJECT_TYPES, "subjectType")
    dates = _object(filters, "dateRange")
    date_type = dates.read(_required, DATE_TYPES, "dateType")
    low, high = dates.read(_bounds, now) or (0, None)
    request = ExportRequest(
        subject_type=cast(SubjectType, subject_type),
        date_type=cast(DateType, date_type),
        low=low,
        high=high,
        restrict=_flag(dates, "restrictToPermanentStorageHwmDate") is True
        and date_type == "PermanentStorage",
        matches=_all_of(_conditions(filters)),
        only_metadata=_flag(whole, "onlyMetadata", nullable=False) is True,
        compression_type=_one_of(whole, ("Zip", "TarGz"), "compressionType") or "Zip",
        encrypted_key=encryption.read(_bytes, "encryptedSymmetricKey"),
        initialization_vector=encryption.read(_vector),
        public_key_id=encryption.read(_text, "publicKeyId", r"[A-Za-z0-9+/]{43}="),
    )
    whole.problems.refuse()
    return request


def _bounds(dates: Fields, now: int) -> tuple[int, int | None]:
    low, high = _moment(dates, "from"), _moment(dates, "to")
    if low is None:
        raise _empty(dates, "from")
    if high is not None and high < low:
        wrong, other = dates.name("from"), dates.name("to")
        raise BadRequest(21405, f"'{wrong}' must be less than or equal to '{other}'.")
    if (now if high is None else high) - low > LONGEST_SPAN:
        raise BadRequest(21405, f"'{dates.path}' must not exceed 100 days.")
    # Nothing is older than 1970, and the first days of the calendar cannot be converted.
    return max(low, 0), None if high is None else max(high, 0)


def _conditions(filters: Fields) -> list[Matches]:
    """Read the filters on the metadata, those that are given."""
    equal = {
        "ksefNumber": filters.read(_text, "ksefNumber", KSEF_NUMBER),
        "invoiceNumber": filters.read(_text, "invoiceNumber", r"(?s:.{0,256})"),
        "invoicingMode": _one_of(filters, ("Online", "Offline"), "invoicingMode"),
        "isSelfInvoicing": _flag(filters, "isSelfInvoicing"),
        "hasAttachment": _flag(filters, "hasAttachment"),
    }
    seller = filters.read(_text, "sellerNip", NIP)
    form = _one_of(filters, ("FA", "PEF", "FA_RR"), "formType")
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
        raise _not_convertible(filters, name)
    for value in values:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise _not_convertible(filters, name)
    return [lambda row: row[field] in values] if values else []


def _amount(filters: Fields) -> list[Matches]:
    if filters.get("amount") is None:
        return []
    amount = _object(filters, "amount")
    field = AMOUNTS.get(amount.read(_required, tuple(AMOUNTS), "type"), "")
    low, high = _number(amount, "from"), _number(amount, "to")
    return [lambda row: (low is None or low <= row[field]) and (high is None or row[field] <= high)]


def _buyer(filters: Fields) -> list[Matches]:
    if filters.get("buyerIdentifier") is None:
        return []
    buyer = _object(filters, "buyerIdentifier")
    kind = buyer.read(_required, ("Nip", "VatUe", "Other", "None"), "type")
    value = buyer.read(_text, "value", r"(?s:.{0,50})")

    def matches(row: Row) -> bool:
        identifier = row["buyer"]["identifier"]
        return identifier["type"] == kind and value in (None, identifier.get("value"))

    return [matches]


def _object(fields: Fields, name: str) -> Fields:
    """Return an object of an object; what one lacks that is missing itself is nobody's problem."""
    value, path = fields.get(name), fields.name(name)
    if value is None:
        fields.read(_refuse_empty, name)
        return Fields({}, path)
    if not isinstance(value, dict):
        raise _not_convertible(fields, name)
    return Fields(value, path, fields.problems)


def _text(fields: Fields, name: str, pattern: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _not_convertible(fields, name)
    if not re.fullmatch(pattern, value, re.ASCII):
        raise BadRequest(21405, f"'{fields.name(name)}' is not in the correct format.")
    return value


def _one_of(fields: Fields, allowed: tuple[str, ...], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and value not in allowed:
        raise _not_convertible(fields, name)
    return cast("str | None", value)


def _required(fields: Fields, allowed: tuple[str, ...], name: str) -> str:
    return _one_of(fields, allowed, name) or _refuse_empty(fields, name)


def _flag(fields: Fields, name: str, *, nullable: bool = True) -> bool | None:
    value = fields.get(name)
    is_null = value is None and name in fields.values
    if not isinstance(value, bool | None) or (is_null and not nullable):
        raise _not_convertible(fields, name)
    return value


def _number(fields: Fields, name: str) -> float | None:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise _not_convertible(fields, name)
    return cast("float | None", value)


def _moment(fields: Fields, name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        return read_moment(value)
    except (TypeError, ValueError):
        raise _not_convertible(fields, name) from None


def _bytes(fields: Fields, name: str) -> bytes:
    value = fields.get(name)
    if value is None or value == "":
        raise _empty(fields, name)
    try:
        return b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise _not_convertible(fields, name) from None


def _vector(encryption: Fields) -> bytes:
    vector = _bytes(encryption, "initializationVector")
    if len(vector) != 16:
        name = encryption.name("initializationVector")
        raise BadRequest(21405, f"'{name}' must be 16 bytes long.")
    return vector


def _refuse_empty(fields: Fields, name: str) -> str:
    raise _empty(fields, name)


def _empty(fields: Fields, name: str) -> BadRequest:
    return BadRequest(21405, f"'{fields.name(name)}' must not be empty.")


def _not_convertible(fields: Fields, name: str) -> Unreadable:
    path = fields.name(name)
    return Unreadable(f"The JSON value could not be converted. Path: $.{path}.")
