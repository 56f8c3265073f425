"""What was received and not yet committed: rows, and the cursors that they earned.

Rows and their cursor enter in one call without an await, so no interruption parts them.
"""

import asyncio
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass

import pyarrow as pa

from kseflow.api.limits import Gate
from kseflow.clock import TimeBox
from kseflow.constants import COMMIT_EVERY_S, COMMIT_ROWS, KEPT_ROWS
from kseflow.loading.cursor import Cursor
from kseflow.raw.arrow import Table
from kseflow.raw.tables import TABLES


@dataclass(frozen=True)
class Commit:
    """Rows by table, and all cursors as they were when the last of the rows came."""

    rows: list[tuple[Table, pa.Table]]
    cursors: dict[str, dict[str, Cursor]]
    is_last: bool


class Kept:
    """The open commit; while it is too large, no further request goes out."""

    def __init__(self, box: TimeBox, gate: Gate, cursors: dict[str, dict[str, Cursor]]) -> None:
        """Go on from `cursors`, by resource and key."""
        self._box = box
        self._gate = gate
        self._cursors = deepcopy(cursors)
        # Empty ones, so that each table exists after the first load, rows or none.
        self._rows: dict[Table, list[pa.Table]] = {t: [t.schema.empty_table()] for t in TABLES}
        self._row_count = 0
        self._committed_at = box.now()
        self._changed = asyncio.Event()
        self._is_over = False

    def keep(self, table: Table, rows: pa.Table, cursor: tuple[str, Cursor] | None = None) -> None:
        """Add rows, and the cursor (key and value) of the table's resource that they earned."""
        self._rows.setdefault(table, []).append(rows)
        self._row_count += rows.num_rows
        if cursor is not None:
            key, value = cursor
            self._cursors.setdefault(table.name, {})[key] = deepcopy(value)
        if self._row_count > KEPT_ROWS:
            self._gate.close()
        self._changed.set()

    def cursor(self, resource: str, key: str) -> Cursor:
        """Return a copy of a cursor, empty at first."""
        return deepcopy(self._cursors.get(resource, {}).get(key, {}))

    def end(self) -> None:
        """Say that nothing more will come."""
        self._is_over = True
        self._changed.set()

    async def due(self) -> None:
        """Wait until a commit is due: enough rows, or old ones, or the end."""
        while not self._is_over and self._row_count <= COMMIT_ROWS:
            age_s = (self._box.now() - self._committed_at).total_seconds()
            if self._row_count and age_s >= COMMIT_EVERY_S:
                return
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(COMMIT_EVERY_S - age_s if self._row_count else None):
                    await self._changed.wait()

    def take(self) -> Commit:
        """Hand over what was kept, one table of rows each: dlt takes as long for ten as for all."""
        rows = [(table, pa.concat_tables(parts)) for table, parts in self._rows.items()]
        self._rows, self._row_count = {}, 0
        self._committed_at = self._box.now()
        self._gate.open()
        return Commit(rows, deepcopy(self._cursors), self._is_over)
