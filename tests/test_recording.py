"""kseflow doctor --record: what KSeF answers, nothing secret left in it, fit to be replayed."""

import base64
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ksef_emulator import Fault
from kseflow.api.client import make_clients
from kseflow.cli import app
from kseflow.clock import SimulatedClock
from kseflow.watch.doctor.examine import examine
from kseflow.watch.doctor.masking import Masks
from kseflow.watch.doctor.record import Recorder, walk
from kseflow.watch.finding import Finding, State
from tests.conftest import Stage
from tests.recorded.conftest import clients_of
from tests.recorded.replay import Exchange, Replay, moment_of
from tests.recorded.rows import TABLES, listed, lost, rows_of, stored
from tests.recorded.shapes import differences, shape
from tests.simulation import asking

Make = Callable[..., Stage]
JWT = re.compile(r"ey[\w-]+\.[\w-]+\.[\w-]+")
PACKED = re.compile(r"[A-Za-z0-9_+/-]{8,}")


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("SOURCES__", "CHECK__")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def log_in(monkeypatch: pytest.MonkeyPatch, made: Stage, count: int = 1) -> None:
    names = [f"t{number}" for number in range(count)]
    monkeypatch.setenv("SOURCES__KSEF__TAXPAYERS", json.dumps(names))
    for name, context in zip(names, made.contexts, strict=False):
        monkeypatch.setenv(f"SOURCES__KSEF__{name}__NIP".upper(), context.id)
        monkeypatch.setenv(f"SOURCES__KSEF__{name}__TOKEN".upper(), made.tokens[context])


def recorded_by_doctor(made: Stage, file: Path, **options: Any) -> Finding:
    with made.served() as base_url:
        clock = SimulatedClock(made.clock)
        found = examine(made.database, clock, environment=base_url, record=file, **options)
        (finding,) = (finding for finding in found if finding.topic == "recording")
    return finding


def recorded(made: Stage, masks: Masks) -> tuple[list[Exchange], list[Exchange]]:
    """Record once; return the exchanges as they were, and masked."""
    recorder, box = Recorder(httpx.AsyncHTTPTransport()), made.box()
    with made.served() as base_url:
        (client, *_) = make_clients(base_url, made.logins(), box, transport=recorder)
        with asking(client) as asked:
            asked.wait(walk(client))
    return recorder.exchanges(None), recorder.exchanges(masks)


def unpacked(text: str) -> str:
    """Return a text with all that is packed in it: claims of tokens, Base64, quoted links."""
    found = [text, httpx.QueryParams(text).__str__(), text.replace("\\", "")]
    for packed in (part for match in JWT.findall(text) for part in match.split(".")):
        found.append(_decoded(packed.encode(), "-_"))
    found += [_decoded(packed.encode(), None) for packed in PACKED.findall(text)]
    return "\n".join(found)


def _decoded(packed: bytes, others: str | None) -> str:
    with suppress(ValueError):
        padded = packed + b"=" * (-len(packed) % 4)
        return base64.b64decode(padded, others).decode("latin-1")
    return ""


def of_the_world(made: Stage) -> Iterator[str]:
    """Yield whatever tells whose invoices these are, or lets anyone in."""
    for taxpayer in made.world.taxpayers:
        yield from (taxpayer.context_id, taxpayer.name, taxpayer.writer_nip)
        yield from (
            text for party in taxpayer.partners for text in (party.value, party.name) if text
        )
        for token in taxpayer.tokens:
            yield from (token.value, *token.value.split("|"), token.subject_nip)
        for session in made.world.sessions(taxpayer.context_id, made.at):
            reference = session["referenceNumber"]
            yield reference
            for invoice in made.world.invoices(taxpayer.context_id, reference, made.at):
                for name in NUMBERS & invoice.keys():
                    yield invoice[name]
    for request in made.app.requests:
        yield from request.headers.get("Authorization", "").split()[1:]
        yield request.headers.get("Host", "127.0.0.1").partition(":")[0]


NUMBERS = {"referenceNumber", "ksefNumber", "invoiceNumber", "invoiceHash", "invoiceFileName"}


