"""The border: whatever comes from outside is bounded, and only our own errors come of it."""

import asyncio
import gzip
import io
import json
import logging
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from rich.markup import escape

from ksef_emulator import VirtualClock
from kseflow.api.client import KsefClient
from kseflow.clock import SimulatedClock, SystemClock, TimeBox
from kseflow.columns import table
from kseflow.console import report_console
from kseflow.errors import (
    AccessDenied,
    ContractViolation,
    CorruptDownload,
    KsefError,
    LoginFailed,
    OutOfTime,
    RequestRejected,
    Unavailable,
)
from kseflow.loading.exports.package import contents
from kseflow.loading.exports.unpack import unpacked
from kseflow.loading.upo import save_upo
from kseflow.progress import narrated
from kseflow.raw.tables import SESSION_INVOICES, SESSIONS
from kseflow.terminal import print_json
from tests.conftest import Stage
from tests.outside import BASE_URL, altered, bearer, body_of, instead, packed, zipped
from tests.simulation import Asking, asking

Make = Callable[..., Stage]
ESCAPES = "\x1b]0;owned\x07\x9b31m[/foo]\u202e"


@pytest.fixture
def small(stage: Make) -> Stage:
    return stage(taxpayers=1, days=1)


def listed(client: Asking) -> list[dict[str, Any]]:
    return [item for page in client.sessions("Online") for item in page.items]


def answering(content: Any, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda request: body_of(body, headers)


# -- time ---------------------------------------------------------------------------------------


@contextmanager
def dripping() -> Iterator[str]:
    """Serve, on a real socket, an answer that goes on for ever: a byte each fifth of a second."""
    done = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n"
            )
            while not done.wait(0.2):
                connection.sendall(b" ")

    def serve() -> None:
        while not done.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/v2"
        finally:
            done.set()


def ask(client: Asking, what: str) -> None:
    if what == "answer":
        client.public_key_certificates()
        return
    url = f"{client.base_url}/storage/part"
    from kseflow.api.answers import announced

    client.wait(client.client.storage.download(url, io.BytesIO(), what="it", bound=announced(999)))


@pytest.mark.parametrize("what", ["answer", "download"])
@pytest.mark.parametrize("end", ["time box", "stop"])
def test_an_answer_that_drips_ends_with_the_time_box_or_a_stop(
    stage: Make, what: str, end: str
) -> None:
    made = stage(taxpayers=1, days=1)
    box = TimeBox(SystemClock(), 1.0 if end == "time box" else 600.0)
    began = time.monotonic()
    with dripping() as base_url, asking(KsefClient(base_url, made.logins()[0], clock=box)) as it:
        if end == "stop":
            threading.Timer(1.0, box.stop).start()
        with pytest.raises(OutOfTime):
            ask(it, what)
    assert time.monotonic() - began < 8


