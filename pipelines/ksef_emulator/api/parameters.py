"""Query and path parameters, refused in the words of .NET and FluentValidation.

Source: GET /sessions (parameters); texts as reported in CIRFMF/ksef-api #130 and #302
"""

from __future__ import annotations

import re
from datetime import datetime

from werkzeug.datastructures import MultiDict

from ksef_emulator.api.errors import BadRequest
from ksef_emulator.clock import WARSAW, to_ticks

SESSION_TYPES = ("Online", "Batch")
STATUSES = ("InProgress", "Succeeded", "Failed", "Cancelled")

NIP = r"[1-9]((\d[1-9])|([1-9]\d))\d{7}"
KSEF_NUMBER = (
    rf"{NIP}-(20[2-9]\d|2[1-9]\d\d|[3-9]\d{{3}})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
    r"-[0-9A-F]{6}-?[0-9A-F]{6}-[0-9A-F]{2}"
)

_DATE_TIME = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,7}))?(Z|[+-]\d\d:\d\d)?", re.ASCII
)

Query = MultiDict[str, str]


def page_size(query: Query) -> int:
    """Read pageSize, 10 to 1000 and 10 by default."""
    value = query.get("pageSize", "10")
    if not re.fullmatch(r"[+-]?\d{1,9}", value, re.ASCII):
        raise _not_valid(value, "PageSize")
    size = int(value)
    if not 10 <= size <= 1000:
        raise BadRequest(21405, f"'pageSize' must be between 10 and 1000. You entered {size}.")
    return size


def session_type(query: Query) -> str:
    """Read the required sessionType."""
    if "sessionType" not in query:
        raise BadRequest(21405, "The SessionType field is required.")
    return _one_of(SESSION_TYPES, query["sessionType"], "SessionType")


def statuses(query: Query) -> frozenset[str]:
    """Read the repeated parameter statuses; none given means all."""
    values = query.getlist("statuses")
    return frozenset(_one_of(STATUSES, value, "Statuses") for value in values or STATUSES)


def moment(query: Query, name: str) -> int | None:
    """Read a date in ticks; one without an offset is Polish time."""
    value = query.get(name)
    if value is None:
        return None
    try:
        return read_moment(value)
    except ValueError:
        raise _not_valid(value, name[0].upper() + name[1:]) from None


def read_moment(text: str) -> int:
    """Read an ISO 8601 date in ticks, Polish time where it has no offset. Raises ValueError."""
    match = _DATE_TIME.fullmatch(text)
    if not match:
        raise ValueError(text)
    seconds, fraction, offset = match.groups()
    parsed = datetime.fromisoformat(seconds + (offset or ""))
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=WARSAW)
    try:
        return to_ticks(parsed) + int((fraction or "0").ljust(7, "0"))
    except OverflowError:
        raise ValueError(text) from None


def reference(value: str, name: str = "referenceNumber") -> str:
    """Check the form of a reference number."""
    if len(value) != 36:
        raise BadRequest(21405, f"'{name}' is not in the correct format.")
    return value


def ksef_number(value: str) -> str:
    """Check the form of a KSeF number."""
    if not re.fullmatch(KSEF_NUMBER, value, re.ASCII):
        raise BadRequest(21405, "'ksefNumber' is not in the correct format.")
    return value


def _one_of(allowed: tuple[str, ...], value: str, field: str) -> str:
    if value not in allowed:
        raise _not_valid(value, field)
    return value


def _not_valid(value: str, field: str) -> BadRequest:
    return BadRequest(21405, f"The value '{value}' is not valid for {field}.")
