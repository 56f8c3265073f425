"""The raw tables: every column once, with its type, its place in the API and its meaning.

dbt's sources and staging models and the README's table are written from here by `make generate`.
"""

from datetime import datetime
from typing import Any

import pyarrow as pa

from kseflow.raw.arrow import AMOUNT, BYTES, COUNT, DATE, FLAG, TEXT, TEXTS, TIME, Column, Table

# fmt: off
TAXPAYER = (
    Column("context_type", TEXT, "", "Kind of taxpayer identifier: Nip, InternalId or NipVatUe"),
    Column("context_id", TEXT, "", "The taxpayer one logged in for"),
)
READ = (
    Column("unrecognised", TEXT, "", "JSON of the fields that the API sent and no column names"),
    Column("read_at", TIME, "", "KSeF's time when the answer was received", True),
)
STATUS = (
    Column("status_code", COUNT, "status.code", "KSeF's status code", True),
    Column("status_description", TEXT, "status.description", "Its Polish description"),
    Column("status_details", TEXTS, "status.details", "Its details, a list of texts"),
)

SESSIONS = Table(
    "sessions",
    "One row per submission session, as KSeF last listed it, with its counters. GET /sessions",
    ("context_type", "context_id", "reference_number"),
    (
        *TAXPAYER,
        Column("session_type", TEXT, "", "Online (interactive) or Batch", True),
        Column("reference_number", TEXT, "referenceNumber",
            "KSeF's name of the session", True, staged_as="session_reference_number"),
        *STATUS,
        Column("date_created", TIME, "dateCreated",
            "When the session was opened", True, staged_as="created_at"),
        Column("date_updated", TIME, "dateUpdated",
            "Last activity, in whole seconds", True, staged_as="updated_at"),
        Column("date_updated_text", TEXT, "dateUpdated", "The same as KSeF wrote it"),
        Column("valid_until", TIME, "validUntil", "KSeF closes the session after this moment"),
        Column("total_invoice_count", COUNT, "totalInvoiceCount",
            "Invoices sent, those in process included", True),
        Column("successful_invoice_count", COUNT, "successfulInvoiceCount",
            "Invoices accepted", True, staged_as="accepted_invoice_count"),
        Column("failed_invoice_count", COUNT, "failedInvoiceCount", "Invoices rejected", True),
        *READ,
    ),
)

INVOICE = (
    *TAXPAYER,
    Column("session_reference_number", TEXT, "", "The session it was sent in"),
    Column("reference_number", TEXT, "referenceNumber",
        "KSeF's name of the submission", True, staged_as="invoice_reference_number"),
    Column("ordinal_number", COUNT, "ordinalNumber", "Place in the session, from 1", True),
    Column("invoice_number", TEXT, "invoiceNumber", "The seller's number; often null when failed"),
    Column("ksef_number", TEXT, "ksefNumber", "KSeF number, given when accepted"),
    Column("invoice_hash", TEXT, "invoiceHash", "SHA-256 of the invoice's XML, Base64"),
    Column("invoice_file_name", TEXT, "invoiceFileName", "File in the package; batch only"),
    Column("invoicing_mode", TEXT, "invoicingMode", "Online or Offline"),
    Column("invoicing_date", TIME, "invoicingDate",
        "When KSeF took it in", True, staged_as="submitted_at"),
    Column("acquisition_date", TIME, "acquisitionDate",
        "When the KSeF number was given", staged_as="accepted_at"),
    Column("permanent_storage_date", TIME, "permanentStorageDate",
        "When it was stored for good; null for a while after acceptance", staged_as="stored_at"),
    *STATUS,
    Column("status_extensions", TEXT, "status.extensions",
        "JSON object; for duplicates the original's session and KSeF number",
            is_json=True),
    *READ,
)
INVOICE_KEY = ("context_type", "context_id", "session_reference_number", "reference_number")
SIGNED = frozenset({"upoDownloadUrl", "upoDownloadUrlExpirationDate"})

SESSION_INVOICES = Table(
    "session_invoices",
    "One row per invoice sent, as KSeF last told it. GET /sessions/{ref}/invoices",
    INVOICE_KEY, INVOICE, SIGNED,
)
FAILED_INVOICES = Table(
    "failed_invoices",
    "One row per failed invoice: a terminal status other than 200; the same columns. "
    "GET /sessions/{ref}/invoices/failed, or the failed rows of /invoices",
    INVOICE_KEY, INVOICE, SIGNED,
)

