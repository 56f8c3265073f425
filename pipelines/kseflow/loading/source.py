"""The dlt source: sessions, their invoices and receipts, export packages, and what the run did."""

from collections.abc import Sequence
from typing import Any

import dlt
from dlt.extract import DltResource

from kseflow.api.client import make_clients
from kseflow.api.credentials import Credentials
from kseflow.clock import SystemClock, TimeBox
from kseflow.constants import MAX_TIME_S
from kseflow.loading.extraction import Extraction
from kseflow.loading.resources import resources
from kseflow.loading.taxpayer import load_share
from kseflow.logins import configured_credentials, forget_environment
from kseflow.options import Options, with_options


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
    `invoice_metadata`, `api_requests`, `api_warnings`, `sync_log`.
    Source: GET /sessions and the endpoints below it, POST /invoices/exports
    """
    box = TimeBox(SystemClock(), max_time_s)
    asked = Options(**options)
    shard = asked.shard
    logins = credentials or configured_credentials(shard=shard)
    clients = make_clients(
        environment,
        shard.own(logins) if shard else logins,
        box,
        requests_in_flight=asked.requests_in_flight,
        size_factor=asked.size_factor,
        sharer_count=shard.count if shard else 1,
    )
    forget_environment()
    return resources(Extraction(clients, box, asked, load_share), until_commit=False)
