"""What comes from outside, altered on its way: answers that change, packages of any kind."""

import base64
import io
import secrets
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ksef_emulator import Emulator
from kseflow.api.client import make_clients
from kseflow.api.downloads import sha256_base64
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.loading.exports.package import Export
from kseflow.loading.exports.windows import Window
from tests.conftest import Stage
from tests.simulation import Asking, Wire, asking

BASE_URL = "http://127.0.0.1:9/v2"  # where nothing listens

Alter = Callable[[httpx.Request, httpx.Response], httpx.Response]


class AlteredWire(Wire):
    """A wire to an emulator whose answers `alter` may change; their bodies are read already."""

    def __init__(self, app: Emulator, alter: Alter) -> None:
        super().__init__(app)
        self._alter = alter

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        await answer.aread()
        return self._alter(request, answer)


def body_of(content: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    """Return an answer with this body, to be read as it comes."""
    kind = {"content-type": "application/json", **(headers or {})}
    return httpx.Response(200, headers=kind, stream=httpx.ByteStream(content))


def instead(path_end: str, answer: Callable[[httpx.Request], httpx.Response]) -> Alter:
    """Return what answers requests to one path, and no others."""

    def alter(request: httpx.Request, real: httpx.Response) -> httpx.Response:
        return answer(request) if request.url.path.endswith(path_end) else real

    return alter


@contextmanager
def altered(
    made: Stage,
    alter: Alter,
    *,
    box: TimeBox | None = None,
    size_factor: int = 10,
    base_url: str = BASE_URL,
) -> Iterator[Asking]:
    """Give a client of a stage's first taxpayer whose answers are altered."""
    made.app = Emulator(made.world, made.clock, made.limits, exports=made.exports)
    (client,) = make_clients(
        base_url,
        made.logins()[:1],
        box or TimeBox(SimulatedClock(made.clock)),
        transport=AlteredWire(made.app, alter),
        size_factor=size_factor,
    )
    with asking(client) as asked:
        yield asked


def zipped(members: dict[str, bytes]) -> bytes:
    """Return a Zip archive of these files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def packed(archive: bytes, invoice_count: int) -> tuple[Export, dict[str, Any], bytes]:
    """Return an export, the description of its package of one part, and that part, encrypted."""
    key, iv = secrets.token_bytes(32), secrets.token_bytes(16)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    part = encryptor.update(padder.update(archive) + padder.finalize()) + encryptor.finalize()
    window = Window("Subject1", "2026-11-17T00:00:00+00:00", None)
    at = datetime(2026, 11, 17, tzinfo=UTC)
    export = Export("20261117-EH-1", window, False, "Zip", at, {}, key, iv)
    described = {
        "invoiceCount": invoice_count,
        "compressionType": "Zip",
        "parts": [
            {
                "ordinalNumber": 1,
                "url": f"{BASE_URL}/storage/part",
                "partSize": len(archive),
                "partHash": sha256_base64(archive),
                "encryptedPartSize": len(part),
                "encryptedPartHash": sha256_base64(part),
            }
        ],
    }
    return export, described, part


def bearer(claims: bytes) -> str:
    """Return an access token with these claims, signed by nobody."""
    middle = base64.urlsafe_b64encode(claims).decode().rstrip("=")
    return f"e30.{middle}.c2ln"