INVOICE_READS = Table(
    "invoice_reads",
    "One row per session: what the last reading of its invoices found",
    ("context_type", "context_id", "session_reference_number"),
    (
        *TAXPAYER,
        Column("session_reference_number", TEXT, "", "The session"),
        Column("endpoint", TEXT, "",
            "invoices; failed, or invoice, when only failures or single invoices were read", True),
        Column("session_date_updated", TIME, "", "date_updated of the session read for", True),
        Column("row_count", COUNT, "", "Invoices in the answer", True),
        Column("error", TEXT, "", "Why the reading failed; null when it did not"),
        Column("read_at", TIME, "", "KSeF's time when the last page was received", True),
    ),
)

UPO_DOCUMENTS = Table(
    "upo_documents",
    "One row per accepted invoice that a session's receipt (UPO) confirms. "
    "GET /sessions/{ref}/upo/{upoRef}, which GET /sessions/{ref} links to",
    ("context_type", "context_id", "ksef_number"),
    (
        *TAXPAYER,
        Column("ksef_number", TEXT, "NumerKSeFDokumentu", "KSeF number", True),
        Column("session_reference_number", TEXT, "NumerReferencyjnySesji", "Its session", True),
        Column("upo_reference_number", TEXT, "", "KSeF's name of the receipt's page", True),
        Column("seller_nip", TEXT, "NipSprzedawcy", "The seller's NIP", True),
        Column("invoice_number", TEXT, "NumerFaktury", "The seller's number", True),
        Column("issue_date", DATE, "DataWystawieniaFaktury", "Issue date on the invoice", True),
        Column("sent_date", TIME, "DataPrzeslaniaDokumentu",
            "When it was sent, milliseconds", True, staged_as="submitted_at"),
        Column("acquisition_date", TIME, "DataNadaniaNumeruKSeF",
            "When the KSeF number was given, milliseconds", True, staged_as="accepted_at"),
        Column("invoice_hash", TEXT, "SkrotDokumentu", "SHA-256 of its XML, Base64", True),
        Column("invoicing_mode", TEXT, "TrybWysylki", "Online or Offline", True),
        Column("form_code", TEXT, "KodFormularza", "Form of the invoice, e.g. FA (3)", True),
        Column("read_at", TIME, "", "KSeF's time when the receipt was read", True),
    ),
)

UPO_READS = Table(
    "upo_reads",
    "One row per session: what the last reading of its receipt (UPO) found",
    ("context_type", "context_id", "session_reference_number"),
    (
        *TAXPAYER,
        Column("session_reference_number", TEXT, "", "The session"),
        Column("session_date_updated", TIME, "", "date_updated of the session read for", True),
        Column("page_count", COUNT, "", "Pages of the receipt", True),
        Column("row_count", COUNT, "", "Invoices in them", True),
        Column("error", TEXT, "", "Why the reading failed; null when it did not"),
        Column("read_at", TIME, "", "KSeF's time when the last page was read", True),
    ),
)

EXPORT_PACKAGES = Table(
    "export_packages",
    "One row per package: an export asked for, what it held, and where the next one begins. "
    "POST /invoices/exports, GET /invoices/exports/{ref}",
    ("context_type", "context_id", "subject_type", "reference_number"),
    (
        *TAXPAYER,
        Column("subject_type", TEXT, "",
            "The taxpayer's part in the invoices: Subject1 (seller), Subject2 (buyer), "
            "Subject3 or SubjectAuthorized"),
        Column("reference_number", TEXT, "",
            "KSeF's name of the export", staged_as="package_reference_number"),
        Column("requested_from", TIME, "", "The window's start, by permanent storage date", True),
        Column("requested_from_text", TEXT, "", "The same as it was sent, up to 7 decimals", True),
        Column("requested_to", TIME, "", "The window's end as it was sent; null for an open one"),
        Column("is_metadata_only", FLAG, "", "Whether the package is without invoices' XML", True),
        Column("requested_at", TIME, "", "KSeF's time when the export was asked for", True),
        *STATUS,
        Column("completed_date", TIME, "completedDate",
            "When KSeF had built the package", staged_as="completed_at"),
        Column("package_expiration_date", TIME, "packageExpirationDate",
            "Until when KSeF keeps the package", staged_as="expires_at"),
        Column("invoice_count", COUNT, "package.invoiceCount", "Invoices in it, KSeF's count"),
        Column("size_bytes", BYTES, "package.size", "Its size, as KSeF tells it"),
        Column("part_count", COUNT, "", "Files it comes in"),
        Column("parts", TEXT, "",
            "JSON list of them: ordinalNumber, partName, sizes in bytes and SHA-256 "
            "(Base64), plain and encrypted"),
        Column("compression_type", TEXT, "package.compressionType", "Zip or TarGz"),
        Column("is_truncated", FLAG, "package.isTruncated",
            "Whether KSeF says it hit a cap and more follow"),
        Column("last_issue_date", DATE, "package.lastIssueDate", "Null: exports go by storage"),
        Column("last_invoicing_date", TIME, "package.lastInvoicingDate",
            "Null: exports go by storage", staged_as="last_submitted_at"),
        Column("last_permanent_storage_date", TIME, "package.lastPermanentStorageDate",
            "Storage date of the last invoice in it; only when truncated",
            staged_as="last_stored_at"),
        Column("permanent_storage_hwm_date", TIME, "package.permanentStorageHwmDate",
            "High-water mark: below it, no further invoice can appear", staged_as="hwm_at"),
        Column("permanent_storage_hwm_date_text", TEXT, "package.permanentStorageHwmDate",
            "The same as KSeF wrote it", staged_as="hwm_text"),
        Column("metadata_count", COUNT, "", "Invoices in its _metadata.json; null if not read"),
        Column("next_from", TIME, "", "Where the next window of this subject type begins", True),
        Column("next_from_text", TEXT, "", "The same, up to 7 decimals", True),
        Column("is_effectively_truncated", FLAG, "",
            "Whether it hit a cap, also where KSeF did not say so; null while not complete"),
        Column("cursor_moved", FLAG, "", "Whether next_from is later than requested_from", True),
        Column("error", TEXT, "", "Why its invoices could not be taken; null when they were"),
        *READ,
    ),
    frozenset({"package.parts"}),
)

