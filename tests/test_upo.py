"""Official receipts: rows of a session's, files of anybody's, and nothing that is no receipt."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ksef_emulator import Backlog, Fault
from kseflow.api.client import make_clients
from kseflow.context import Context
from kseflow.errors import CorruptDownload, RequestRejected, Unavailable
from kseflow.loading.upo import UpoPage, upo_documents
from kseflow.loading.upo import save_upo as save_upo_of
from tests.conftest import Stage
from tests.simulation import Asking, asking

RECEIPTS = ["sessions", "upo_documents"]


def accepted(
    made: Stage, *, closed_only: bool = True
) -> dict[str, tuple[Context, str, dict[str, Any]]]:
    """Return the world's accepted invoices of sessions that have a receipt, by KSeF number."""
    now = made.clock.now()
    return {
        item["ksefNumber"]: (context, session["referenceNumber"], item)
        for context in made.contexts
        for session in made.world.sessions(context.id, now)
        if session["status"]["code"] == 200
        for item in made.world.invoices(context.id, session["referenceNumber"], now)
        if item["status"]["code"] == 200
    }


@pytest.mark.parametrize("page_size", [10_000, 3])
def test_receipts_give_one_row_per_accepted_invoice(
    stage: Callable[..., Stage], page_size: int
) -> None:
    made = stage(quirks={"upo_page_size": page_size})
    summary = made.load_frozen(only=RECEIPTS)
    truth = accepted(made)
    rows = made.rows("from ksef_raw.upo_documents")
    assert {row["ksef_number"] for row in rows} == truth.keys()
    assert len(rows) == len(truth)
    for row in rows:
        context, session, item = truth[row["ksef_number"]]
        assert row["context_id"] == context.id
        assert row["session_reference_number"] == session
        assert row["invoice_hash"] == item["invoiceHash"]
        assert row["invoice_number"] == item["invoiceNumber"]
        given = datetime.fromisoformat(item["acquisitionDate"])
        assert abs(row["acquisition_date"] - given) < timedelta(milliseconds=1)
    assert "sessionInvoiceList" not in summary.request_counts


def test_receipts_cost_one_request_a_session_and_none_the_next_time(
    stage: Callable[..., Stage],
) -> None:
    made = stage(limits="production", quirks={"upo_page_size": 2})
    first = made.load_frozen(only=RECEIPTS)
    sessions = {session for _, session, _ in accepted(made).values()}
    assert first.request_counts["sessionMisc"] == len(sessions)
    assert first.request_counts["storage"] > len(sessions)
    again = made.load_frozen(only=RECEIPTS)
    assert "sessionMisc" not in again.request_counts


def test_a_receipt_that_ksef_has_not_made_yet_is_asked_for_again_later(
    stage: Callable[..., Stage],
) -> None:
    made = stage(
        taxpayers=1,
        days=2,
        quirks={"upo_delay_s": 7 * 24 * 3600},
        world_options={"backlog": Backlog("Online", 5, 3, 0.0, 1.0)},
    )
    made.load_frozen(only=RECEIPTS)
    assert made.value("select count(*) from ksef_raw.upo_documents") == 0
    assert made.value("select count(*) from ksef_raw.upo_reads where row_count = 0") > 0
    assert made.load_frozen(only=RECEIPTS).request_counts.get("sessionMisc", 0) == 0
    made.clock.sleep(8 * 24 * 3600)
    made.load_frozen(only=RECEIPTS)
    stored = {row["ksef_number"] for row in made.rows("from ksef_raw.upo_documents")}
    assert stored == accepted(made).keys()


def test_a_receipt_with_a_wrong_hash_is_told_and_the_others_are_read(
    stage: Callable[..., Stage],
) -> None:
    made = stage(taxpayers=1, faults=[Fault("altered", path="/session-upo/", nth=1, times=1)])
    summary = made.load_frozen(only=RECEIPTS)
    (part,) = [part for part in summary.logs if part["resource"] == "upo"]
    assert part["outcome"] == "failed"
    (bad,) = made.rows("from ksef_raw.upo_reads where error is not null")
    assert bad["error"] in part["message"]
    lacking = accepted(made).keys() - {
        row["ksef_number"] for row in made.rows("from ksef_raw.upo_documents")
    }
    assert {accepted(made)[number][1] for number in lacking} == {bad["session_reference_number"]}


def test_links_are_used_without_the_bearer_token_and_outside_the_limits(
    stage: Callable[..., Stage],
) -> None:
    made = stage(limits="production", days=1)
    made.load_frozen(only=RECEIPTS)
    links = [request for request in made.app.requests if request.group == "storage"]
    assert len(links) > 5
    assert all("Authorization" not in link.headers for link in links)


def save_upo(client: Asking, *args: Any, **kwargs: Any) -> list[Path]:
    saved: list[Path] = client.wait(save_upo_of(client.client, *args, **kwargs))
    return saved


@dataclass(frozen=True)
class Served:
    """A client of a served stage, with a session that has a receipt and one invoice of it."""

    client: Asking
    stage: Stage
    session: str
    invoice: dict[str, Any]


@contextmanager
def serving(made: Stage) -> Iterator[Served]:
    with ExitStack() as stack:
        base_url = stack.enter_context(made.served())
        (ksef,) = make_clients(base_url, made.logins(), made.box())
        client = stack.enter_context(asking(ksef))
        _, session, invoice = next(iter(accepted(made).values()))
        yield Served(client, made, session, invoice)


@pytest.fixture
def client(stage: Callable[..., Stage]) -> Iterator[Served]:
    with serving(stage(taxpayers=1, days=1)) as served:
        yield served


