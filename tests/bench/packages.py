"""Part 7: to take in a package of invoices, beside openssl and unzip of the same bytes.

Ours downloads, checks KSeF's hashes before and after decryption and of each invoice, decrypts,
unpacks and keeps the XML; openssl and unzip decrypt the parts and unpack, and check nothing.
"""

import json
import secrets
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from kseflow.api.client import KsefClient
from kseflow.api.downloads import Storage, sha256_base64
from kseflow.api.gateway import Gateway
from kseflow.clock import SystemClock, TimeBox
from kseflow.loading.exports.package import Export, contents
from kseflow.loading.exports.windows import Window
from tests.bench.figures import Bound, Figure, Scale
from tests.bench.measured import Cost, measured

TITLE = "7. Packages with XML"
INVOICE_BYTES = 200_000
PART_BYTES = 50_000_000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def write_package(folder: Path, megabytes: int) -> tuple[Export, dict[str, Any]]:
    """Write encrypted parts of a package of invoices that hardly compress."""
    count, items = megabytes * 1_000_000 // INVOICE_BYTES, []
    archive = folder / "package.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
        for number in range(count):
            content = secrets.token_bytes(INVOICE_BYTES)
            ksef_number = f"5265877635-20261117-{number:012X}-00"
            package.writestr(f"{ksef_number}.xml", content)
            items.append({"ksefNumber": ksef_number, "invoiceHash": sha256_base64(content)})
        package.writestr("_metadata.json", json.dumps({"invoices": items}))
    key, iv = secrets.token_bytes(32), secrets.token_bytes(16)
    with archive.open("rb") as file:
        plains = iter(partial(file.read, PART_BYTES), b"")
        parts = [_write_part(folder, n, plain, key, iv) for n, plain in enumerate(plains, start=1)]
    archive.unlink()
    window = Window("Subject1", "2026-11-17T00:00:00Z", None)
    export = Export("EH", window, False, "Zip", datetime.now(UTC), {}, key, iv)
    return export, {"parts": parts, "invoiceCount": count, "compressionType": "Zip"}


def _write_part(folder: Path, number: int, plain: bytes, key: bytes, iv: bytes) -> dict[str, Any]:
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    encrypted = encryptor.update(padder.update(plain) + padder.finalize())
    name = f"{number:03d}.aes"
    (folder / name).write_bytes(encrypted)
    return {
        "ordinalNumber": number,
        "url": name,
        "partSize": len(plain),
        "partHash": sha256_base64(plain),
        "encryptedPartSize": len(encrypted),
        "encryptedPartHash": sha256_base64(encrypted),
    }


def take(export: Export, package: dict[str, Any], base_url: str, folder: Path) -> int:
    """Take a package in as a load does; return how many invoices were kept."""
    box = TimeBox(SystemClock())
    gateway = Gateway(base_url, box)
    storage = Storage(base_url, gateway.send, gateway.gate, box, {})
    client = cast(KsefClient, SimpleNamespace(storage=storage, gateway=gateway))

    async def taken() -> None:
        async with contents(client, export, package, folder) as found:
            found.keep_xml(folder)
        await gateway.aclose()

    with box.loop() as loop:
        loop.run(taken())
    return len(list(folder.rglob("*.xml")))


def by_openssl(export: Export, package: dict[str, Any], folder: Path, target: Path) -> int:
    """Decrypt and unpack the same parts; return how many invoices there were."""
    key, iv = export.key.hex(), export.iv.hex()
    archive = folder / "package.zip"
    with archive.open("wb") as file:
        for part in package["parts"]:
            number = f"{part['ordinalNumber']:03d}"
            named = ["-in", str(folder / f"{number}.aes"), "-K", key, "-iv", iv]
            subprocess.run(
                ["openssl", "enc", "-d", "-aes-256-cbc", *named], stdout=file, check=True
            )
    subprocess.run(["unzip", "-q", str(archive), "-d", str(target)], check=True)
    archive.unlink()
    return len(list(target.rglob("*.xml")))


def both(megabytes: int) -> tuple[Cost, Cost]:
    """Return what a package of that size costs us, and openssl and unzip."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        export, package = write_package(folder, megabytes)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=name))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base_url = f"http://127.0.0.1:{server.server_port}"
        parts = [{**part, "url": f"{base_url}/{part['url']}"} for part in package["parts"]]
        ours = measured(take, export, {**package, "parts": parts}, f"{base_url}/v2", folder / "xml")
        server.shutdown()
        server.server_close()
        theirs = measured(by_openssl, export, package, folder, folder / "theirs")
    assert ours.answer == theirs.answer == package["invoiceCount"]
    return ours, theirs


def figures(scale: Scale) -> Iterator[Figure]:
    """Yield CPU, time and memory of packages, by their size."""
    smallest_mb = None
    for megabytes in scale.of((50,), (50, 200), (50, 200, 1000)):
        ours, theirs = both(megabytes)
        name = "openssl, unzip"
        smallest_mb = smallest_mb or ours.peak_mb
        yield Figure(
            f"{megabytes:,} MB: CPU", ours.cpu_s, "s", {name: theirs.cpu_s}, (Bound(name, most=3),)
        )
        yield Figure(f"{megabytes:,} MB: time", ours.seconds, "s", {name: theirs.seconds})
        yield Figure(
            f"{megabytes:,} MB: memory",
            ours.peak_mb,
            "MB",
            {"50 MB": smallest_mb},
            (Bound("50 MB", most=1.5),),
        )