def test_nothing_of_the_world_is_left_in_a_recording(
    stage: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(taxpayers=2, days=5)
    log_in(monkeypatch, made)
    finding = recorded_by_doctor(made, tmp_path / "for-a-bug-report.json")
    assert finding.state is State.OK, finding
    text = (tmp_path / "for-a-bug-report.json").read_text()
    assert len(json.loads(text)) > 8
    host = "127.0.0.1"  # KSeF's own host stays in links
    secrets = {secret for secret in of_the_world(made) if secret != host and len(secret) > 3}
    assert len(secrets) > 500
    everything = unpacked(text)
    left = {s for s in secrets if s in everything or s.lower() in everything}
    assert left == set()


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part, name)
    elif isinstance(value, str):
        yield name, value


def test_no_token_signature_and_number_of_an_answer_is_left(stage: Make) -> None:
    exchanges, masked = recorded(stage(taxpayers=1, days=5), Masks())
    secrets = set()
    for name, value in (leaf for e in exchanges for leaf in leaves(e["body"])):
        if name in ("token", "clientIp", "challenge", "details") or name.endswith("umber"):
            secrets.add(value)
        if name == "token":
            secrets.update(value.split(".")[1:])
        if value.startswith("http"):
            secrets |= {v for n, v in httpx.URL(value).params.items() if n in ("sig", "skoid")}
    assert len(secrets) > 50
    everything = unpacked(json.dumps(masked))
    assert {secret for secret in secrets if secret in everything} == set()


def test_a_recording_looks_as_what_was_recorded(stage: Make) -> None:
    exchanges, masked = recorded(stage(taxpayers=1, days=5), Masks())
    for one, other in zip(exchanges, masked, strict=True):
        found = list(differences(shape(one["body"]), shape(other["body"])))
        # The host is no longer the emulator's, and the address is one for documents.
        assert [told for told in found if "clientIp" not in told] == []
        assert one["status"] == other["status"]


def test_the_same_value_has_the_same_stand_in_and_in_another_file_another(stage: Make) -> None:
    made = stage(taxpayers=1, days=5)
    _, first = recorded(made, Masks())
    _, second = recorded(made, Masks())
    for exchanges in (first, second):
        (session,) = (
            e["path"].split("/")[3]
            for e in exchanges
            if e["path"].count("/") > 3 and "/invoices" in e["path"]
        )
        listed_numbers = {
            row["referenceNumber"] for kind, _, row in rows_of(exchanges) if kind == "sessions"
        }
        assert session in listed_numbers
    assert {path["path"] for path in first[-1:]} != {path["path"] for path in second[-1:]}


