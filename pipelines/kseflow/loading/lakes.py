"""What a pipeline's destination holds; tables of a lake are read by DuckDB as parquet.

DuckDB's own readers of both are extensions, which it would download.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
from dlt import Pipeline
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from kseflow.database import in_memory
from kseflow.loading.destinations import takes_of
from kseflow.loading.warehouse import Warehouse
from kseflow.raw.tables import TABLES


@contextmanager
def warehouse_of(pipeline: Pipeline) -> Iterator[Warehouse]:
    """Read whatever destination the pipeline writes, through one connection."""
    if table_format := takes_of(pipeline).table_format:
        with _opened(pipeline, table_format) as connection:
            yield Warehouse.of_connection(connection)
    else:
        with Warehouse.of_pipeline(pipeline) as warehouse:
            yield warehouse


@contextmanager
def _opened(pipeline: Pipeline, table_format: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the raw tables that are there, as they are now; queries read their rows."""
    with (
        TemporaryDirectory() as spilled,
        in_memory() as connection,
        pipeline.destination_client() as client,
    ):
        lake: Any = client
        connection.execute(f"set temp_directory = '{spilled}'")
        if not lake.config.is_local_filesystem:
            connection.register_filesystem(lake.fs_client)
        for table in TABLES:
            with suppress(DestinationUndefinedEntity):
                paths = _paths(lake.load_open_table(table_format, table.name), table_format)
                if lake.config.is_local_filesystem:
                    paths = [lake.fs_client._strip_protocol(path) for path in paths]
                if paths:
                    rows = connection.read_parquet(paths, union_by_name=True)
                    rows.create_view(table.name)
                else:
                    connection.register(table.name, table.arrow([]))
        yield connection


def _paths(table: Any, table_format: str) -> list[str]:
    """Return the files of a table's newest version, which hold its rows and no others."""
    if table_format == "delta":
        return list(table.file_uris())
    files = list(table.scan().plan_files())
    if any(file.delete_files for file in files):
        raise NotImplementedError(f"{table.name()}: rows deleted by another program than dlt")
    return [file.file.file_path for file in files]
