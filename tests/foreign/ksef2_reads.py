"""Read a taxpayer's sessions with ksef2, in its own environment, and print them as JSON.

Gets one JSON object on stdin: the emulator's address, a NIP, its token and certificates, filters
of lists, a session with one of its invoices, and a span for an export.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from ksef2 import Client, Environment
from ksef2.models import InvoicesFilter, ListSessionsQuery
from ksef2.xades import XAdESCredentials

given = json.load(sys.stdin)


class Emulated(httpx.HTTPTransport):
    """Carry what is meant for KSeF's host to the emulator, which is told that host."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        address = httpx.URL(given["address"])
        request.url = request.url.copy_with(scheme="http", host=address.host, port=address.port)
        return super().handle_request(request)


client = Client(Environment.TEST, http_client=httpx.Client(transport=Emulated()))


def log_in_by_certificate(certificate: dict[str, str]) -> Any:
    credentials = XAdESCredentials.from_pem(
        Path(certificate["certificate"]).read_bytes(),
        Path(certificate["key"]).read_bytes(),
        certificate["password"].encode() or None,
    )
    return client.authentication.with_xades(
        nip=given["nip"], credentials=credentials, poll_interval=0.01
    )


def plain(model: Any) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def pages(ask: Callable[..., Any], *arguments: str, **parameters: Any) -> list[Any]:
    found, token = [], None
    while True:
        page = ask(*arguments, continuation_token=token, **parameters)
        found += plain(page).get("sessions", []) + plain(page).get("invoices", [])
        token = page.continuationToken
        if not token:
            return found


def sessions(**filters: Any) -> list[Any]:
    query = ListSessionsQuery(page_size=10, **filters)
    by_hand = pages(user.raw.session.list_sessions, **query.to_query_params())
    told = [row.reference_number for row in user.invoice_sessions.list("online", params=query)]
    assert told == [row["referenceNumber"] for row in by_hand]
    return by_hand


def exported(compression_type: str) -> dict[str, Any]:
    filters = InvoicesFilter.for_seller(
        date_type="permanent_storage", date_from=given["since"], date_to=given["until"]
    )
    package = user.invoices.export(filters, compression_type=compression_type).wait()
    return {
        "metadata": [
            {
                "ksefNumber": row.ksef_number,
                "invoiceNumber": row.invoice_number,
                "invoiceHash": row.invoice_hash,
                "grossAmount": float(row.gross_amount),
            }
            for row in package.metadata
        ],
        "files": {name: content.decode() for name, content in package.invoices()},
    }


by_certificate = [log_in_by_certificate(certificate) for certificate in given["certificates"]]
user = client.authentication.with_token(
    ksef_token=given["token"], nip=given["nip"], poll_interval=0.01
)
session, invoice = given["session"], given["invoice"]
raw = user.raw.invoices
status = raw.get_session_status(session)
page = status.upo.pages[0].referenceNumber
download = user.invoice_sessions.download_upo
print(
    json.dumps(
        {
            "certificate_logins": len(by_certificate),
            "limits": plain(user.raw.limits.get_api_rate_limits()),
            "lists": [sessions(**filters) for filters in given["filters"]],
            "status": plain(status),
            "invoices": pages(raw.list_session_invoices, session, pageSize=10),
            "failed": pages(raw.list_failed_session_invoices, session, pageSize=10),
            "invoice": plain(raw.get_session_invoice_status(session, invoice["referenceNumber"])),
            "receipts": [
                receipt.decode()
                for receipt in (
                    download(session, upo_reference_number=page),
                    download(session, ksef_number=invoice["ksefNumber"]),
                    download(session, invoice_reference_number=invoice["referenceNumber"]),
                )
            ],
            "packages": [exported(kind) for kind in ("zip", "tar_gz")],
        }
    )
)
