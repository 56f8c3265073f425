"""One scheduled load into a DuckDB file: extract and commit piece by piece, then sum up."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dlt
from dlt import Pipeline
from dlt.common.pipeline import LoadInfo
from dlt.extract import DltSource

from kseflow.api.address import is_loopback
from kseflow.api.client import KsefClient
from kseflow.clock import TimeBox
from kseflow.constants import DATASET, LOCK_WAIT_S
from kseflow.database import locked, warehouse_error
from kseflow.errors import ConfigurationError, WarehouseError
from kseflow.loading.extraction import Extraction
from kseflow.loading.source import resources
from kseflow.loading.summary import LoadSummary
from kseflow.loading.warehouse import Warehouse
from kseflow.options import DEFAULTS, Options
from kseflow.raw.tables import TABLES

log = logging.getLogger(__name__)

PIPELINE = "ksef"


def load(
    clients: Sequence[KsefClient],
    database: Path,
    box: TimeBox,
    options: Options = DEFAULTS,
    *,
    only: Sequence[str] = (),
    lock_wait_s: float = LOCK_WAIT_S,
    watch: Callable[[Extraction], None] | None = None,
) -> LoadSummary:
    """Load what changed and what lacks for every client's taxpayer into `database`.

    Commits as it goes; a taxpayer that fails is reported in the summary and in `sync_log`.
    `watch` is given the extraction at its beginning, to show its progress.
    Raises `WarehouseError` when the database cannot be used.
    """
    unknown = set(only) - {table.name for table in TABLES}
    if unknown:
        raise ConfigurationError(f"--only {min(unknown)}: there is no such table")
    with locked(database, lock_wait_s):
        pipeline = pipeline_of(database)
        finish_pending(pipeline)
        check_environment(pipeline, clients)
        extraction = Extraction(clients, box, options)
        if watch is not None:
            watch(extraction)
        try:
            while not extraction.is_done:
                _run(pipeline, _source(extraction, only))
        finally:
            extraction.close()
        return _summary(extraction, database, box)


@dlt.source(name="ksef", section="ksef", max_table_nesting=0)
def _source(extraction: Extraction, only: Sequence[str]) -> Any:
    return resources(extraction, only=only, until_commit=True)


def pipeline_of(database: Path) -> Pipeline:
    """Return the dlt pipeline that writes `database`; its working files lie beside it."""
    return dlt.pipeline(
        PIPELINE,
        destination=dlt.destinations.duckdb(str(database)),
        dataset_name=DATASET,
        pipelines_dir=str(working_folder(database)),
    )


def working_folder(database: Path) -> Path:
    """Return where dlt keeps what it has extracted and not yet loaded."""
    return database.parent / f".{database.stem}-dlt"


def finish_pending(pipeline: Pipeline) -> None:
    """Load what an interrupted run had extracted: dlt would ignore new data before that."""
    if pipeline.has_pending_data:
        log.info("finishing the load that was interrupted")
        _run(pipeline, None)


def check_environment(pipeline: Pipeline, clients: Sequence[KsefClient]) -> None:
    """Refuse to mix two environments in one database; their cursors would hide sessions."""
    known = Warehouse.of_pipeline(pipeline).environments()
    known = {url for url in known if not is_loopback(url)}  # emulators change their port
    for client in clients:
        if known and client.base_url not in known and not is_loopback(client.base_url):
            raise WarehouseError(
                f"this database holds data of {min(known)}, not of {client.base_url}; "
                "use another --database for each environment"
            )


def _run(pipeline: Pipeline, source: DltSource | None) -> LoadInfo | None:
    """Run dlt and tell its troubles in plain English; what it had extracted stays pending."""
    try:
        return pipeline.run(source)
    except Exception as error:
        database = Path(str(pipeline.destination.config_params.get("credentials", "the database")))
        raise warehouse_error(error, database) from error


def _summary(extraction: Extraction, database: Path, box: TimeBox) -> LoadSummary:
    requests: dict[str, int] = {}
    waited_s = 0.0
    for client in extraction.clients:
        for group, spending in client.spending.items():
            requests[group] = requests.get(group, 0) + spending.request_count
            waited_s += spending.waited_s
    parts = [{"taxpayer": lane.client.context, **vars(lane.log)} for lane in extraction.lanes]
    failed = [part["taxpayer"] for part in parts if part["outcome"] == "failed"]
    return LoadSummary(
        run_id=extraction.run_id,
        database=database,
        started_at=box.started_at,
        ended_at=box.now(),
        parts=parts,
        request_counts=requests,
        waited_s=waited_s,
        failed_taxpayers=list(dict.fromkeys(failed)),
        is_stopped=box.is_stopped,
    )
