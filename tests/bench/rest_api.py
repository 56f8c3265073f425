"""What a data engineer would write today: dlt's `rest_api` source over the same endpoints.

Sessions by the date of their last change, then of each changed one its invoices and its failed
invoices. KSeF's continuation token comes in the body and goes out in a header, which no paginator
of dlt's does; this one is written as dlt's documentation tells.
Source: https://dlthub.com/docs/general-usage/http/rest-client#implementing-a-custom-paginator
"""

from pathlib import Path
from typing import Any

import dlt
from dlt import Pipeline
from dlt.extract import DltSource
from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator
from dlt.sources.rest_api import rest_api_source
from requests import Request

BEGIN = "2025-09-01T00:00:00+00:00"
DATABASE = "today.duckdb"


class TokenInHeader(JSONResponseCursorPaginator):
    """Follow `continuationToken` of the body by the header `x-continuation-token`."""

    def __init__(self) -> None:
        super().__init__(cursor_path="continuationToken")

    def update_request(self, request: Request) -> None:
        token = self._next_reference or ""
        request.headers = {**(request.headers or {}), "x-continuation-token": token}


def source(base_url: str, access_token: str, page_size: int | None) -> DltSource:
    """Return the source; without a page size KSeF's pages have 10 rows."""
    size = {} if page_size is None else {"pageSize": page_size}
    resources: list[Any] = [
        resource
        for session_type in ("Online", "Batch")
        for resource in (
            _sessions(session_type, size),
            _children(session_type, "invoices", size),
            _children(session_type, "invoices/failed", size),
        )
    ]
    return rest_api_source(
        {
            "client": {
                "base_url": base_url,
                "auth": {"type": "bearer", "token": access_token},
                "paginator": TokenInHeader(),
            },
            "resource_defaults": {
                "primary_key": "referenceNumber",
                "write_disposition": "merge",
            },
            "resources": resources,
        },
        name="today",
    )


def _sessions(session_type: str, size: dict[str, int]) -> dict[str, Any]:
    return {
        "name": f"{session_type.lower()}_sessions",
        "table_name": "sessions",
        "endpoint": {
            "path": "sessions",
            "params": {
                "sessionType": session_type,
                "dateModifiedFrom": "{incremental.start_value}",
                **size,
            },
            "data_selector": "sessions",
            "incremental": {"cursor_path": "dateUpdated", "initial_value": BEGIN},
        },
    }


def _children(session_type: str, path: str, size: dict[str, int]) -> dict[str, Any]:
    parent = f"{session_type.lower()}_sessions"
    return {
        "name": f"{session_type.lower()}_{path.replace('/', '_')}",
        "table_name": path.replace("/", "_"),
        "endpoint": {
            "path": f"sessions/{{resources.{parent}.referenceNumber}}/{path}",
            "params": dict(size),
            "data_selector": "invoices",
        },
    }


def pipeline(folder: Path) -> Pipeline:
    """Return a pipeline into `DATABASE` of a folder, where its state lies as well."""
    made: Pipeline = dlt.pipeline(
        "today",
        destination=dlt.destinations.duckdb(str(folder / DATABASE)),
        dataset_name="ksef_raw",
        pipelines_dir=str(folder),
    )
    return made