class Drip(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(2)


def test_an_answer_that_drips_has_a_deadline_on_virtual_time_too(small: Stage) -> None:
    drips = instead("/sessions", lambda request: httpx.Response(200, stream=Drip()))
    began = small.clock.now()
    with altered(small, drips) as client, pytest.raises(Unavailable, match="TimeoutError"):
        listed(client)
    assert timedelta(minutes=20) < small.clock.now() - began < timedelta(minutes=40)


@pytest.mark.parametrize("wait", ["9" * 400, "99999999999999", "-5", "1e9", "²", ""])
def test_a_retry_after_of_any_kind_ends_within_the_time_box(small: Stage, wait: str) -> None:
    headers = [(b"Retry-After", wait.encode())]
    refused = instead("/sessions", lambda request: httpx.Response(429, headers=headers))
    box = small.box(600)
    with altered(small, refused, box=box) as client, pytest.raises(OutOfTime):
        listed(client)


# -- bytes --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exploded() -> dict[str, dict[str, Any]]:
    """Let all bombs go off in one process, and return what was told of each, and the peak."""
    script = Path(__file__).parent / "bombs.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {told["bomb"]: told for told in map(json.loads, done.stdout.splitlines())}


BOMBS = {
    "answer, gzip": "more than 20,000,000 bytes",
    "answer, gzip in one piece": "more than 20,000,000 bytes",
    "answer, gzip of gzip": "not asked for",
    "answer without an end": "more than 20,000,000 bytes",
    "answer of empty lists": "more than 2,000,000 values",
    "refusal, gzip": "more than 20,000,000 bytes",
    "download without an end": "size that KSeF announced",
    "Zip, bzip2": "packed by method 12",
    "Zip, lzma": "packed by method 14",
    "Zip, metadata of lists": "_metadata.json is larger than",
    "Zip, metadata of lists within its bytes": "more than 2,000,000 values",
    "Zip, invoice": "larger than",
    "Zip, directory": "headers are longer",
    "Zip, many members": "far more files than invoices",
    "TarGz, metadata of lists": "_metadata.json is larger than",
    "TarGz, pax header": "headers are longer",
    "TarGz, long name": "headers are longer",
    "TarGz, pax headers of pax headers": "headers are longer",
    "TarGz, sparse map": "headers are longer",
    "TarGz, sparse file": "no plain file",
    "TarGz, many members": "far more files than invoices",
    "receipt of elements": "more elements than a receipt has",
    "receipt of attributes": "more elements than a receipt has",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_in_less_than_500_mb(
    exploded: dict[str, dict[str, Any]], bomb: str
) -> None:
    told = exploded[bomb]
    assert BOMBS[bomb] in told["error"]
    assert told["is_ours"]
    assert told["peak_mb"] < 500


def test_every_bomb_that_is_made_is_judged(exploded: dict[str, dict[str, Any]]) -> None:
    assert exploded.keys() == BOMBS.keys()


def test_a_packed_answer_is_read_and_one_that_is_cut_is_asked_for_again(small: Stage) -> None:
    asked = count()

    def packed_answer(request: httpx.Request, real: httpx.Response) -> httpx.Response:
        if not request.url.path.endswith("/sessions"):
            return real
        content = gzip.compress(real.content)
        cut = content[:-9] if next(asked) == 0 else content
        return body_of(cut, {"content-encoding": "gzip"})

    with altered(small, packed_answer) as client:
        assert listed(client)
        assert client.spending["sessionList"].retry_count == 1


def big_package() -> tuple[Any, dict[str, Any], bytes]:
    """Return a package of one part of more than 50,000,016 bytes, of invoices above 3,000,000."""
    from kseflow.api.downloads import sha256_base64

    numbers = [f"5265877635-20261117-{place:012X}-00" for place in range(16)]
    files = {f"{n}.xml": random.Random(n).randbytes(3_200_000) for n in numbers}
    items = [
        {"ksefNumber": name[:-4], "invoiceHash": sha256_base64(content)}
        for name, content in files.items()
    ]
    files["_metadata.json"] = json.dumps({"invoices": items}).encode()
    return packed(zipped(files), len(numbers))


async def taken(client: Asking, export: Any, package: dict[str, Any], folder: Path) -> int:
    async with contents(client.client, export, package, folder) as found:
        return len(found.staged)


def test_parts_and_invoices_larger_than_documented_are_taken(small: Stage, tmp_path: Path) -> None:
    export, package, part = big_package()
    assert package["parts"][0]["encryptedPartSize"] > 50_000_016
    storage = instead("/storage/part", answering(part))
    with altered(small, storage) as client:
        assert client.wait(taken(client, export, package, tmp_path)) == 16
    with (
        altered(small, storage, size_factor=1) as client,
        pytest.raises(CorruptDownload, match="50,000,016 bytes, 1 times a part; a larger size_fac"),
    ):
        client.wait(taken(client, export, package, tmp_path))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("encryptedPartSize", "12"), ("encryptedPartSize", -1), ("encryptedPartSize", 2**70),
        ("encryptedPartSize", True), ("ordinalNumber", None), ("url", 5), ("url", "https://["),
        ("url", "\x00"), ("url", "https://mf.gov.pl@example.com/"), ("partHash", []),
        ("invoiceCount", "1"), ("invoiceCount", 10**9), ("parts", {}), ("parts", [5]),
        ("parts", None), ("compressionType", ["Zip"]), ("compressionType", "Rar" + ESCAPES),
    ],
)  # fmt: skip
def test_a_description_of_a_package_is_not_believed(
    small: Stage, tmp_path: Path, field: str, value: Any
) -> None:
    export, package, part = packed(zipped({"_metadata.json": b'{"invoices": []}'}), 0)
    (package if field in package else package["parts"][0])[field] = value
    with (
        altered(small, instead("/storage/part", answering(part))) as client,
        pytest.raises((CorruptDownload, ContractViolation)) as told,
    ):
        client.wait(taken(client, export, package, tmp_path))
    assert str(told.value).isprintable()