INVOICE_METADATA = Table(
    "invoice_metadata",
    "One row per invoice that KSeF exported, as its package last told it, amounts as decimals. "
    "_metadata.json of /invoices/exports",
    ("context_type", "context_id", "subject_type", "ksef_number"),
    (
        *TAXPAYER,
        Column("subject_type", TEXT, "", "The taxpayer's part in it; see export_packages"),
        Column("ksef_number", TEXT, "ksefNumber", "KSeF number", True),
        Column("package_reference_number", TEXT, "", "The package it last came in", True),
        Column("invoice_number", TEXT, "invoiceNumber", "The seller's number", True),
        Column("issue_date", DATE, "issueDate", "Issue date on the invoice", True),
        Column("invoicing_date", TIME, "invoicingDate",
            "When KSeF took it in", True, staged_as="submitted_at"),
        Column("acquisition_date", TIME, "acquisitionDate",
            "When the number was given", True, staged_as="accepted_at"),
        Column("permanent_storage_date", TIME, "permanentStorageDate",
            "When it was stored for good", True, staged_as="stored_at"),
        Column("seller_nip", TEXT, "seller.nip", "The seller's NIP", True),
        Column("seller_name", TEXT, "seller.name", "The seller's name"),
        Column("buyer_identifier_type", TEXT, "buyer.identifier.type",
            "Kind of the buyer's identifier: Nip, VatUe, Other or None"),
        Column("buyer_identifier", TEXT, "buyer.identifier.value", "The buyer's identifier"),
        Column("buyer_name", TEXT, "buyer.name", "The buyer's name"),
        Column("net_amount", AMOUNT, "netAmount", "Net, in currency", True),
        Column("gross_amount", AMOUNT, "grossAmount", "Gross, in currency", True),
        Column("vat_amount", AMOUNT, "vatAmount", "VAT, always in PLN", True),
        Column("currency", TEXT, "currency", "Currency code, ISO 4217", True),
        Column("invoicing_mode", TEXT, "invoicingMode", "Online or Offline", True),
        Column("invoice_type", TEXT, "invoiceType", "Kind of invoice, e.g. Vat or Kor", True),
        Column("form_system_code", TEXT, "formCode.systemCode", "Form, e.g. FA (3)"),
        Column("form_schema_version", TEXT, "formCode.schemaVersion", "Its version, e.g. 1-0E"),
        Column("form_value", TEXT, "formCode.value", "Its family, e.g. FA"),
        Column("is_self_invoicing", FLAG, "isSelfInvoicing", "Issued by the buyer", True),
        Column("has_attachment", FLAG, "hasAttachment", "Whether it has an attachment", True),
        Column("invoice_hash", TEXT, "invoiceHash", "SHA-256 of its XML, Base64", True),
        Column("hash_of_corrected_invoice", TEXT, "hashOfCorrectedInvoice",
            "Of a technical correction: SHA-256 of the rejected offline invoice that it "
            "puts right"),
        Column("third_subjects", TEXT, "thirdSubjects", "JSON list of third parties",
            is_json=True),
        Column("authorized_subject", TEXT, "authorizedSubject", "JSON of the authorized party",
            is_json=True),
        *READ,
    ),
)

