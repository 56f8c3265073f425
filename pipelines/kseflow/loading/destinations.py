"""Which destinations take rows, and how: column types, merge strategy and file format of each."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import dlt
import orjson
import pyarrow as pa
from dlt import Pipeline

from kseflow.errors import ConfigurationError
from kseflow.raw.arrow import TEXT, TEXTS, Table
from kseflow.settings import unknown


@dataclass(frozen=True)
class Takes:
    """How a destination takes rows.

    `strategy` is how dlt merges them by their key: `delete-insert` forgives a key that comes
    twice, `upsert` does not. `table_format` is that of a lake on a filesystem, `file_format` that
    of dlt's working files. With `lists_as_json` lists are stored as JSON text. `module` is what
    `kseflow[extra]` brings.
    """

    strategy: Literal["delete-insert", "upsert"]
    table_format: Literal["delta", "iceberg"] | None = None
    file_format: Literal["parquet", "csv"] | None = None
    lists_as_json: bool = True
    module: str = "dlt"

    @property
    def is_lake(self) -> bool:
        return self.table_format is not None

    def hints(self) -> Any:
        """Return dlt's hints that hold for every table."""
        chosen = {"table_format": self.table_format, "file_format": self.file_format}
        return dlt.mark.make_hints(
            write_disposition={"disposition": "merge", "strategy": self.strategy},
            **{name: value for name, value in chosen.items() if value},  # type: ignore[arg-type]
        )

    def ready(self, table: Table, rows: pa.Table) -> pa.Table:
        """Return rows as the destination takes them."""
        if self.strategy == "upsert":
            rows = table.newest(rows)
        if self.lists_as_json:
            for place, column in enumerate(rows.schema):
                if column.type == TEXTS:
                    texts = pa.array(map(_json, rows[column.name].to_pylist()), TEXT)
                    rows = rows.set_column(place, pa.field(column.name, TEXT), texts)
        return rows


# What is tried: each runs the proofs of tests/destinations. PostgreSQL takes no lists as csv,
# which is its fastest format; the lakes merge by upsert alone.
TRIED = {
    "duckdb": Takes("delete-insert", lists_as_json=False),
    "postgres": Takes("delete-insert", file_format="csv", module="psycopg2"),
    "delta": Takes("upsert", table_format="delta", file_format="parquet", module="deltalake"),
    "iceberg": Takes("upsert", table_format="iceberg", file_format="parquet", module="pyiceberg"),
}
LAKES = ("delta", "iceberg")
REFUSED = {
    "filesystem": "plain files cannot merge rows, and every load would double some; "
    "use delta or iceberg, which are tables on a filesystem",
    "sqlalchemy": "SQLite and others through SQLAlchemy are not tried; use duckdb or postgres",
    "sqlite": "SQLite is not tried; use duckdb, which needs no server either",
}


def takes_of_name(name: str) -> Takes:
    """Return how a destination of `kseflow load` takes rows.

    Raises `ConfigurationError` for one that is not tried, or whose package is missing.
    """
    if name in REFUSED:
        raise ConfigurationError(f"--destination {name}: {REFUSED[name]}")
    if name not in TRIED:
        raise unknown(f"--destination {name}", name, TRIED, "destination that is tried")
    takes = TRIED[name]
    if find_spec(takes.module) is None:
        raise ConfigurationError(f"--destination {name} needs pip install 'kseflow[{name}]'")
    return takes


def takes_of(pipeline: Pipeline) -> Takes:
    """Return how the destination of somebody's pipeline takes rows.

    One that nobody tried takes them as dlt says. Raises `ConfigurationError` where rows would be
    doubled.
    """
    name = pipeline.destination.destination_name
    kind = pipeline.destination.destination_type.rpartition(".")[2]
    if kind == "filesystem":
        if name in LAKES:
            return TRIED[name]
        raise ConfigurationError(
            f"{REFUSED['filesystem']}: dlt.destinations.filesystem(URL, destination_name='delta')"
        )
    if kind in TRIED:
        return TRIED[kind]
    strategies = pipeline.destination.capabilities().supported_merge_strategies or ()
    for strategy in ("delete-insert", "upsert"):
        if strategy in strategies:
            return Takes(strategy)
    raise ConfigurationError(f"{kind} cannot merge rows, and every load would double some")


def _json(values: list[str] | None) -> str | None:
    return None if values is None else orjson.dumps(values).decode()
