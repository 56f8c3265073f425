"""From the API's JSON to Arrow, by the columns a table declares.

What the API sends and no column names is kept in `unrecognised`. Signed URLs are credentials:
they are left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from kseflow.errors import ContractViolation

TEXT, TEXTS, FLAG = pa.string(), pa.list_(pa.string()), pa.bool_()
COUNT, BYTES, AMOUNT = pa.int32(), pa.int64(), pa.decimal128(18, 2)
DATE, TIME = pa.date32(), pa.timestamp("us", tz="UTC")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One column; `api_field` is its path in the API's item, empty when the load stamps it.

    `staged_as` is its name in staging and the marts, where that is another one.
    """

    name: str
    type: pa.DataType
    api_field: str
    description: str
    is_required: bool = False
    staged_as: str = ""

    @cached_property
    def path(self) -> list[str]:
        return self.api_field.split(".")


@dataclass(frozen=True)
class Table:
    """One raw table: its key, its columns, and the API's fields (paths) that are left out."""

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    left_out: frozenset[str] = field(default=frozenset())

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema; key columns and required ones are not null."""
        return pa.schema(
            pa.field(c.name, c.type, nullable=not (c.is_required or c.name in self.key))
            for c in self.columns
        )

    @cached_property
    def hints(self) -> dict[str, dict[str, Any]]:
        """dlt's column hints: descriptions, and which of two rows with one key is kept."""
        return {
            c.name: {
                "name": c.name,
                "description": c.description,
                **({"dedup_sort": "desc"} if c.name == "read_at" else {}),
            }
            for c in self.columns
        }

    def arrow(self, rows: Iterable[Row]) -> pa.Table:
        """Build an Arrow table of rows that have the columns' own names; what lacks is null."""
        rows = list(rows)
        return pa.table(
            {c.name: pa.array([row.get(c.name) for row in rows], c.type) for c in self.columns},
            schema=self.schema,
        )

    def arrow_from_api(self, items: Sequence[Row], **stamps: Any) -> pa.Table:
        """Build an Arrow table of API items; `stamps` fill the columns the API does not send.

        Raises `ContractViolation`, naming item and field, when a required field is missing or a
        value does not fit its column.
        """
        if odd := [item for item in items if not isinstance(item, dict)]:
            raise ContractViolation(f"{self.name}: {odd[0]!r} stands where an object should")
        arrays = []
        for column in self.columns:
            if column.name in stamps:
                values = [stamps[column.name]] * len(items)
            elif column.name == "unrecognised":
                values = [self._unrecognised(item) for item in items]
            else:
                values = [_at(item, column.path) for item in items]
                if column.is_required and None in values:
                    raise self._violation(items[values.index(None)], column, "is missing")
            try:
                arrays.append(_array(values, column.type))
            except (pa.ArrowException, TypeError, OverflowError) as error:
                odd = next(v for v in values if not _fits(v, column.type))
                item = items[values.index(odd)]
                raise self._violation(item, column, f"is {odd!r}") from error
        return pa.table(arrays, schema=self.schema)

    def accepts(self, item: Row) -> bool:
        """Tell whether an API item has every required field, each of its type."""
        stamped = {c.name: None for c in self.columns if not c.api_field}
        try:
            self.arrow_from_api([item], **stamped)
        except ContractViolation:
            return False
        return True

    @cached_property
    def _known(self) -> dict[tuple[str, ...], frozenset[str]]:
        """The field names the columns know, by the path of the object they are in."""
        known: dict[tuple[str, ...], set[str]] = {(): set()}
        paths = [column.path for column in self.columns if column.api_field]
        for path in (*paths, *(name.split(".") for name in self.left_out)):
            for depth, name in enumerate(path):
                known.setdefault(tuple(path[:depth]), set()).add(name)
        return {parent: frozenset(names) for parent, names in known.items()}

    def _unrecognised(self, item: Row) -> str | None:
        """Return the fields that no column names as JSON text, None when there are none."""
        extra: dict[str, Any] = {}
        for parent, names in self._known.items():
            nested = _at(item, parent)
            if isinstance(nested, dict) and (unknown := nested.keys() - names):
                fields = {name: nested[name] for name in unknown}
                extra |= {".".join(parent): fields} if parent else fields
        if not extra:
            return None
        return orjson.dumps(_without_signed_urls(extra), option=orjson.OPT_SORT_KEYS).decode()

    def _violation(self, item: Row, column: Column, trouble: str) -> ContractViolation:
        names = (item.get(key) for key in ("referenceNumber", "ksefNumber"))
        name = next(filter(None, names), "an item without a number")
        return ContractViolation(f"{self.name}: field {column.api_field} of {name} {trouble}")


def _at(item: Any, path: Iterable[str]) -> Any:
    for name in path:
        item = item.get(name) if isinstance(item, dict) else None
    return item


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind is TIME and any(isinstance(value, str) for value in values):
        # KSeF sends up to 7 decimals; Arrow keeps 9, the warehouse 6: cut here, on purpose.
        return pc.cast(pc.cast(pa.array(values, TEXT), pa.timestamp("ns", tz="UTC")), TIME, False)
    if kind is DATE:
        return pc.cast(pa.array(values, TEXT), DATE)
    if kind is AMOUNT:  # JSON numbers with two decimals, which a double holds up to 10 trillion
        return pc.cast(pa.array(values, pa.float64()), AMOUNT)
    if kind is TEXT and any(isinstance(value, dict | list) for value in values):
        values = [None if value is None else orjson.dumps(value).decode() for value in values]
    return pa.array(values, kind)


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        _array([value], kind)
    except (pa.ArrowException, TypeError, OverflowError):
        return False
    return True


def _without_signed_urls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_signed_urls(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_signed_urls(part) for part in value]
    return "(signed URL left out)" if isinstance(value, str) and "sig=" in value else value