def test_a_member_that_comes_twice_is_refused(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "package.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("_metadata.json", b'{"invoices": []}')
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("_metadata.json", b'{"invoices": []}')
    with (
        path.open("rb") as file,
        pytest.raises(CorruptDownload, match="twice"),
        unpacked(file, "Zip", "package", None),
    ):
        pass


# -- receipts -----------------------------------------------------------------------------------


def receipts(made: Stage) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return a session that has a receipt, and two of its accepted invoices."""
    now, (context,) = made.clock.now(), made.contexts
    for session in made.world.sessions(context.id, now):
        reference = session["referenceNumber"]
        invoices = made.world.invoices(context.id, reference, now)
        accepted = [item for item in invoices if item["status"]["code"] == 200]
        if session["status"]["code"] == 200 and len(accepted) > 1:
            return reference, accepted[0], accepted[1]
    raise AssertionError("no such session")


def tampered(change: Callable[[str], str]) -> Callable[..., httpx.Response]:
    """Change receipts, and the hash that comes with them as well."""

    def alter(request: httpx.Request, real: httpx.Response) -> httpx.Response:
        if "/upo" not in request.url.path:
            return real
        content = change(real.text).encode()
        return body_of(content, {"content-type": "application/xml"})

    return alter


@pytest.mark.parametrize("by", ["number", "reference"])
@pytest.mark.parametrize("wrong", ["invoice", "session", "taxpayer", "two"])
def test_a_receipt_of_something_else_is_not_saved(
    small: Stage, tmp_path: Path, by: str, wrong: str
) -> None:
    session, mine, other = receipts(small)
    nip = small.contexts[0].id
    changes: dict[str, Callable[[str], str]] = {
        "invoice": lambda xml: xml.replace(mine["ksefNumber"], other["ksefNumber"]),
        "session": lambda xml: xml.replace(session, session[:-2] + "00"),
        "taxpayer": lambda xml: xml.replace(f"<Nip>{nip}<", "<Nip>5265877635<"),
        "two": lambda xml: xml.replace("</Potw", xml[xml.index("<Dok") :]),
    }
    asked = (
        {"ksef_number": mine["ksefNumber"]}
        if by == "number"
        else {"invoice": mine["referenceNumber"]}
    )
    out = tmp_path / "out"
    with altered(small, tampered(changes[wrong])) as client, pytest.raises(CorruptDownload):
        client.wait(save_upo(client.client, out, session, **asked))
    assert not out.exists()
    with altered(small, tampered(lambda xml: xml)) as client:
        assert client.wait(save_upo(client.client, out, session, **asked))


@pytest.mark.parametrize("reference", ["x/../../../PWNED", "..", "", "a b", "x\n", 5, None, "ą"])
def test_a_pages_reference_never_becomes_a_path(
    small: Stage, tmp_path: Path, reference: Any
) -> None:
    session, *_ = receipts(small)

    def alter(request: httpx.Request, real: httpx.Response) -> httpx.Response:
        if not request.url.path.endswith(session):
            return real
        told = real.json()
        told["upo"]["pages"][0]["referenceNumber"] = reference
        return body_of(json.dumps(told).encode())

    out = tmp_path / "a" / "b" / "c" / "d"
    with altered(small, alter) as client, pytest.raises(ContractViolation, match="no reference"):
        client.wait(save_upo(client.client, out, session))
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("reference", ["x/../../auth", "a?b", "a#b", "", "x\n", "%2e%2e"])
def test_a_reference_that_could_be_a_path_is_never_asked_for(small: Stage, reference: str) -> None:
    with altered(small, lambda request, real: real) as client:
        for method in ("session", "export_status"):
            with pytest.raises(ContractViolation, match="no reference"):
                getattr(client, method)(reference)
        assert [r for r in small.app.requests if "/auth/" not in r.path] == []


# -- lists --------------------------------------------------------------------------------------


def lists(pages: Iterator[tuple[list[Any], Any]]) -> Callable[..., httpx.Response]:
    """Answer each request for a list with the next of these (items, continuation token)."""

    def page(request: httpx.Request) -> httpx.Response:
        items, token = next(pages)
        return body_of(json.dumps({"sessions": items, "continuationToken": token}).encode())

    return instead("/sessions", page)


def row(number: int) -> dict[str, str]:
    return {"referenceNumber": f"2026-{number}"}


@pytest.mark.parametrize(
    "pages",
    [
        (([], "AB"[place % 2]) for place in count()),
        (([], f"token{place}") for place in count()),
        (([row(1), row(2)], f"token{place}") for place in count()),
        (([row(place % 3)], "ABC"[place % 3]) for place in count()),
        (([row(place) for place in range(3)], "same") for _ in count()),
    ],
    ids=["alternating", "always new", "same rows", "in a circle", "same token and rows"],
)
def test_a_list_that_brings_nothing_new_ends(
    small: Stage, pages: Iterator[tuple[list[Any], Any]]
) -> None:
    with altered(small, lists(pages)) as client, pytest.raises(ContractViolation, match="circles"):
        listed(client)
    assert client.spending["sessionList"].request_count < 20


def test_a_token_that_stays_and_an_empty_page_are_no_circle(small: Stage) -> None:
    pages = iter([([row(1)], "A"), ([row(2)], "A"), ([], "B"), ([row(3)], "A"), ([row(4)], None)])
    with altered(small, lists(pages)) as client:
        assert len(listed(client)) == 4


@pytest.mark.parametrize("token", ["a\r\nX: 1", "é", " a", 5, ["a"], "a" * 9000, {"a": 1}])
def test_a_continuation_token_that_fits_no_header_is_told(small: Stage, token: Any) -> None:
    with (
        altered(small, lists(iter([([row(1)], token)]))) as client,
        pytest.raises(ContractViolation, match="continuation token"),
    ):
        listed(client)


# -- login --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "base_url"),
    [(30, BASE_URL), (-30, BASE_URL), *((d, "https://example.com/v2") for d in (30, -30, 0.01))],
)
def test_a_login_by_a_clock_that_is_far_from_ours_is_refused(
    small: Stage, days: float, base_url: str
) -> None:
    def alter(request: httpx.Request, real: httpx.Response) -> httpx.Response:
        if not request.url.path.endswith("/auth/challenge"):
            return real
        told = real.json()
        at = datetime.fromisoformat(told["timestamp"]) + timedelta(days=days)
        return body_of(json.dumps({**told, "timestamp": at.isoformat()}).encode())

    with (
        altered(small, alter, base_url=base_url) as client,
        pytest.raises(LoginFailed, match="this machine's clock"),
    ):
        listed(client)


@pytest.mark.parametrize("days", [400, -400])
def test_an_emulator_may_live_at_another_time(small: Stage, days: float) -> None:
    box = TimeBox(SimulatedClock(VirtualClock(small.clock.now() + timedelta(days=days))))
    with altered(small, lambda request, real: real, box=box) as client:
        assert listed(client)
        assert abs(client.now() - small.clock.now()) < timedelta(minutes=1)


AGES = "0001-01-01T00:00:00+23:59"
LOGIN_ANSWERS = {
    "/auth/challenge": [
        {"timestamp": AGES}, {"timestamp": 5}, {"timestamp": "2026-11-17T13:00:00"},
        {"timestamp": None}, {"timestampMs": None}, {"challenge": {}}, {"challenge": "\x00"},
    ],
    "/auth/ksef-token": [
        {"referenceNumber": "x/../../../PWNED"}, {"referenceNumber": 5},
        {"authenticationToken": {"token": "a\r\nb", "validUntil": "2027-01-01T00:00:00Z"}},
        {"authenticationToken": {"token": "é", "validUntil": "2027-01-01T00:00:00Z"}},
        {"authenticationToken": {"token": "a", "validUntil": AGES}},
        {"authenticationToken": {"token": 5, "validUntil": "2027-01-01T00:00:00Z"}},
        {"authenticationToken": "a"},
    ],
    "/auth/token/redeem": [
        {"accessToken": {"token": "a", "validUntil": AGES}}, {"refreshToken": []},
        {"accessToken": {"token": "a" * 99_999, "validUntil": "2027-01-01T00:00:00Z"}},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "changes"), [(path, each) for path, all_ in LOGIN_ANSWERS.items() for each in all_]
)
def test_a_login_answer_that_is_garbled_is_told_and_nothing_is_sent_with_it(
    small: Stage, path: str, changes: dict[str, Any]
) -> None:
    def alter(request: httpx.Request, real: httpx.Response) -> httpx.Response:
        if not request.url.path.endswith(path):
            return real
        return body_of(json.dumps({**real.json(), **changes}).encode())

    with (
        altered(small, alter) as client,
        pytest.raises((ContractViolation, LoginFailed)) as told,
    ):
        listed(client)
    assert str(told.value).isprintable()


@pytest.mark.parametrize(
    "keys",
    [
        5, "keys", {}, [5], [{}], [{"usage": 5, "validFrom": AGES, "validTo": AGES}],
        *([{"usage": ["KsefTokenEncryption"], "validFrom": "2026-01-01T00:00:00Z",
            "validTo": "2027-01-01T00:00:00Z", "certificate": certificate}]
          for certificate in ("", "AAAA", "a", 5, None, "é", "MIIB")),
        [{"usage": ["KsefTokenEncryption"], "validFrom": AGES, "validTo": AGES}],
        [{"usage": ["KsefTokenEncryption"], "validFrom": "2026-01-01", "validTo": "2027-01-01"}],
    ],
)  # fmt: skip
def test_public_keys_that_are_none_are_told(small: Stage, keys: Any) -> None:
    garbled = instead("/public-key-certificates", answering(keys))
    with altered(small, garbled) as client, pytest.raises(ContractViolation):
        listed(client)


@pytest.mark.parametrize(
    "claims",
    [b"", b"5", b"[]", b'{"per": 5}', b'{"per": [[1]]}', b'{"per": "["}', b"\xff", b"[" * 9999],
)
def test_claims_are_only_a_hint(small: Stage, claims: bytes) -> None:
    def alter(request: httpx.Request, real: httpx.Response) -> httpx.Response:
        if not request.url.path.endswith(("/auth/token/redeem", "/auth/token/refresh")):
            return real
        told = real.json()
        told["accessToken"]["token"] = bearer(claims)
        return body_of(json.dumps(told).encode())

    with altered(small, alter) as client:
        with pytest.raises(RequestRejected):  # the emulator knows no such token
            listed(client)
        assert not client.permissions


# -- refusals and shapes ------------------------------------------------------------------------

REFUSALS: list[Any] = [
    5, None, [], "text", {}, {"exception": 5}, {"exception": {"exceptionDetailList": 5}},
    {"exception": {"exceptionDetailList": [5, None, {"exceptionCode": [1], "details": 5}]}},
    {"exception": {"exceptionDetailList": [{"exceptionCode": "21405", "details": {"a": 1}}]}},
    {"exception": {"exceptionDetailList": [{"exceptionDescription": {"a": 1}, "details": [5]}]}},
    {"errors": "all"}, {"errors": [5, {"code": {}, "description": 5, "details": "abc"}]},
    {"status": {"description": 5, "details": 5}}, {"status": {"details": [{}]}},
    {"detail": {"a": 1}}, {"title": ["a"]}, {"security": [1]}, {"security": "x", "title": 5},
    {"detail": ESCAPES * 1000}, {"reasonCode": {"deep": [[[[[[[[[1]]]]]]]]]}},
]  # fmt: skip


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418])
@pytest.mark.parametrize("body", REFUSALS, ids=range(len(REFUSALS)))
def test_a_refusal_of_any_shape_is_one_of_ours(small: Stage, body: Any, status: int) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=json.dumps(body))

    with altered(small, instead("/sessions", refuse)) as client, pytest.raises(
        AccessDenied if status in (401, 403) else RequestRejected
    ) as told:  # fmt: skip
        listed(client)
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 10_000


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"NaN", b"[]", b"5", b"{", b"[" * 100_000,
        b'{"sessions": 5}', b'{"sessions": {}}', b'{"sessions": NaN}', b'{"sessions": "\\ud800"}',
        b'{"sessions": [' + b"9" * 1_000_000, b'{"a": ' * 100_000 + b"1" + b"}" * 100_000,
    ],
    ids=range(14),
)  # fmt: skip
def test_json_of_any_kind_is_a_list_or_told(small: Stage, body: bytes) -> None:
    with (
        altered(small, instead("/sessions", answering(body))) as client,
        pytest.raises(ContractViolation),
    ):
        listed(client)


@pytest.mark.parametrize("kind", ["text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml"])
def test_a_page_is_weather_however_it_is_called(small: Stage, kind: str) -> None:
    page = instead("/sessions", answering(b"<html>", **{"content-type": kind}))
    with altered(small, page) as client, pytest.raises(Unavailable, match="firewall"):
        listed(client)


@pytest.mark.parametrize("limit", [0, -2, True, 1.5, "5", None, [], 10**30])
def test_a_limit_that_is_none_is_the_documented_one(
    small: Stage, limit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    group = {"perSecond": limit, "perMinute": 10, "perHour": 60}
    garbled = instead("/rate-limits", answering({"sessionList": group, ESCAPES: 5}))
    with altered(small, garbled) as client:
        client.rate_limits()
        assert client.windows.hourly_limit("sessionList") == 60
        assert listed(client)
    assert caplog.text.replace("\n", "").isprintable()


NOW = datetime(2026, 11, 17, tzinfo=UTC)
STAMPS = {"context_type": "Nip", "context_id": "5265877635", "read_at": NOW}
INVOICE = {
    "ordinalNumber": 1, "referenceNumber": "20250918-EE-2F15D39000-242207E5C4-1B",
    "invoicingDate": "2025-09-18T12:23:56.0154302+00:00",
    "status": {"code": 200, "description": "Sukces"},
}  # fmt: skip
DEEP: Any = json.loads("[" * 900 + "]" * 900)


@pytest.mark.parametrize(
    ("path", "value", "column"),
    [
        ("invoiceNumber", 5, "invoice_number"), ("invoiceNumber", {"a": 1}, "invoice_number"),
        ("invoiceNumber", True, "invoice_number"), ("acquisitionDate", 5, "acquisition_date"),
        ("acquisitionDate", "9999-12-31T00:00:00Z", "acquisition_date"),
        ("acquisitionDate", "2026-11-17T13:00:00", "acquisition_date"),
        ("permanentStorageDate", [], "permanent_storage_date"),
        ("status.details", "abc", "status_details"), ("status.details", ["a", 5], "status_details"),
        ("status.extensions", "abc", "status_extensions"),
        ("status.extensions", 5, "status_extensions"),
        ("status.description", {"a": {}}, "status_description"),
        ("invoiceNumber", DEEP, "invoice_number"), ("invoiceHash", 10**18, "invoice_hash"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_kept_beside_its_column_and_hurts_no_neighbour(
    path: str, value: Any, column: str
) -> None:
    odd = json.loads(json.dumps(INVOICE))
    first, _, second = path.partition(".")
    (odd[first] if second else odd)[second or first] = value
    good = {**INVOICE, "invoiceNumber": "FA/1", "acquisitionDate": "2026-11-17T13:00:00Z"}
    rows = SESSION_INVOICES.arrow_from_api(
        [good, odd], session_reference_number="S", **STAMPS
    ).to_pylist()
    assert rows[0]["invoice_number"] == "FA/1"
    assert rows[0]["acquisition_date"] == datetime(2026, 11, 17, 13, tzinfo=UTC)
    assert rows[0]["unrecognised"] is None
    assert rows[1][column] is None
    kept = json.loads(rows[1]["unrecognised"])
    assert kept == ({path: value} if value is not DEEP else "(nested too deep to be kept)")


@pytest.mark.parametrize("value", [5, True, DEEP, {"a": 1}, "9999-12-31T00:00:00Z", "x" * 10**6])
def test_a_required_value_of_another_kind_names_its_row(value: Any) -> None:
    odd = {**INVOICE, "invoicingDate": value}
    with pytest.raises(ContractViolation, match="invoicingDate of 20250918-EE-") as told:
        SESSION_INVOICES.arrow_from_api(
            [INVOICE, odd, INVOICE], session_reference_number="S", **STAMPS
        )
    assert len(str(told.value)) < 1000


def test_a_counter_must_be_a_number() -> None:
    item = {
        "referenceNumber": "S", "status": {"code": 200, "description": "ok"},
        "dateCreated": "2025-09-25T13:48:26Z", "dateUpdated": "2025-09-26T02:16:07Z",
        "totalInvoiceCount": 2, "successfulInvoiceCount": 2, "failedInvoiceCount": 0,
    }  # fmt: skip
    assert SESSIONS.accepts(item)
    odd: Any
    for odd in ("2", True, 1.5, 2**31, 10**300, [2], {}):
        assert not SESSIONS.accepts({**item, "totalInvoiceCount": odd}), odd


# -- words of others ----------------------------------------------------------------------------


def test_our_errors_hold_nothing_that_a_terminal_obeys() -> None:
    told = str(KsefError(f"KSeF said {ESCAPES}"))
    assert told.isprintable()
    assert "[/foo]" in told
    assert len(str(KsefError("x" * 10**6))) < 5000


def test_what_is_printed_holds_nothing_that_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = table("Words of others", "name", "reason")
    made.add_row(escape(ESCAPES), escape(ESCAPES))
    console = report_console()
    console.print(made)
    console.print(escape(ESCAPES))
    print_json({"reason": ESCAPES})
    printed = capsys.readouterr().out
    assert printed.count("[/foo]") == 4
    assert printed.replace("\n", "").isprintable()
    assert json.loads(printed[printed.index("{") :]) == {"reason": ESCAPES}


def test_a_log_line_is_no_markup(small: Stage) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200)
    with narrated(console, level=logging.DEBUG):
        logging.getLogger("kseflow").warning("KSeF says [/foo] [bold]loud[/bold]")
    assert "[/foo] [bold]loud[/bold]" in screen.getvalue()


def test_a_link_that_is_none_is_told(small: Stage) -> None:
    from kseflow.api.answers import announced

    for url in ("", 5, None, "http://[", "x" * 99_999, f"{BASE_URL[:5]}s://example.com/x", "\x00"):
        with (
            altered(small, lambda request, real: real) as client,
            pytest.raises(ContractViolation),
        ):
            client.wait(
                client.client.storage.download(url, io.BytesIO(), what="it", bound=announced(9))
            )
