"""What is fuzzed: each parser by itself, and the whole client on a wire.

A case is a target and the answers it is given in place of the real ones, so that one that was
found can be kept and run again whatever becomes of the mutations.
"""

import base64
import gzip
import io
import json
import random
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from ksef_emulator import Emulator, ExportSettings, VirtualClock, World
from kseflow.api.answers import Answer, accepted, moment, object_of
from kseflow.api.client import KsefClient, make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.api.keys import encrypted, newest_key
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.context import Context
from kseflow.errors import KsefError
from kseflow.loading.exports.package import contents, request
from kseflow.loading.exports.unpack import unpacked
from kseflow.loading.exports.windows import Window
from kseflow.loading.upo import UpoPage, save_upo, session_upo_pages, upo_documents
from kseflow.raw.tables import INVOICE_METADATA, SESSION_INVOICES, SESSIONS
from tests.fuzz.mutations import HEADERS, STATUSES, mutated
from tests.simulation import Wire

AT = datetime(2026, 11, 17, 13, tzinfo=UTC)
BASE_URL = "http://127.0.0.1:9/v2"
STAMPS: dict[str, Any] = {"context_type": "Nip", "context_id": "1", "read_at": AT}
OF_TABLE: dict[str, dict[str, Any]] = {
    "sessions": {"session_type": "Online"},
    "invoices": {"session_reference_number": "S"},
    "metadata": {"subject_type": "Subject1", "package_reference_number": "P"},
}
TABLES = {"sessions": SESSIONS, "invoices": SESSION_INVOICES, "metadata": INVOICE_METADATA}


@dataclass(frozen=True)
class Given:
    """One answer in place of a real one."""

    content: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        content = base64.b64encode(self.content).decode()
        return {"content": content, "status": self.status, "headers": dict(self.headers)}

    @classmethod
    def from_json(cls, item: dict[str, Any]) -> "Given":
        return cls(base64.b64decode(item["content"]), item["status"], item["headers"])

    def mutated(self, draw: random.Random) -> "Given":
        """Return another answer than this one: in its status, headers or body."""
        kind = draw.randrange(6)
        if kind == 0:
            return replace(self, status=draw.choice(STATUSES))
        if kind == 1:
            name = draw.choice(list(HEADERS))
            return replace(self, headers={**self.headers, name: draw.choice(HEADERS[name])})
        status = draw.choice(STATUSES) if kind == 2 else self.status
        return replace(self, status=status, content=mutated(self.content, draw))


