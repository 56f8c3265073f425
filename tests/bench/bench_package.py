"""Memory and time to take in a package, by its size: download, decrypt, verify, unpack, keep XML.

python tests/bench/bench_package.py [MEGABYTES ...]

Each size runs in a process of its own; the first is the baseline of the ratios.
"""

import json
import multiprocessing
import resource
import secrets
import sys
import tempfile
import threading
import time
import zipfile
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
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
    parts: list[dict[str, Any]] = []
    with archive.open("rb") as file:
        while plain := file.read(PART_BYTES):
            padder = padding.PKCS7(128).padder()
            encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
            encrypted = encryptor.update(padder.update(plain) + padder.finalize())
            name = f"{len(parts):03d}.aes"
            (folder / name).write_bytes(encrypted)
            parts.append(
                {
                    "ordinalNumber": len(parts) + 1,
                    "url": name,
                    "partSize": len(plain),
                    "partHash": sha256_base64(plain),
                    "encryptedPartSize": len(encrypted),
                    "encryptedPartHash": sha256_base64(encrypted),
                }
            )
    archive.unlink()
    window = Window("Subject1", "2026-11-17T00:00:00Z", None)
    export = Export("EH", window, False, "Zip", datetime.now(UTC), {}, key, iv)
    return export, {"parts": parts, "invoiceCount": count, "compressionType": "Zip"}


def take(
    export: Export, package: dict[str, Any], base_url: str, folder: Path, answer: object
) -> None:
    """Take a package in, and answer with seconds and peak memory in MB."""
    box = TimeBox(SystemClock())
    gateway = Gateway(base_url, box)
    storage = Storage(base_url, gateway.send, gateway.gate, box, {})
    client = cast(KsefClient, SimpleNamespace(storage=storage, gateway=gateway))
    begun = time.perf_counter()

    async def taken() -> None:
        async with contents(client, export, package, folder) as found:
            found.keep_xml(folder)
        await gateway.aclose()

    with box.loop() as loop:
        loop.run(taken())
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    answer.put((time.perf_counter() - begun, peak_mb))  # type: ignore[attr-defined]


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [50, 200, 1000]
    baseline = None
    for megabytes in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            export, package = write_package(folder, megabytes)
            server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=name))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            base_url = f"http://127.0.0.1:{server.server_port}"
            for part in package["parts"]:
                part["url"] = f"{base_url}/{part['url']}"
            context = multiprocessing.get_context("spawn")
            answer = context.Queue()
            child = context.Process(
                target=take, args=(export, package, base_url, folder / "xml", answer)
            )
            child.start()
            seconds, peak_mb = answer.get()
            child.join()
            server.shutdown()
            kept = list((folder / "xml").rglob("*.xml"))
            assert len(kept) == package["invoiceCount"]
        baseline = baseline or (megabytes, seconds, peak_mb)
        print(
            f"{megabytes} MB: {seconds:.1f} s ({seconds / baseline[1]:.1f} x for "
            f"{megabytes / baseline[0]:.0f} x the size), peak {peak_mb:.0f} MB "
            f"({peak_mb / baseline[2]:.2f} x)"
        )


if __name__ == "__main__":
    main()
