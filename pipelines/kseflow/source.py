"""The dlt source: sessions, session invoices, failed invoices, and what the run did.

All resources share one walk through the API (`Extraction`): one answer of /invoices serves
several tables, and what is read depends on what was listed and on what the warehouse lacks.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import dlt
import httpx
import pyarrow as pa
from dlt.extract import DltResource

from kseflow.client import KsefClient, http_transport
from kseflow.clock import Clock, SystemClock, TimeBox
from kseflow.config import configured_credentials
from kseflow.credentials import Credentials
from kseflow.extraction import Extraction
from kseflow.limits import SlidingWindows
from kseflow.settings import MAX_TIME_S, PATIENCE_S
from kseflow.share import Rows
from kseflow.tables import TABLES, Table
from kseflow.warehouse import Warehouse


@dlt.source(name="ksef", section="ksef", max_table_nesting=0)
def ksef_source(
    environment: str = dlt.config.value,
    *,
    credentials: Sequence[Credentials] | None = None,
    since: datetime | None = None,
    in_progress: str = "failed",
    max_time_s: float | None = MAX_TIME_S,
) -> Sequence[DltResource]:
    """Load sessions changed since the last run, and the invoices that the destination lacks.

    `environment` is `production`, `demo`, `test` or a base URL; `credentials` default to the
    configured taxpayers. `since` (aware) lists sessions changed since then instead of since the
    last run. `in_progress="all"` reads all invoices of open sessions, not just the failed ones.
    `max_time_s` ends waits for KSeF's limits; what is left comes with the next run.
    Resources: `sessions`, `session_invoices`, `failed_invoices`, `invoice_reads`,
    `api_requests`, `sync_log`. Source: GET /sessions and the endpoints below it
    """
    box = TimeBox(SystemClock(), max_time_s)
    clients = make_clients(environment, credentials or configured_credentials(), box)
    extraction = Extraction(clients, box, since=since, in_progress=in_progress)
    return resources(extraction, until_commit=False)


def make_clients(
    environment: str,
    credentials: Sequence[Credentials],
    clock: Clock,
    transport: httpx.BaseTransport | None = None,
) -> list[KsefClient]:
    """Return a client for each taxpayer; they share one connection pool and one address."""
    transport = transport or http_transport(environment)
    anonymous: list[float] = []
    return [
        KsefClient(
            environment,
            login,
            clock=clock,
            transport=transport,
            windows=SlidingWindows(clock.now, anonymous),
            patience_s=PATIENCE_S,
        )
        for login in credentials
    ]


def resources(
    extraction: Extraction, *, until_commit: bool, only: Collection[str] = ()
) -> Sequence[DltResource]:
    """Return the resources of one extraction; `until_commit` ends them at the next commit.

    Rows come for the tables in `only`, or for those that are selected; the logs always come.
    """

    @dlt.resource(selected=False, name="answers")
    def answers() -> Iterator[Rows]:
        yield from extraction.rows(
            Warehouse.of_pipeline(dlt.current.pipeline()),
            lambda: dlt.current.resource_state("sessions"),
            frozenset(only or dlt.current.source().resources.selected),
            until_commit=until_commit,
        )

    return [answers | _rows_of(table) for table in TABLES]


def _rows_of(table: Table) -> Any:
    @dlt.transformer(  # type: ignore[call-overload, untyped-decorator]
        name=table.name,
        primary_key=table.key,
        columns=table.hints,
        write_disposition={"disposition": "merge", "strategy": "delete-insert"},
    )
    def rows(answer: Rows) -> Iterator[pa.Table]:
        if answer[0] is table:
            yield answer[1]

    rows.apply_hints(additional_table_hints={"description": table.description})
    return rows