def test_receipts_are_saved_as_ksef_sent_them(client: Served, tmp_path: Path) -> None:
    out = tmp_path / "receipts"
    (of_session,) = save_upo(client.client, out, client.session)
    (by_reference,) = save_upo(
        client.client, out, client.session, invoice=client.invoice["referenceNumber"]
    )
    (by_number,) = save_upo(
        client.client, out, client.session, ksef_number=client.invoice["ksefNumber"]
    )
    assert by_number.name == f"UPO-{client.invoice['ksefNumber']}.xml"
    assert by_reference.read_bytes() == by_number.read_bytes()
    for path in (of_session, by_number):
        assert client.invoice["ksefNumber"] in path.read_text()
    assert {path.suffix for path in out.iterdir()} == {".xml"}


def test_a_saved_receipt_is_checked_against_its_hash(
    stage: Callable[..., Stage], tmp_path: Path
) -> None:
    made = stage(taxpayers=1, days=1, faults=[Fault("altered", path="/upo$")])
    with serving(made) as it, pytest.raises(CorruptDownload, match="does not have the hash"):
        save_upo(it.client, tmp_path, it.session, ksef_number=it.invoice["ksefNumber"])
    assert not list(tmp_path.glob("*.xml"))


def test_an_unknown_receipt_is_told_with_ksefs_code(client: Served, tmp_path: Path) -> None:
    with pytest.raises(RequestRejected, match="21178"):
        save_upo(
            client.client,
            tmp_path,
            client.session,
            ksef_number="5265877635-20250826-0100001AF629-AF",
        )


def test_a_session_without_a_receipt_is_told_why(client: Served, tmp_path: Path) -> None:
    now = client.stage.clock.now()
    (context,) = client.stage.contexts
    without = next(
        session["referenceNumber"]
        for session in client.stage.world.sessions(context.id, now)
        if session["status"]["code"] not in (200,)
    )
    with pytest.raises(Unavailable, match="has no receipt"):
        save_upo(client.client, tmp_path, without)


NAMESPACE = "http://upo.schematy.mf.gov.pl/KSeF/v4-3"
SESSION = "20251121-SO-9D5A28BFDA-47C899773E-5C"
DOCUMENT = """<Dokument>
  <NipSprzedawcy>5265877635</NipSprzedawcy>
  <NumerKSeFDokumentu>5265877635-20250916-0200A0D6723E-C2</NumerKSeFDokumentu>
  <NumerFaktury>FA/1</NumerFaktury>
  <DataWystawieniaFaktury>2025-09-16</DataWystawieniaFaktury>
  <DataPrzeslaniaDokumentu>2025-09-16T11:05:40.841+02:00</DataPrzeslaniaDokumentu>
  <DataNadaniaNumeruKSeF>2025-09-16T11:05:41.045+02:00</DataNadaniaNumeruKSeF>
  <SkrotDokumentu>GZMGNVzs3krF6URKgvaw77OOeG3nJ+WGziT5xguliQ8=</SkrotDokumentu>
  <TrybWysylki>Offline</TrybWysylki>
</Dokument>"""


def receipt(
    *,
    namespace: str = NAMESPACE,
    session: str = SESSION,
    prolog: str = "",
    document: str = DOCUMENT,
) -> str:
    return (
        f'<?xml version="1.0" encoding="utf-8"?>{prolog}<Potwierdzenie xmlns="{namespace}">'
        f"<NumerReferencyjnySesji>{session}</NumerReferencyjnySesji>"
        f"<KodFormularza>FA (3)</KodFormularza>{document}</Potwierdzenie>"
    )


def read(xml: str) -> list[dict[str, Any]]:
    page = UpoPage("20251121-EU-1", xml.encode(), datetime.fromisoformat("2026-11-17T00:00:00Z"))
    context = Context("Nip", "5265877635")
    rows: list[dict[str, Any]] = upo_documents(page, context, SESSION).to_pylist()
    return rows


def test_warsaw_times_become_utc_instants() -> None:
    (row,) = read(receipt())
    assert row["acquisition_date"].isoformat() == "2025-09-16T09:05:41.045000+00:00"
    assert (row["form_code"], row["invoicing_mode"]) == ("FA (3)", "Offline")


@pytest.mark.parametrize(
    ("xml", "told"),
    [
        (receipt(namespace="http://example.com/upo"), "no receipt of KSeF's"),
        (receipt(session="20251121-SO-0000000000-0000000000-00"), "it is of session"),
        (receipt(prolog='<!DOCTYPE x [<!ENTITY a "b">]>'), "no document type"),
        (
            receipt(
                prolog='<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
                document=DOCUMENT.replace("FA/1", "&a;"),
            ),
            "no document type",
        ),
        (receipt()[:-40], "no well-formed XML"),
        ("<html>502</html>", "no receipt of KSeF's"),
    ],
)
def test_what_is_no_receipt_of_that_session_is_refused(xml: str, told: str) -> None:
    with pytest.raises(CorruptDownload, match=told):
        read(xml)


def test_a_receipt_that_links_to_a_foreign_host_is_not_fetched(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(taxpayers=1, days=1)
    with made.served() as base_url:
        (ksef,) = make_clients(base_url, made.logins(), made.box())
        foreign = "https://mf.gov.pl.example.com/upo.xml?sig=secret"
        page = {"referenceNumber": "EU-1", "downloadUrl": foreign}

        async def session(reference: str) -> dict[str, Any]:
            return {"upo": {"pages": [page]}}

        monkeypatch.setattr(ksef, "session", session)
        with (
            asking(ksef) as client,
            pytest.raises(Exception, match=r"no host of KSeF's") as caught,
        ):
            save_upo(client, made.database.parent, SESSION)
    assert "secret" not in json.dumps(str(caught.value))
