"""What earlier runs left in the destination, and what it lacks: asked where the rows are."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta

import orjson

from kseflow.constants import MAX_TIME_S, OPEN_SESSION_REACH, SWEEP_COUNT, SWEEPS
from kseflow.context import Context
from kseflow.loading.cursor import Cursor, moment
from kseflow.loading.exports.windows import AskedExport
from kseflow.loading.lacking import (
    AWAITED,
    AWAITED_SQL,
    BOTH_STORED_SQL,
    FOLLOWED,
    FOLLOWED_SQL,
    LISTS_SQL,
    OF_LISTS,
    OR_SINCE,
    OR_UNCONFIRMED,
    REACH_SQL,
    STORED_SQL,
)
from kseflow.loading.listing import due_sweeps, listed_from
from kseflow.loading.reader import Reader, literal
from kseflow.loading.worklist import List, Lists, Worklist
from kseflow.raw.tables import (
    API_REQUESTS,
    EXPORT_PACKAGES,
    FAILED_INVOICES,
    INVOICE_READS,
    SESSION_INVOICES,
    SESSIONS,
    SYNC_LOG,
    UPO_DOCUMENTS,
    UPO_READS,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Warehouse(Reader):
    """The raw tables of one dataset, and what a load asks of them."""

    def worklist(
        self, *, with_failures: bool = True, receipts: bool = False, lists: Lists | None = None
    ) -> Worklist:
        """Return what the warehouse lacks compared with the counters it holds.

        Without `failed_invoices` where that table is not loaded (`with_failures`); with sessions
        that lack nothing but their receipt (`receipts`). With `lists`, which say since when
        sessions may be listed again, these are followed as well, and nobody else's are.
        """
        if lists == {} or self.columns(SESSIONS) is None:
            return Worklist()
        both = with_failures and self.columns(FAILED_INVOICES) is not None
        tables = (SESSIONS, SESSION_INVOICES, FAILED_INVOICES, INVOICE_READS, UPO_DOCUMENTS)
        sources = {table.name: self.source(table) for table in (*tables, UPO_READS)}
        sql = FOLLOWED_SQL.format(
            stored=(BOTH_STORED_SQL if both else STORED_SQL).format(**sources),
            of_lists=OF_LISTS.format(rows=_values(lists)) if lists else "",
            or_since=OR_SINCE if lists else "",
            or_unconfirmed=OR_UNCONFIRMED if receipts else "",
            **sources,
        )
        awaited = self.table(AWAITED_SQL.format(**sources), AWAITED)
        return Worklist(self.table(sql, FOLLOWED), awaited, lists)

    def lists(
        self,
        contexts: Collection[Context],
        cursors: Mapping[str, Cursor],
        since: datetime | None,
        now: datetime,
    ) -> dict[tuple[str, str, str], List]:
        """Return by taxpayer and type of sessions since when they may be listed now.

        Of those that the warehouse has; `cursors` are those of the lists, by `Share`'s keys.
        """
        soon = now + timedelta(seconds=MAX_TIME_S)  # a sweep may be due when its turn comes
        furthest = now - max(reach for reach, _ in SWEEPS)
        sql = LISTS_SQL.format(
            sessions="{}",
            open_since=literal(now - OPEN_SESSION_REACH),
            swept_since=literal(furthest),
        )
        found = {}
        for row in self.rows(sql, SESSIONS):
            context = Context(row["context_type"], row["context_id"])
            if context not in contexts:
                continue
            cursor = cursors.get(f"{context.type}:{context.id}:{row['session_type']}", {})
            key = context.type, context.id, str(row["session_type"])
            begin = listed_from(
                cursor,
                since,
                row["oldest_open"],
                due_sweeps(cursor, soon),
                self._reach(key, now, is_many=row["recent_count"] > SWEEP_COUNT),
            )
            if "listing" in cursor:
                begin = min(begin, moment(cursor["listing"]["modified_from"]))
            found[key] = List(row["earliest"], begin)
        return found

    def _reach(
        self, key: tuple[str, str, str], now: datetime, *, is_many: bool
    ) -> Callable[[timedelta], datetime]:
        """Return how far back a sweep of a list goes, as `Worklist.reach` will tell."""

        def reach(span: timedelta) -> datetime:
            names = ("context_type", "context_id", "session_type")
            which = dict(zip(names, map(literal, key), strict=True))
            since = literal(now - span)
            sql = REACH_SQL.format(sessions="{}", since=since, count=SWEEP_COUNT, **which)
            rows = self.rows(sql, SESSIONS) if is_many else []
            return rows[0]["date_updated"] if rows else now - span

        return reach

    def asked_exports(self, now: datetime) -> dict[tuple[Context, str], list[AskedExport]]:
        """Return the exports of the last day by taxpayer and subject type."""
        asked: dict[tuple[Context, str], list[AskedExport]] = {}
        sql = f"select * from {{}} where requested_at > '{(now - DAY).isoformat()}'"
        for row in self.rows(sql, EXPORT_PACKAGES):
            is_caught_up = (
                row["error"] is None
                and not row["is_effectively_truncated"]
                and row["requested_to"] is None
            )
            key = Context(row["context_type"], row["context_id"]), row["subject_type"]
            asked.setdefault(key, []).append(AskedExport(row["requested_at"], is_caught_up))
        return asked

    def exported_since(self) -> dict[tuple[Context, str], datetime]:
        """Return where the earliest window of any package begins, as above."""
        sql = (
            "select context_type, context_id, subject_type, min(requested_from) as since "
            "from {} group by 1, 2, 3"
        )
        return {
            (Context(row["context_type"], row["context_id"]), row["subject_type"]): row["since"]
            for row in self.rows(sql, EXPORT_PACKAGES)
        }

    def request_times(self, now: datetime) -> dict[tuple[Context, str], list[datetime]]:
        """Return when each taxpayer's requests of the last hour were sent, by group."""
        spent: dict[tuple[Context, str], set[datetime]] = {}
        # A run's name begins with its start: text that every warehouse compares alike.
        since = f"{now - DAY:%Y%m%dT%H%M%SZ}"
        for row in self.rows(f"select * from {{}} where run_id > '{since}'", API_REQUESTS):
            if row["read_at"] > now - HOUR:
                times = row["requested_at"]
                texts = orjson.loads(times) if isinstance(times, str) else times
                key = Context(row["context_type"], row["context_id"]), row["api_group"]
                moments = (datetime.fromisoformat(text) for text in texts)
                spent.setdefault(key, set()).update(m for m in moments if now - HOUR < m <= now)
        return {key: sorted(times) for key, times in spent.items()}

    def environments(self) -> set[str]:
        """Return the base URLs that this warehouse was loaded from."""
        sql = "select distinct environment from {}"
        return {row["environment"] for row in self.rows(sql, SYNC_LOG)}


def _values(lists: Lists) -> str:
    rows = ((*key, each.since.isoformat()) for key, each in lists.items())
    return ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