def test_a_recording_is_replayed_to_the_real_client_and_loses_nothing(
    stage: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(taxpayers=1, days=5)
    log_in(monkeypatch, made)
    file = tmp_path / "recording.json"
    recorded_by_doctor(made, file)
    exchanges = json.loads(file.read_text())
    replay = Replay(exchanges)
    (client,), _ = clients_of(replay, exchanges)
    found = list(rows_of(exchanges))
    assert {kind for kind, _, _ in found} == {"sessions", "invoices"}
    with asking(client) as asked:
        asked.wait(walk(client))
        assert len(replay.asked) == len(exchanges)
        assert set(client.permissions or ()) == {"Introspection", "InvoiceRead"}
        for kind, path, row in found:
            assert row in listed(asked, kind, path)
            assert lost(row, TABLES[kind], stored(row, kind, moment_of(exchanges))) == []


# -- the file ------------------------------------------------------------------------------------


def test_only_its_owner_may_read_it(
    stage: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(taxpayers=1)
    log_in(monkeypatch, made)
    before = os.umask(0)
    try:
        recorded_by_doctor(made, tmp_path / "recording.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "recording.json").stat().st_mode) == 0o600


def test_a_file_that_exists_stays_as_it_is_and_nobody_logs_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("mine")
    answer = CliRunner().invoke(app, ["doctor", "--record", str(file)], env={"COLUMNS": "200"})
    assert answer.exit_code == 1
    assert "it exists; name a new file" in answer.output
    assert file.read_text() == "mine"


def test_a_folder_that_is_not_there_is_named(
    stage: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(taxpayers=1)
    log_in(monkeypatch, made)
    finding = recorded_by_doctor(made, tmp_path / "nowhere" / "recording.json")
    assert finding.state is State.CRITICAL
    assert "No such file or directory" in finding.message


def test_of_several_taxpayers_one_has_to_be_named(
    stage: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(taxpayers=2)
    log_in(monkeypatch, made, count=2)
    finding = recorded_by_doctor(made, tmp_path / "recording.json")
    assert (finding.state, finding.remedy) == (State.CRITICAL, "Name one with --nip")
    assert not (tmp_path / "recording.json").exists()
    named = recorded_by_doctor(made, tmp_path / "recording.json", ids=[made.contexts[1].id])
    assert named.state is State.OK


@pytest.mark.parametrize("kind", ["html", "403-empty", "500", "not-json", "dropped"])
def test_what_goes_wrong_is_recorded_as_well(
    stage: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    made = stage(taxpayers=1, faults=[Fault(kind, path="/sessions$", times=99)])
    log_in(monkeypatch, made)
    finding = recorded_by_doctor(made, tmp_path / "recording.json")
    assert "they end with" in finding.message
    exchanges = json.loads((tmp_path / "recording.json").read_text())
    assert exchanges[-1]["path"].startswith("/v2/sessions?sessionType=Online")


# -- masks ---------------------------------------------------------------------------------------

SECRET = "Kowalski7952809480"


def packed(claims: Any) -> str:
    parts = ({"alg": "HS256"}, claims)
    texts = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts]
    return ".".join([*texts, SECRET])


PLACES: list[Any] = [
    {"moon": SECRET},
    {"details": [f"The value '{SECRET}' is invalid"]},
    {"description": f"Podatnik „{SECRET}” jest nieznany"},
    {"description": f"Podatnik {SECRET} jest nieznany"},
    {"code": SECRET},
    {"type": f"{SECRET} sp. z o.o."},
    {"dateCreated": SECRET},
    {SECRET: 1},
    {"extensions": {SECRET: {"deep": [SECRET]}}},
    {"token": packed({"civ": SECRET, "sud": json.dumps({"commonName": SECRET})})},
    {"claims": packed([SECRET])},
    {"sud": json.dumps({"a": {"b": [SECRET]}})},
    {"url": f"https://{SECRET}.example/{SECRET}?se={SECRET}&sig={SECRET}#{SECRET}"},
    {"url": f"https://{SECRET}:{SECRET}@api.ksef.mf.gov.pl/storage/01/{SECRET}"},
    {"certificate": SECRET},
    [SECRET, [SECRET]],
    SECRET,
    f"<html>{SECRET}</html>",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_masked_wherever_it_stands(place: Any) -> None:
    masked = unpacked(json.dumps(Masks().body(place)))
    assert SECRET not in masked
    assert "7952809480" not in masked
    assert SECRET.lower() not in masked


@pytest.mark.parametrize("number", [7952809480, 7952809480.25, -79528094801, 7.95280948e-07])
def test_numbers_of_unknown_fields_are_masked(number: float) -> None:
    masked = Masks().body({"moon": number})["moon"]
    assert type(masked) is type(number)
    assert masked != number
    assert len(repr(masked)) == len(repr(number))


def test_headers_are_masked_but_those_that_say_nothing() -> None:
    masks = Masks()
    assert masks.header("Content-Type", "text/html") == "text/html"
    for name in ("Set-Cookie", "X-Azure-Ref", "Location", "X-System-Warning", "X-New"):
        assert SECRET not in masks.header(name, f"a={SECRET}; b='{SECRET}'")
    assert masks.header("X-System-Warning", "[xml-002]: Ta faktura").endswith("]: Ta faktura")


def test_stand_ins_keep_check_digits() -> None:
    masks = Masks()
    number = masks.text("7980332920-20260116-010020ECAD68-DA")
    assert number[:10] == masks.text("7980332920")
    weighted = sum(int(d) * w for d, w in zip(number, (6, 5, 7, 2, 3, 4, 5, 6, 7), strict=False))
    assert weighted % 11 == int(number[9])
    reference = masks.text("20260116-SO-3456D11000-8E6E92FC85-D9")
    for told in (number, reference):
        assert crc8(told[:-3]) == int(told[-2:], 16)
    assert masks.text("20260116-so-3456d11000-8e6e92fc85-d9") == reference.lower()


def crc8(text: str) -> int:
    """Divide by x^8 + x^2 + x + 1, bit by bit."""
    bits = int.from_bytes(text.encode() + b"\0", "big")
    for place in range(bits.bit_length() - 1, 7, -1):
        if bits >> place & 1:
            bits ^= 0x107 << (place - 8)
    return bits


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@given(anything)
@settings(deadline=None, derandomize=True, max_examples=300)
def test_whatever_comes_is_masked_twice_alike(body: Any) -> None:
    masks = Masks(key=b"1")
    assert json.dumps(masks.body(body)) == json.dumps(Masks(key=b"1").body(body))
    masks.text(json.dumps(body))
