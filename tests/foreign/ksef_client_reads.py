"""Read a taxpayer's sessions with ksef-client, in its own environment, and print them as JSON.

Gets one JSON object on stdin, with the same keys as tests/foreign/ksef2_reads.py. The emulator
is its proxy: signed links to this machine are refused by ksef-client.
"""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ksef_client import KsefClient, KsefClientOptions
from ksef_client.models import (
    InvoiceExportRequest,
    InvoiceQueryDateRange,
    InvoiceQueryFilters,
)
from ksef_client.services import AuthCoordinator, ExportWorkflow
from ksef_client.services.crypto import build_encryption_data
from ksef_client.services.xades import XadesKeyPair

given = json.load(sys.stdin)
options = KsefClientOptions(
    base_url="http://api-test.ksef.mf.gov.pl",
    proxy=given["address"],
    strict_presigned_url_validation=False,  # the emulator knows no TLS
)
client = KsefClient(options)


def key_for(usage: str) -> Any:
    return client.security.get_public_key_certificate(usage)


def log_in_by_token() -> Any:
    key = key_for("KsefTokenEncryption")
    return AuthCoordinator(client.auth).authenticate_with_ksef_token(
        token=given["token"],
        public_certificate=key.certificate,
        public_key_id=key.public_key_id,
        context_identifier_type="nip",
        context_identifier_value=given["nip"],
        poll_interval_seconds=0.01,
    ).access_token  # fmt: skip


def log_in_by_certificate(certificate: dict[str, str]) -> Any:
    pair = XadesKeyPair.from_pem_files(
        certificate_path=certificate["certificate"],
        private_key_path=certificate["key"],
        private_key_password=certificate["password"],
    )
    return AuthCoordinator(client.auth).authenticate_with_xades_key_pair(
        key_pair=pair,
        context_identifier_type="nip",
        context_identifier_value=given["nip"],
        subject_identifier_type="certificateSubject",
        poll_interval_seconds=0.01,
    ).access_token  # fmt: skip


def pages(ask: Callable[..., Any], *arguments: str, **parameters: Any) -> Iterator[Any]:
    token = None
    while True:
        page = ask(*arguments, continuation_token=token, access_token=access, **parameters)
        yield page
        token = page.continuation_token
        if not token:
            return


def sessions(**filters: Any) -> list[Any]:
    found = pages(client.sessions.get_sessions, page_size=10, **filters)
    return [row.to_dict() for page in found for row in page.sessions]


def invoices(ask: Callable[..., Any], session: str) -> list[Any]:
    return [row.to_dict() for page in pages(ask, session, page_size=10) for row in page.invoices]


def exported(compression_type: str) -> dict[str, Any]:
    key = key_for("SymmetricKeyEncryption")
    encryption = build_encryption_data(key.certificate, public_key_id=key.public_key_id)
    span = InvoiceQueryDateRange(
        date_type="PermanentStorage", from_=given["since"], to=given["until"]
    )
    asked = client.invoices.export_invoices(
        InvoiceExportRequest(
            encryption=encryption.encryption_info,
            filters=InvoiceQueryFilters(date_range=span, subject_type="Subject1"),
            compression_type=compression_type,
        ),
        access_token=access,
    )
    while True:
        status = client.invoices.get_export_status(asked.reference_number, access_token=access)
        if status.status.code != 100:
            break
    package = ExportWorkflow(client.invoices, client.http_client).download_and_process_package(
        status.package, encryption
    )
    return {"metadata": package.metadata_summaries, "files": package.invoice_xml_files}


by_certificate = [log_in_by_certificate(certificate) for certificate in given["certificates"]]
access = log_in_by_token()
session, invoice = given["session"], given["invoice"]
ask = client.sessions
status = ask.get_session_status(session, access)
page = status.upo.pages[0].reference_number
print(
    json.dumps(
        {
            "certificate_logins": len(by_certificate),
            "limits": client.rate_limits.get_rate_limits(access).to_dict(),
            "lists": [sessions(**filters) for filters in given["filters"]],
            "status": status.to_dict(),
            "invoices": invoices(ask.get_session_invoices, session),
            "failed": invoices(ask.get_session_failed_invoices, session),
            "invoice": ask.get_session_invoice_status(
                session, invoice["referenceNumber"], access_token=access
            ).to_dict(),
            "receipts": [
                receipt.decode()
                for receipt in (
                    ask.get_session_upo(session, page, access_token=access),
                    ask.get_session_invoice_upo_by_ksef(
                        session, invoice["ksefNumber"], access_token=access
                    ),
                    ask.get_session_invoice_upo_by_ref(
                        session, invoice["referenceNumber"], access_token=access
                    ),
                )
            ],
            "packages": [exported(kind) for kind in ("Zip", "TarGz")],
        }
    )
)
