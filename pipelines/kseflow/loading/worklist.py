"""What the warehouse still lacks: KSeF's counters against the rows stored.

The answer is computed from the loaded tables alone, so it survives lost state and repairs gaps
by itself, and it is at the same time the proof of completeness.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from kseflow.constants import OPEN_SESSION_REACH, OPEN_STATUS_CODES, UNSETTLED_REACH
from kseflow.context import Context
from kseflow.database import in_memory
from kseflow.loading.agenda import Agenda, Plan, Row, invoice_page_count, is_past, queued
from kseflow.loading.lacking import AWAITED, FOLLOWED, LACKING_SQL, LISTED
from kseflow.raw.tables import FAILED_INVOICES, SESSION_INVOICES, SESSIONS, UPO_DOCUMENTS

COMPARED = (
    "reference_number",
    "status_code",
    "date_updated",
    "total_invoice_count",
    "successful_invoice_count",
    "failed_invoice_count",
)
DATE_UPDATED = COMPARED.index("date_updated")
Known = dict[str, tuple[Any, ...]]  # by reference, the columns COMPARED

INVOICE_TABLES = frozenset({SESSION_INVOICES.name, FAILED_INVOICES.name, UPO_DOCUMENTS.name})


TOLD = tuple(name for name in LISTED.names if name not in SESSIONS.key)
# What may be stored and is not followed waits for the next load, which looks it up.
NOTE_SQL = f"""
insert into followed by name
select {", ".join(LISTED.names)} from arrow_rows as listed
where
    not coalesce(date_created >= $earliest and date_created < $since, false)
    or exists (
        from followed
        where {" and ".join(f"followed.{name} = listed.{name}" for name in SESSIONS.key)}
    )
on conflict ({", ".join(SESSIONS.key)}) do update set
    {", ".join(f"{name} = excluded.{name}" for name in TOLD)}
