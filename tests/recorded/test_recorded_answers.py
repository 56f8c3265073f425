"""Recorded answers of the real KSeF through the real client: nothing of them is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from lxml import etree

from kseflow.api.downloads import sha256_base64
from kseflow.context import Context
from kseflow.errors import AccessDenied, RequestRejected, Unavailable
from kseflow.loading.run import load_clients
from kseflow.loading.upo import UpoPage, upo_documents
from kseflow.options import Options
from kseflow.raw.tables import UPO_DOCUMENTS
from tests.recorded.conftest import Replayed, clients_of
from tests.recorded.replay import (
    FOLDER,
    Exchange,
    Replay,
    call_of,
    moment_of,
    recording,
)
from tests.recorded.rows import TABLES, listed, lost, rows_of, stored

RECORDINGS = sorted(path.name for path in FOLDER.glob("*.json"))
REFUSED = "final_fa3_success.json"  # its session was asked for before KSeF knew it
ACCEPTED = "final_success_check.json"
SESSION = "20260116-SO-3456D11000-8E6E92FC85-D9"
NOTED = ("sessions-without-token", "rate-limits")


def noted(name: str) -> list[Exchange]:
    return recording(f"noted/{name}.json")


@pytest.mark.parametrize("file", RECORDINGS)
def test_every_recording_logs_the_real_client_in_as_recorded(file: str, replayed: Replayed) -> None:
    client, replay = replayed(recording(file), noted("rate-limits"))
    client.rate_limits()
    assert [path for _, path in replay.asked[:2]] == [
        "/v2/auth/challenge",
        "/v2/security/public-key-certificates",
    ]
    assert "EnforcementOperations" in (client.permissions or ()) or client.permissions is None


@pytest.mark.parametrize("file", RECORDINGS)
def test_every_recorded_row_is_in_the_warehouses_with_all_its_fields(
    file: str, replayed: Replayed
) -> None:
    exchanges = recording(file)
    client, _ = replayed(exchanges)
    for kind, path, row in rows_of(exchanges):
        assert row in listed(client, kind, path)
        assert lost(row, TABLES[kind], stored(row, kind, moment_of(exchanges))) == []


def test_a_load_of_all_recordings_loses_nothing_and_tells_the_session_that_was_refused(
    tmp_path: Path,
) -> None:
    # The newest first: who logged in before would not know the sessions of later ones.
    recordings = sorted(map(recording, RECORDINGS), key=moment_of, reverse=True)
    replay = Replay(*map(noted, NOTED), *recordings)
    clients, box = clients_of(replay, *recordings)
    database = tmp_path / "ksef.duckdb"
    summary = load_clients(clients, database, box, Options(exports_per_hour=0))
    (told_at_the_end,) = [log["message"] for log in summary.logs if log["message"]]
    assert "21173" in told_at_the_end
    with duckdb.connect(str(database)) as connection:
        connection.execute("set timezone = 'UTC'; use ksef_raw")
        rows = connection.sql("from session_invoices").arrow().read_all().to_pylist()
        sessions = connection.sql("from sessions").arrow().read_all().to_pylist()
        (refused,) = connection.sql(
            "select session_reference_number, error from invoice_reads where error is not null"
        ).fetchall()
    told = {row["reference_number"]: row for row in (*rows, *sessions)}
    expected = [r for found in (*recordings, noted(NOTED[0])) for r in rows_of(found)]
    assert len(expected) == 9
    for kind, _, row in expected:
        assert lost(row, TABLES[kind], told[row["referenceNumber"]]) == []
    assert refused[0] in str(recording(REFUSED))
    assert "21173" in refused[1]


# -- refusals, as recorded or noted ------------------------------------------------------------


def invoices(client: Any) -> list[Any]:
    return [item for page in client.session_invoices(SESSION) for item in page.items]


def test_an_unknown_session_is_told_with_its_code_and_number(replayed: Replayed) -> None:
    exchanges = recording(REFUSED)
    client, _ = replayed(exchanges)
    reference = call_of(exchanges[-1])[1].split("/")[3]
    with pytest.raises(RequestRejected, match=f"21173.*{reference}") as refused:
        list(client.session_invoices(reference))
    assert refused.value.codes == (21173,)


def test_all_problems_of_a_request_are_told_with_their_names(replayed: Replayed) -> None:
    client, _ = replayed(recording(ACCEPTED), noted("21405-filters"))
    with pytest.raises(RequestRejected, match=r"filters\.subjectType.*filters\.dateRange"):
        client.request_export({})


def test_an_owner_may_do_everything(replayed: Replayed) -> None:
    client, _ = replayed(recording(ACCEPTED), noted("owner-claim"), noted("rate-limits"))
    client.rate_limits()
    assert {"Introspection", "InvoiceRead"} <= set(client.permissions)


def test_a_session_that_one_may_not_see_is_told_by_its_reason(replayed: Replayed) -> None:
    client, _ = replayed(recording(ACCEPTED), noted("403-insufficient-resource-access"))
    with pytest.raises(AccessDenied, match="insufficient-resource-access"):
        invoices(client)


def test_an_empty_403_brings_another_login(replayed: Replayed) -> None:
    exchanges = recording(ACCEPTED)
    empty, full = noted("403-empty"), [exchanges[-1]]
    client, replay = replayed(exchanges[:-1], empty + full, refreshed(exchanges))
    assert len(invoices(client)) == 1
    assert [path for _, path in replay.asked].count("/v2/auth/token/refresh") == 1


def refreshed(exchanges: list[Exchange]) -> list[Exchange]:
    """Return the answer to a refresh: the access token of the recorded login."""
    redeemed = exchanges[4]
    body = {"accessToken": redeemed["body"]["accessToken"]}
    return [{**redeemed, "path": "/api/v2/auth/token/refresh", "body": body}]


def test_a_page_of_the_firewall_is_asked_again_and_told_as_the_firewall(
    replayed: Replayed,
) -> None:
    exchanges = recording(ACCEPTED)
    page, full = noted("firewall-at-200"), [exchanges[-1]]
    client, _ = replayed(exchanges[:-1], page * 2 + full)
    assert len(invoices(client)) == 1
    client, _ = replayed(exchanges[:-1], page)
    with pytest.raises(Unavailable, match="firewall"):
        invoices(client)


def test_the_last_page_has_no_token(replayed: Replayed) -> None:
    client, _ = replayed(recording(ACCEPTED), noted("sessions-without-token"))
    assert [len(page.items) for page in client.sessions("Online")] == [5]
    assert [page.items for page in client.sessions("Batch")] == [[]]


# -- the official examples of receipts ---------------------------------------------------------

CONTEXTS = {"Nip": "Nip", "IdWewnetrzny": "InternalId", "IdZlozonyVatUE": "NipVatUe"}
RECEIPTS = sorted(FOLDER.glob("upo/*.xml"))


@pytest.mark.parametrize("file", RECEIPTS, ids=lambda file: file.stem)
def test_an_official_receipt_is_read_with_all_that_it_says_of_an_invoice(
    file: Path, replayed: Replayed
) -> None:
    content = file.read_bytes()
    root = etree.fromstring(content)
    session = text_of(root, "NumerReferencyjnySesji")
    client, _ = replayed(recording(ACCEPTED), [receipt(session, content)])
    assert client.invoice_upo(session, "20260116-EE-3456EFF000-C11D59EA16-DA") == content
    page = UpoPage("20260116-EU-3456EFF000-C11D59EA16-DA", content, moment_of(recording(ACCEPTED)))
    (holder,) = root.find("{*}Uwierzytelnienie/{*}IdKontekstu")
    taxpayer = Context(CONTEXTS[etree.QName(holder).localname], str(holder.text))
    rows = upo_documents(page, taxpayer, session).to_pylist()
    documents = root.findall("{*}Dokument")
    assert len(rows) == len(documents) > 0
    columns = {c.api_field: c.name for c in UPO_DOCUMENTS.columns if c.api_field}
    for document, row in zip(documents, rows, strict=True):
        fields = {etree.QName(field).localname: field.text for field in document}
        assert fields.keys() <= columns.keys()
        for name, text in fields.items():
            assert same(row[columns[name]], text), name
        assert row["form_code"] == text_of(root, "KodFormularza")


def text_of(root: Any, name: str) -> str:
    return str(root.findtext(f"{{*}}{name}"))


def same(stored: Any, text: str) -> bool:
    """Compare a stored value with its text; a moment of a receipt has an offset of its own."""
    if not hasattr(stored, "isoformat"):
        return bool(stored == text)
    return bool(stored == type(stored).fromisoformat(text))


def receipt(session: str, content: bytes) -> Exchange:
    path = f"/api/v2/sessions/{session}/invoices/20260116-EE-3456EFF000-C11D59EA16-DA/upo"
    headers = {"Content-Type": "application/xml", "x-ms-meta-hash": sha256_base64(content)}
    return {
        "method": "GET",
        "path": path,
        "status": 200,
        "headers": headers,
        "body": content.decode(),
    }
