"""Recorded rows: where they are listed, and what the warehouse's rows keep of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from kseflow.raw.arrow import Table
from kseflow.raw.tables import SESSION_INVOICES, SESSIONS
from tests.recorded.replay import Exchange, NotRecorded, call_of

TABLES = {"sessions": SESSIONS, "invoices": SESSION_INVOICES}


def rows_of(exchanges: list[Exchange]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield every recorded row of a list, with the list's name and the path it was asked at."""
    for exchange in exchanges:
        if exchange["method"] == "GET" and exchange["status"] == 200:
            body = exchange["body"]
            for kind in ("sessions", "invoices"):
                for row in body.get(kind, ()) if isinstance(body, dict) else ():
                    yield kind, call_of(exchange)[1], row


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each field of a row that is no object, with its path."""
    if not isinstance(value, dict):
        yield path, value
        return
    for key, part in value.items():
        yield from leaves(part, f"{path}.{key}".removeprefix("."))


def lost(row: dict[str, Any], table: Table, stored: dict[str, Any]) -> list[str]:
    """Return the fields of an API row whose value the warehouse's row does not hold."""
    unrecognised = dict(leaves(json.loads(stored["unrecognised"] or "{}")))
    columns = {c.api_field: c.name for c in table.columns if c.api_field}
    found = []
    for path, value in leaves(row):
        if path in table.left_out:
            continue
        kept = stored[columns[path]] if path in columns else unrecognised.get(path)
        if isinstance(value, list) and isinstance(kept, str):
            kept = json.loads(kept)  # lists are JSON in the warehouse
        if _plain(kept) != _plain(value):
            found.append(f"{path}: {value!r} became {kept!r}")
    return found


def _plain(value: Any) -> Any:
    """Return a moment of either side as text in microseconds, all else as it is."""
    if hasattr(value, "isoformat"):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, str) and value[10:11] == "T":
        moment, _, _ = value.partition("+")
        whole, _, ticks = moment.partition(".")
        return f"{whole}.{ticks[:6]:0<6}+00:00"
    return value


def listed(client: Any, kind: str, path: str) -> list[dict[str, Any]]:
    """Ask for a list again; of a recording that ends before the list does, what it holds."""
    steps, items = path.split("/"), []
    if kind == "sessions":
        asked = [client.sessions("Online"), client.sessions("Batch")]
    elif steps[-1] == "failed":
        asked = [client.failed_invoices(steps[3])]
    else:
        asked = [client.session_invoices(steps[3])]
    for pages in asked:
        with suppress(NotRecorded):
            for page in pages:
                items += page.items
    return items


def stored(row: dict[str, Any], kind: str, read_at: datetime) -> dict[str, Any]:
    """Return the warehouse's row of an API row."""
    stamps: dict[str, Any] = {c.name: "" for c in TABLES[kind].columns if not c.api_field}
    del stamps["unrecognised"]
    (found,) = TABLES[kind].arrow_from_api([row], **stamps | {"read_at": read_at}).to_pylist()
    return dict(found)
