"""One scheduled load: extract and commit piece by piece, then sum up."""

import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import dlt
from dlt import Pipeline
from dlt.extract import DltSource

from kseflow.api.address import is_loopback
from kseflow.api.client import KsefClient, make_clients
from kseflow.api.credentials import Credentials
from kseflow.clock import SystemClock, TimeBox
from kseflow.constants import LOCK_WAIT_S, MAX_TIME_S
from kseflow.database import causes, load_file
from kseflow.errors import ConfigurationError, WarehouseError
from kseflow.loading.extraction import Extraction
from kseflow.loading.lakes import warehouse_of
from kseflow.loading.places import File, Place, place_of
from kseflow.loading.resources import resources
from kseflow.loading.shards import begin_shard
from kseflow.loading.summary import LoadSummary
from kseflow.loading.taxpayer import load_share
from kseflow.logins import (
    configured_credentials,
    configured_environment,
    configured_options,
    forget_environment,
)
from kseflow.options import DEFAULTS, Options, with_options
from kseflow.settings import unknown
from kseflow.shard import Shard, refuse_another_split

log = logging.getLogger(__name__)

LOADABLE = (
    "sessions",
    "session_invoices",
    "failed_invoices",
    "upo_documents",
    "export_packages",
    "invoice_metadata",
)


@with_options
def load(
    database: Path = Path("ksef.duckdb"),
    *,
    destination: str = "",
    environment: str | None = None,
    credentials: Sequence[Credentials] | None = None,
    nips: Collection[str] = (),
    only: Sequence[str] = (),
    max_time_s: float | None = MAX_TIME_S,
    lock_wait_s: float = LOCK_WAIT_S,
    box: TimeBox | None = None,
    watch: Callable[[Extraction], None] | None = None,
    **options: Any,
) -> LoadSummary:
    """Load what changed since the last load, and what the database still lacks.

    `database` is the analysts' file, as for `kseflow.build`; the load writes its own beside it,
    or the `destination` that dlt's configuration describes: duckdb, postgres, delta or iceberg.
    `environment` (`production`, `demo`, `test` or a base URL), `credentials` and those of
    `Options` are the configured ones unless given; `nips` restricts to these identifiers, and
    `only` to these raw tables. `max_time_s` ends it in good time before the next one, and
    `box.stop()`, of a box given in its place, from another thread or a signal handler.
    A taxpayer that fails is in `failed_taxpayers` of what is returned, and the others are loaded.
    Raises `ConfigurationError` before anything is sent, and `WarehouseError` when the database
    cannot be used.
    """
    asked = configured_options(**options)
    shard = asked.shard
    refuse_another_split(database, shard)
    if credentials is None:
        credentials = configured_credentials(nips, shard)
    elif shard is not None:
        credentials = shard.own(credentials)
    box = box or TimeBox(SystemClock(), max_time_s)
    clients = make_clients(
        environment or configured_environment(),
        credentials,
        box,
        requests_in_flight=asked.requests_in_flight,
        size_factor=asked.size_factor,
        sharer_count=shard.count if shard else 1,
    )
    place = _place(database, destination, shard, lock_wait_s)
    return load_clients(clients, place, box, asked, only=only, lock_wait_s=lock_wait_s, watch=watch)


def _place(database: Path, destination: str, shard: Shard | None, lock_wait_s: float) -> Place:
    """Return where to write; what a shard's file has to begin with is brought there."""
    whole = load_file(database)
    if destination:
        if shard is not None:
            raise ConfigurationError(
                f"--shard {shard} shares taxpayers out among DuckDB files; a load with "
                f"--destination {destination} takes them all"
            )
        return place_of(whole, destination)
    if shard is None:
        return File(whole)
    file = load_file(shard.file(database))
    begin_shard(whole, file, shard, lock_wait_s)
    return File(file)


def load_clients(
    clients: Sequence[KsefClient],
    database: Path | Place,
    box: TimeBox,
    options: Options = DEFAULTS,
    *,
    only: Sequence[str] = (),
    lock_wait_s: float = LOCK_WAIT_S,
    watch: Callable[[Extraction], None] | None = None,
) -> LoadSummary:
    """Load what changed and what lacks for every client's taxpayer into a file or place.

    Commits as it goes; a taxpayer that fails is reported in the summary and in `sync_log`.
    `watch` is given the extraction at its beginning, to show its progress.
    Raises `WarehouseError` when the database cannot be used.
    """
    forget_environment()
    for name in sorted(set(only) - set(LOADABLE)):
        raise unknown(f"--only {name}", name, LOADABLE, "table")
    if options.xml_folder is not None and options.xml_folder.is_file():
        raise ConfigurationError(f"xml_folder {options.xml_folder} is a file; name a folder")
    place = File(database) if isinstance(database, Path) else database
    with place.held(lock_wait_s) as while_waiting:
        pipeline = place.pipeline()
        check_environment(place, pipeline, clients)
        extraction = Extraction(clients, box, options, load_share)
        extraction.while_waiting = while_waiting
        if watch is not None:
            watch(extraction)
        try:
            while not extraction.is_done:
                _run(place, pipeline, _source(extraction, only))
        finally:
            extraction.close()
        return _summary(extraction, place, box)


@dlt.source(name="ksef", section="ksef", max_table_nesting=0)
def _source(extraction: Extraction, only: Sequence[str]) -> Any:
    return resources(extraction, only=only, until_commit=True)


def check_environment(place: Place, pipeline: Pipeline, clients: Sequence[KsefClient]) -> None:
    """Refuse to mix two environments in one database; their cursors would hide sessions."""
    try:
        with warehouse_of(pipeline) as warehouse:
            known = warehouse.environments()
    except Exception as error:
        raise place.trouble(error) from error
    known = {url for url in known if not is_loopback(url)}  # emulators change their port
    for client in clients:
        if known and client.base_url not in known and not is_loopback(client.base_url):
            raise WarehouseError(
                f"this database holds data of {min(known)}, not of {client.base_url}; "
                "use another --database for each environment"
            )


def _run(place: Place, pipeline: Pipeline, source: DltSource) -> None:
    """Run dlt and tell its troubles in plain English."""
    try:
        pipeline.run(source)
    except Exception as error:
        if any(isinstance(cause, KeyboardInterrupt) for cause in causes(error)):
            raise KeyboardInterrupt from error  # dlt makes a failed step of it
        raise place.trouble(error) from error


def _summary(extraction: Extraction, place: Place, box: TimeBox) -> LoadSummary:
    requests: dict[str, int] = {}
    waited_s = 0.0
    for client in extraction.clients:
        for group, spending in client.spending.items():
            requests[group] = requests.get(group, 0) + spending.request_count
            waited_s += spending.waited_s
    logs = [{"taxpayer": lane.client.context, **vars(lane.log)} for lane in extraction.lanes]
    failed = [log["taxpayer"] for log in logs if log["outcome"] == "failed"]
    return LoadSummary(
        run_id=extraction.run_id,
        database=Path(place.name),
        warehouse=place.warehouse,
        started_at=box.started_at,
        ended_at=box.now(),
        logs=logs,
        request_counts=requests,
        waited_s=waited_s,
        failed_taxpayers=list(dict.fromkeys(failed)),
        is_stopped=box.is_stopped,
    )