API_REQUESTS = Table(
    "api_requests",
    "One row per run, taxpayer and group of endpoints: what the run spent of KSeF's limits",
    ("run_id", "context_type", "context_id", "api_group"),
    (
        Column("run_id", TEXT, "", "The run: when it began (UTC), and a random part"),
        *TAXPAYER,
        Column("api_group", TEXT, "", "KSeF's group of rate limits, e.g. sessionList"),
        Column("request_count", COUNT, "", "Requests sent, repeated ones included", True),
        Column("throttled_count", COUNT, "", "Answers HTTP 429", True),
        Column("retry_count", COUNT, "", "Requests repeated after a fault", True),
        Column("waited_s", pa.float64(), "", "Seconds waited for the limits", True),
        Column("received_bytes", BYTES, "", "Bytes of the answers' bodies", True),
        Column("hourly_limit", COUNT, "", "The group's limit an hour; -1 is none", True),
        Column("requested_at", TEXTS, "",
            "When the requests of the last hour were sent, those of earlier runs included: "
            "the next run's windows begin with them"),
        Column("read_at", TIME, "", "When this was written, by the client's clock", True),
    ),
)

API_WARNINGS = Table(
    "api_warnings",
    "One row per run, taxpayer, group of endpoints and text: what KSeF warned of. "
    "Header X-System-Warning of any answer",
    ("run_id", "context_type", "context_id", "api_group", "message"),
    (
        Column("run_id", TEXT, "", "The run: when it began (UTC), and a random part"),
        *TAXPAYER,
        Column("api_group", TEXT, "", "KSeF's group of rate limits, e.g. sessionList"),
        Column("message", TEXT, "", "KSeF's text"),
        Column("answer_count", COUNT, "", "Answers that brought it", True),
        Column("first_seen_at", TIME, "", "When the run first saw it, by the client's clock", True),
        Column("last_seen_at", TIME, "", "When the run last saw it, by the client's clock", True),
        Column("read_at", TIME, "", "When this was written, by the client's clock", True),
    ),
)

SYNC_LOG = Table(
    "sync_log",
    "One row per run, taxpayer and part of the load: what was done, or why not",
    ("run_id", "context_type", "context_id", "resource"),
    (
        Column("run_id", TEXT, "", "The run: when it began (UTC), and a random part"),
        *TAXPAYER,
        Column("resource", TEXT, "",
            "login, sessions_online, sessions_batch, invoices, invoice_status, upo or "
            "exports_subject1 to exports_subjectauthorized",
            staged_as="part"),
        Column("environment", TEXT, "", "The API's base URL", True),
        Column("taxpayer_name", TEXT, "",
            "The taxpayer's name in the configuration; null when it has none there"),
        Column("started_at", TIME, "", "KSeF's time when the part began", True),
        Column("ended_at", TIME, "", "KSeF's time when the part ended", True),
        Column("modified_from", TIME, "",
            "Sessions: listed if changed since this moment; exports: where the first window began"),
        Column("cursor_text", TEXT, "", "Sessions and exports: the cursor the part ended with"),
        Column("reaches_back_to", TIME, "",
            "Sessions and exports: how far back this load and the earlier ones go; null "
            "before a list has come to its end"),
        Column("page_count", COUNT, "", "Pages or packages read", True),
        Column("row_count", COUNT, "", "Rows received", True),
        Column("changed_count", COUNT, "", "Sessions: those new or changed since last seen", True),
        Column("credential", TEXT, "", "Login: by token or certificate"),
        Column("credential_issued_at", TIME, "",
            "Login: when the certificate begins, or the day in the token's name"),
        Column("credential_ends_at", TIME, "",
            "Login: when the certificate ends; for a token token_ends_at of the configuration, "
            "else what the law says; null where nobody knows"),
        Column("outcome", TEXT, "", "ok, out of time, failed, or warning", True),
        Column("message", TEXT, "", "The error or warning; null when all went well"),
        Column("read_at", TIME, "", "When this was written, by the client's clock", True),
    ),
)

TABLES = (
    SESSIONS, SESSION_INVOICES, FAILED_INVOICES, INVOICE_READS, UPO_DOCUMENTS, UPO_READS,
    EXPORT_PACKAGES, INVOICE_METADATA, API_REQUESTS, API_WARNINGS, SYNC_LOG,
)
# fmt: on


def taxpayer_stamps(context_type: str, context_id: str, read_at: datetime) -> dict[str, Any]:
    """Return the columns that every row of the API's tables carries."""
    return {"context_type": context_type, "context_id": context_id, "read_at": read_at}
