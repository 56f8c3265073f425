"""A cursor: how far a list or exports have come, kept in dlt's state as texts."""

from datetime import UTC, datetime
from typing import Any

Cursor = dict[str, Any]


def cursor_text(moment: datetime) -> str:
    """Write a moment so that texts compare as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def moment(text: str) -> datetime:
    """Read a moment of a cursor."""
    return datetime.fromisoformat(text)
