"""The dlt source: sessions, their invoices and receipts, export packages, and what the run did.

All resources share one walk through the API (`Extraction`): one answer of /invoices serves
several tables, and what is read depends on what was listed and on what the warehouse lacks.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import dlt
import httpx
import pyarrow as pa
from dlt.extract import DltResource

from kseflow.api.client import KsefClient
from kseflow.api.credentials import Credentials
from kseflow.api.gateway import Gateway
from kseflow.clock import SystemClock, TimeBox
from kseflow.constants import MAX_TIME_S, REQUESTS_IN_FLIGHT
from kseflow.loading.extraction import Extraction
from kseflow.loading.warehouse import Warehouse
from kseflow.logins import configured_credentials
from kseflow.options import Options, with_options
from kseflow.raw.arrow import Table
from kseflow.raw.tables import TABLES

Rows = tuple[Table, pa.Table]


@dlt.source(name="ksef", section="ksef", max_table_nesting=0)
@with_options
def ksef_source(
    environment: str = dlt.config.value,
    *,
    credentials: Sequence[Credentials] | None = None,
    max_time_s: float | None = MAX_TIME_S,
    **options: Any,
) -> Sequence[DltResource]:
    """Load sessions changed since the last run, and the invoices that the destination lacks.

    `environment` is `production`, `demo`, `test` or a base URL; `credentials` default to the
    configured taxpayers. `max_time_s` ends waits for KSeF's limits; what is left comes with the
    next run. The others are those of `Options`. Resources: `sessions`, `session_invoices`,
    `failed_invoices`, `invoice_reads`, `upo_documents`, `upo_reads`, `export_packages`,
    `invoice_metadata`, `api_requests`, `sync_log`.
    Source: GET /sessions and the endpoints below it, POST /invoices/exports
    """
    box = TimeBox(SystemClock(), max_time_s)
    clients = make_clients(environment, credentials or configured_credentials(), box)
    return resources(Extraction(clients, box, Options(**options)), until_commit=False)


def make_clients(
    environment: str,
    credentials: Sequence[Credentials],
    box: TimeBox,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    requests_in_flight: int = REQUESTS_IN_FLIGHT,
) -> list[KsefClient]:
    """Return a client for each taxpayer; they share one way to KSeF, within one time box."""
    gateway = Gateway(environment, box, transport=transport, requests_in_flight=requests_in_flight)
    return [KsefClient(gateway, login) for login in credentials]


def resources(
    extraction: Extraction, *, until_commit: bool, only: Collection[str] = ()
) -> Sequence[DltResource]:
    """Return the resources of one extraction; `until_commit` ends them at the next commit.

    Rows come for the tables in `only`, or for those that are selected; the logs always come.
    """

    @dlt.resource(selected=False, name="answers")
    def answers() -> Iterator[Rows]:
        state = dlt.current.resource_state
        extraction.begin(
            Warehouse.of_pipeline(dlt.current.pipeline()),
            state,
            frozenset(only or dlt.current.source().resources.selected),
        )
        try:
            while not extraction.is_done:
                commit = extraction.take()
                for resource, cursors in commit.cursors.items():
                    state(resource).update(cursors)
                yield from commit.rows
                if until_commit:
                    return
        finally:
            if not until_commit:
                extraction.close()

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
