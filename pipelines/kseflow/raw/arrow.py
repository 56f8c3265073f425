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

from kseflow.errors import ContractViolation, shown

TEXT, TEXTS, FLAG = pa.string(), pa.list_(pa.string()), pa.bool_()
COUNT, BYTES, AMOUNT = pa.int32(), pa.int64(), pa.decimal128(18, 2)
DATE, TIME = pa.date32(), pa.timestamp("us", tz="UTC")

UNRECOGNISED = "unrecognised"
NONE = type(None)
# Of other types Arrow would cut fractions off, or take a text for a list of letters.
STRICT = {COUNT: {int, NONE}, BYTES: {int, NONE}, TEXTS: {list, NONE}}
MISFITS = (pa.ArrowException, TypeError, ValueError, OverflowError)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One column; `api_field` is its path in the API's item, empty when the load stamps it.

    `staged_as` is its name in staging and the marts, where that is another one; `is_json` says
    that the API sends objects or lists, which are stored as text.
    """

    name: str
    type: pa.DataType
    api_field: str
    description: str
    is_required: bool = False
    staged_as: str = ""
    is_json: bool = False

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

    def newest(self, rows: pa.Table) -> pa.Table:
        """Return one row for each key, the one read last; of two read at once, the later."""
        rows = rows.take(pc.sort_indices(rows, [("read_at", "ascending")]))  # keeps their order
        places = pa.array(range(rows.num_rows), pa.int64())
        keyed = rows.select(self.key).append_column("place", places).group_by(list(self.key))
        return rows.take(keyed.aggregate([("place", "max")])["place_max"].sort())

    def arrow_from_api(self, items: Sequence[Row], **stamps: Any) -> pa.Table:
        """Build an Arrow table of API items; `stamps` fill the columns the API does not send.

        A value that does not fit its column is kept in `unrecognised`, as `path.of.the.field`.
        Raises `ContractViolation`, naming item and field, when a required field is missing or
        does not fit.
        """
        if odd := [item for item in items if not isinstance(item, dict)]:
            raise ContractViolation(f"{self.name}: {shown(odd[0])} stands where an object should")
        misfits: list[dict[str, Any]] = [{} for _ in items]
        arrays = {
            column.name: _array([stamps[column.name]] * len(items), column.type)
            if column.name in stamps
            else self._column(column, items, misfits)
            for column in self.columns
            if column.name != UNRECOGNISED
        }
        if UNRECOGNISED in self.schema.names:
            found = map(self._unrecognised, items, misfits)
            arrays[UNRECOGNISED] = pa.array(found, TEXT)
        return pa.table([arrays[column.name] for column in self.columns], schema=self.schema)

    def _column(
        self, column: Column, items: Sequence[Row], misfits: list[dict[str, Any]]
    ) -> pa.Array:
        """Return one column of the items; what does not fit it, and may lack, goes to `misfits`."""
        values = [_at(item, column.path) for item in items]
        if column.is_required and None in values:
            raise self._violation(items[values.index(None)], column, "is missing")
        try:
            return _api_array(values, column)
        except MISFITS:
            pass
        for place, value in enumerate(values):
            if not _fits(value, column):
                if column.is_required:
                    raise self._violation(items[place], column, f"is {shown(value)}")
                misfits[place][column.api_field], values[place] = value, None
        return _api_array(values, column)

    def good_from_api(
        self, items: Sequence[Row], **stamps: Any
    ) -> tuple[pa.Table, ContractViolation | None]:
        """Build a table of the good API items; tell what is wrong with the first bad one."""
        try:
            return self.arrow_from_api(items, **stamps), None
        except ContractViolation as violation:
            good = [item for item in items if self.accepts(item)]
            return self.arrow_from_api(good, **stamps), violation

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

    def _unrecognised(self, item: Row, misfits: dict[str, Any]) -> str | None:
        """Return what no column could take as JSON text, None when there is nothing."""
        extra = dict(misfits)
        for parent, names in self._known.items():
            nested = _at(item, parent)
            if isinstance(nested, dict) and (unknown := nested.keys() - names):
                fields = {name: nested[name] for name in unknown}
                extra |= {".".join(parent): fields} if parent else fields
        if not extra:
            return None
        return _json_text(extra)

    def _violation(self, item: Row, column: Column, trouble: str) -> ContractViolation:
        names = (item.get(key) for key in ("referenceNumber", "ksefNumber"))
        name = next((n for n in names if isinstance(n, str) and n), "an item without a number")
        return ContractViolation(f"{self.name}: field {column.api_field} of {name} {trouble}")


def _at(item: Any, path: Iterable[str]) -> Any:
    for name in path:
        item = item.get(name) if isinstance(item, dict) else None
    return item


def _api_array(values: list[Any], column: Column) -> pa.Array:
    """Make a column of what the API sent; raises one of `MISFITS` for what is of another kind."""
    if column.is_json:
        return pa.array(map(_json_of, values), TEXT)
    kinds = {*map(type, values)}
    if not kinds <= STRICT.get(column.type, kinds):
        raise TypeError("what Arrow would take, and change")
    if column.type in (TEXT, TIME, DATE):  # Arrow would take numbers as time since 1970
        pa.array(values, TEXT)
    return _array(values, column.type)


def _json_of(value: Any) -> str | None:
    if value is not None and not isinstance(value, dict | list):
        raise TypeError("neither an object nor a list")
    return None if value is None else _json_text(value)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind is TIME and any(isinstance(value, str) for value in values):
        # KSeF sends up to 7 decimals; Arrow keeps 9, the warehouse 6: cut here, on purpose.
        return pc.cast(pc.cast(pa.array(values, TEXT), pa.timestamp("ns", tz="UTC")), TIME, False)
    if kind is DATE:
        return pc.cast(pa.array(values, TEXT), DATE)
    if kind is AMOUNT:  # JSON numbers with two decimals, which a double holds up to 10 trillion
        return pc.cast(pa.array(values, pa.float64()), AMOUNT)
    if kind is TEXT:
        values = [_json_text(v) if isinstance(v, dict | list) else v for v in values]
    return pa.array(values, kind)


def _fits(value: Any, column: Column) -> bool:
    try:
        _api_array([value], column)
    except MISFITS:
        return False
    return True


def _json_text(value: Any) -> str:
    """Write a value as JSON; one that is nested deeper than anything is only told of."""
    try:
        return orjson.dumps(_without_signed_urls(value), option=orjson.OPT_SORT_KEYS).decode()
    except (RecursionError, orjson.JSONEncodeError):
        return '"(nested too deep to be kept)"'


def _without_signed_urls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_signed_urls(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_signed_urls(part) for part in value]
    return "(signed URL left out)" if isinstance(value, str) and "sig=" in value else value