"""


@dataclass(frozen=True)
class List:
    """What is stored of one list of sessions, and since when its changes are followed.

    `earliest` is when the oldest session was created.
    """

    earliest: datetime
    since: datetime


Lists = Mapping[tuple[str, str, str], List]  # by taxpayer (two columns) and type of sessions


class Worklist:
    """The sessions to follow of a warehouse: those that lack something or may be listed again.

    `followed` are rows of `FOLLOWED_SQL`, `awaited` of `AWAITED_SQL`; `lists` tell by taxpayer
    and type of sessions which others are stored.
    """

    def __init__(
        self,
        followed: pa.Table | None = None,
        awaited: pa.Table | None = None,
        lists: Lists | None = None,
    ) -> None:
        self._db = in_memory()
        for name, rows, schema in (("followed", followed, FOLLOWED), ("awaited", awaited, AWAITED)):
            rows = schema.empty_table() if rows is None else rows
            self._with_rows(rows, f"create table {name} as from arrow_rows")
        self._db.execute(f"alter table followed add primary key ({', '.join(SESSIONS.key)})")
        self._lists = lists or {}
        self._changed: set[tuple[str, str]] = set()  # taxpayers of whom something new was listed
        self._oldest_open: dict[tuple[str, str, str], datetime] | None = None  # at first
        self._lacking_at_first: dict[tuple[str, bool], _Apart] = {}

    def _with_rows(self, rows: pa.Table, sql: str, **parameters: Any) -> None:
        self._db.register("arrow_rows", rows)
        self._db.execute(sql, parameters) if parameters else self._db.execute(sql)
        self._db.unregister("arrow_rows")

    def known(self, context: Context, session_type: str, since: datetime) -> Known:
        """Return what is known of the sessions that changed since a moment, by reference."""
        rows = self._db.execute(
            f"select {', '.join(COMPARED)} from followed where context_type = ? "
            "and context_id = ? and session_type = ? and date_updated >= ?",
            [context.type, context.id, session_type, since],
        ).fetchall()
        return {row[0]: row for row in rows}

    def note_listed(self, context: Context, sessions: pa.Table, known: Known) -> int:
        """Take in sessions listed just now, in place of earlier rows; count the changed ones."""
        rows = list(zip(*(sessions[name].to_pylist() for name in COMPARED), strict=True))
        changed = [place for place, row in enumerate(rows) if known.get(row[0]) != row]
        if changed:
            stored = self._lists.get(
                (context.type, context.id, sessions["session_type"][0].as_py())
            )
            self._with_rows(
                sessions.take(changed),
                NOTE_SQL,
                earliest=stored and stored.earliest,
                since=stored and stored.since,
            )
            self._changed.add((context.type, context.id))
        known.update((row[0], row) for row in rows)
        return len(changed)

    def oldest_open(self, context: Context, session_type: str, now: datetime) -> datetime | None:
        """Return the oldest date_updated of the sessions still open, not older than the reach."""
        if self._oldest_open is None:
            found = self._db.execute(
                "select context_type, context_id, session_type, min(date_updated) from followed "
                f"where status_code in {OPEN_STATUS_CODES} and date_updated >= ? group by all",
                [now - OPEN_SESSION_REACH],
            ).fetchall()
            self._oldest_open = {row[:3]: row[3] for row in found}
        return self._oldest_open.get((context.type, context.id, session_type))

    def reach(self, context: Context, session_type: str, since: datetime, count: int) -> datetime:
        """Return since when no more than `count` known sessions changed, not before `since`."""
        found = self._db.execute(
            "select date_updated from followed where context_type = ? and context_id = ? "
            "and session_type = ? and date_updated >= ? "
            "order by date_updated desc limit 1 offset ?",
            [context.type, context.id, session_type, since, count],
        ).fetchone()
        return found[0] if found else since

    def lacking(
        self,
        context: Context | None = None,
        *,
        in_progress: str = "failed",
        receipts: bool = False,
    ) -> pa.Table:
        """Return one row per session that lacks something, most valuable first.

        Of one taxpayer, or of all; with `receipts`, also those that lack only theirs.
        `due_at` is the moment it should be read again: past means now, null means not again;
        `receipt_due_at` is the same for its receipt.
        """
        parameters = {
            "all_of_open": in_progress == "all",
            "unsettled_reach": UNSETTLED_REACH,
            "context_type": context and context.type,
            "context_id": context and context.id,
            "receipts": receipts,
        }
        return self._db.sql(LACKING_SQL, params=parameters).to_arrow_table()

    def agenda(
        self,
        context: Context,
        now: datetime,
        *,
        tables: Collection[str] = INVOICE_TABLES,
        in_progress: str = "failed",
        detail: str = "auto",
        budget: int | None = None,
        singles_a_list: float = 0.0,
    ) -> Agenda:
        """Return what to read of the taxpayer now for `tables`: failures, then the oldest change.

        When reading all rows takes more than `budget` requests, the failures of large sessions
        are read by themselves, and with `detail="auto"` accepted invoices through receipts. One
        request for a list is worth `singles_a_list` for single invoices.
        """
        wants_rows, wants_receipts = SESSION_INVOICES.name in tables, UPO_DOCUMENTS.name in tables
        rows = self._lacking_rows(context, in_progress, wants_receipts and not wants_rows)
        self._add_awaited(context, rows, singles_a_list if wants_rows else 0.0)
        lists = [row for row in rows if is_past(row["due_at"], now) and not row["awaited"]]
        cost = sum(invoice_page_count(row) for row in lists if not row["is_failed_only"])
        is_short = not wants_rows or (budget is not None and cost > budget)
        plan = Plan(
            now,
            wants_rows,
            wants_failures=set(tables) != {UPO_DOCUMENTS.name},
            is_short=is_short,
            by_receipt=wants_receipts and (not wants_rows or (is_short and detail == "auto")),
        )
        return queued(rows, plan)

    def _lacking_rows(self, context: Context, in_progress: str, receipts: bool) -> list[Row]:
        """Return the rows of `lacking`; of all taxpayers at once as long as nothing has changed."""
        key = context.type, context.id
        if key in self._changed:
            found_now = self.lacking(context, in_progress=in_progress, receipts=receipts)
            return list(found_now.to_pylist())
        options = in_progress, receipts
        if options not in self._lacking_at_first:
            rows = self.lacking(in_progress=in_progress, receipts=receipts)
            self._lacking_at_first[options] = _Apart(rows)
        return self._lacking_at_first[options].of(key)

    def _add_awaited(self, context: Context, rows: list[Row], singles_a_list: float) -> None:
        """Add to each row its invoices that await their end, where to ask for them costs less."""
        waiting = [row for row in rows if not row["missing_count"] and row["unsettled_count"]]
        found: dict[str, list[str]] = {}
        if waiting and singles_a_list > 0:
            sql = (
                "select session_reference_number, reference_number from awaited "
                "where context_type = ? and context_id = ? order by all"
            )
            for session, invoice in self._db.execute(sql, [context.type, context.id]).fetchall():
                found.setdefault(session, []).append(invoice)
        for row in rows:
            references = found.get(row["reference_number"], [])
            is_known = not row["missing_count"] and len(references) == row["unsettled_count"]
            is_cheaper = len(references) < singles_a_list * invoice_page_count(row)
            row["awaited"] = tuple(references) if is_known and is_cheaper else ()


class _Apart:
    """Rows of many taxpayers, of which one's become Python only when they are asked for."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self._places: dict[tuple[str, str], list[int]] = {}
        owners = zip(
            *(rows[name].to_pylist() for name in ("context_type", "context_id")), strict=True
        )
        for place, owner in enumerate(owners):
            self._places.setdefault(owner, []).append(place)

    def of(self, owner: tuple[str, str]) -> list[Row]:
        places = pa.array(self._places.get(owner, ()), pa.int64())
        return list(self._rows.take(places).to_pylist())