class FuzzedWire(Wire):
    """A wire to an emulator on which some answers are others; `given` are those, by their place.

    With `draw` one in so many is drawn.
    """

    def __init__(
        self, app: Emulator, given: dict[int, Given], draw: random.Random | None, rate: float
    ) -> None:
        super().__init__(app)
        self._draw, self._rate = draw, rate
        self.given = given
        self.real: list[tuple[str, Given]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        await answer.aread()
        real = Given(answer.content, answer.status_code, dict(answer.headers))
        place = len(self.real)
        self.real.append((request.url.path, real))
        if self._draw is not None and self._draw.random() < self._rate:
            self.given[place] = real.mutated(self._draw)
        told = self.given.get(place, real)
        headers = [(name.encode(), value.encode("latin-1")) for name, value in told.headers.items()]
        return httpx.Response(told.status, headers=headers, stream=httpx.ByteStream(told.content))


class Ground:
    """A small world, and what its emulator really answered."""

    def __init__(self) -> None:
        since = AT - timedelta(days=1)
        self.world = World(seed=3, taxpayers=1, since=since, sessions_per_day=6, largest_session=6)
        self.context = Context("Nip", self.world.taxpayers[0].context_id)
        self.real = self.walked({}, None, 0.0).real
        self.lists = [given for path, given in self.real if b'"sessions"' in given.content[:99]
                      or path.endswith("/invoices")]  # fmt: skip
        self.real_json = [given for _, given in self.real if given.content[:1] in (b"{", b"[")]
        self.keys = next(g for path, g in self.real if path.endswith("-certificates"))
        self.receipt = next(g for _, g in self.real if b"<Potwierdzenie" in g.content)
        self.session = self.receipt.content.partition(b"Sesji>")[2].partition(b"<")[0].decode()

    def walked(
        self, given: dict[int, Given], draw: random.Random | None, rate: float
    ) -> FuzzedWire:
        """Ask for everything once; raises what the client raises, with `given` filled."""
        clock = VirtualClock(AT)
        app = Emulator(self.world, clock, "off", exports=ExportSettings(cap=5))
        box = TimeBox(SimulatedClock(clock), 7200)
        wire = FuzzedWire(app, given, draw, rate)
        login = TokenCredentials(self.context, self.world.taxpayers[0].token)
        (client,) = make_clients(BASE_URL, [login], box, transport=wire)
        with box.loop() as loop:
            loop.run(walk(client))
        return wire


async def walk(client: KsefClient) -> None:
    """Ask for everything once, as a load and `kseflow upo` do; go on after what is told."""
    await client.rate_limits()
    found = [page async for page in client.sessions("Online")]
    for page in found:
        SESSIONS.arrow_from_api(page.items, **STAMPS, **OF_TABLE["sessions"])
        for item in page.items[:3]:
            try:
                await _session(client, item["referenceNumber"])
            except KsefError:
                continue
    for compression in ("Zip", "TarGz"):
        try:
            await _export(client, compression)
        except KsefError:
            continue


async def _session(client: KsefClient, reference: str) -> None:
    async for page in client.session_invoices(reference):
        SESSION_INVOICES.arrow_from_api(page.items, **STAMPS, **OF_TABLE["invoices"])
    async for upo in session_upo_pages(client, reference):
        upo_documents(upo, client.context, reference)
    accepted_rows = [i for i in page.items if i["status"]["code"] == 200]
    with tempfile.TemporaryDirectory() as folder:
        await save_upo(client, Path(folder), reference)
        for item in accepted_rows[:1]:
            await save_upo(client, Path(folder), reference, ksef_number=item["ksefNumber"])
            await save_upo(client, Path(folder), reference, invoice=item["referenceNumber"])


async def _export(client: KsefClient, compression: str) -> None:
    window = Window("Subject1", (AT - timedelta(days=1)).isoformat(), None)
    made = await request(client, window, is_metadata_only=False, compression=compression)
    status: dict[str, Any] = {}
    for _ in range(20):
        await client.sleep(30)
        status = await client.export_status(made.reference_number)
        if status.get("package"):
            break
    with tempfile.TemporaryDirectory() as folder:
        async with contents(client, made, status.get("package") or {}, Path(folder)) as found:
            INVOICE_METADATA.arrow_from_api(found.metadata, **STAMPS, **OF_TABLE["metadata"])
            found.keep_xml(Path(folder))


def _rows(kind: str) -> Callable[[Ground, Given], None]:
    def run(ground: Ground, given: Given) -> None:
        page = object_of(Answer("GET /x", 200, httpx.Headers(), given.content))
        items = next((value for value in page.values() if isinstance(value, list)), [page])
        TABLES[kind].arrow_from_api(items, **STAMPS, **OF_TABLE[kind])

    return run


def _answer(ground: Ground, given: Given) -> None:
    headers = httpx.Headers([(k.encode(), v.encode("latin-1")) for k, v in given.headers.items()])
    answer = Answer("GET /x", given.status, headers, given.content)
    object_of(accepted(answer))


def _receipt(ground: Ground, given: Given) -> None:
    upo_documents(UpoPage("EU-1", given.content, AT), ground.context, ground.session)


def _key(ground: Ground, given: Given) -> None:
    answer = Answer("GET /x", 200, httpx.Headers(), b'{"keys": %s}' % given.content)
    encrypted(b"content", newest_key(object_of(answer)["keys"], "KsefTokenEncryption", AT))


def _moment(ground: Ground, given: Given) -> None:
    moment(given.content.decode("latin-1"), "it")


def _archive(compression: str) -> Callable[[Ground, Given], None]:
    def run(ground: Ground, given: Given) -> None:
        with tempfile.TemporaryFile() as file, tempfile.TemporaryDirectory() as folder:
            file.write(given.content)
            file.seek(0)
            with unpacked(file, compression, "it", Path(folder), invoice_count=9):
                pass

    return run


PARSERS: dict[str, Callable[[Ground, Given], None]] = {
    "answer": _answer,
    "receipt": _receipt,
    "key": _key,
    "moment": _moment,
    **{f"rows of {kind}": _rows(kind) for kind in TABLES},
    **{f"archive {compression}": _archive(compression) for compression in ("Zip", "TarGz")},
}
CLIENT = "client"


def archives() -> dict[str, Given]:
    """Return an archive of each kind, whole and as agreed."""
    number = "5265877635-20261117-010000000000-AB"
    members = {
        f"{number}.xml": b"<a/>" * 50,
        "_metadata.json": json.dumps(
            {"invoices": [{"ksefNumber": number, "invoiceHash": "x" * 44}]}
        ).encode(),
    }
    packed, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with tarfile.open(fileobj=tarred, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(content), {"comment": "ą"}
            tar.addfile(info, io.BytesIO(content))
    return {"archive Zip": Given(packed.getvalue()), "archive TarGz": Given(tarred.getvalue())}


def drawn(ground: Ground, parser: str, draw: random.Random) -> Given:
    """Return what to give a parser: a real input, changed at random."""
    real = {
        "receipt": ground.receipt,
        "key": ground.keys,
        "moment": Given(b"2026-11-17T13:00:00.1234567+01:00"),
        **archives(),
    }.get(parser) or draw.choice(ground.lists if parser.startswith("rows") else ground.real_json)
    given = real.mutated(draw)
    if parser == "archive TarGz":  # changed before it is packed, or nothing but gzip is fuzzed
        return replace(given, content=gzip.compress(given.content, 1))
    return given
