"""Exporting as any client of KSeF would: encrypt a key, ask, poll, download, decrypt, unpack."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from ksef_emulator import VirtualClock
from tests.emulator.logging_in import SINCE, Headers

KEY, VECTOR = bytes(range(32)), bytes(range(16))
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


def hash_of(content: bytes) -> str:
    return b64encode(sha256(content).digest()).decode()


def newest_symmetric_key(client: httpx.Client) -> dict[str, str]:
    keys = client.get("/security/public-key-certificates").json()
    wanted = (key for key in keys if key["usage"] == ["SymmetricKeyEncryption"])
    return max(wanted, key=lambda key: str(key["validFrom"]))


def encryption(client: httpx.Client, key: bytes = KEY) -> dict[str, str]:
    published = newest_symmetric_key(client)
    certificate = x509.load_der_x509_certificate(b64decode(published["certificate"]))
    public_key: Any = certificate.public_key()
    return {
        "encryptedSymmetricKey": b64encode(public_key.encrypt(key, OAEP)).decode(),
        "initializationVector": b64encode(VECTOR).decode(),
        "publicKeyId": published["publicKeyId"],
    }


def decrypted(part: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(KEY), modes.CBC(VECTOR)).decryptor()
    unpadder = PKCS7(128).unpadder()
    padded = decryptor.update(part) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()


def members(archive: bytes, compression_type: str = "Zip") -> dict[str, bytes]:
    if compression_type == "Zip":
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            return {name: file.read(name) for name in file.namelist()}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as file:
        opened = ((member.name, file.extractfile(member)) for member in file)
        return {name: content.read() if content else b"" for name, content in opened}


def metadata(files: dict[str, bytes]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(files["_metadata.json"])["invoices"]
    return rows


@dataclass
class Exporter:
    """A client with a login; `filters` are laid over those that every request needs."""

    client: httpx.Client
    headers: Headers
    clock: VirtualClock
    date_range: dict[str, Any] = field(default_factory=dict)

    def body(self, subject_type: str = "Subject1", **changes: Any) -> dict[str, Any]:
        dates = {
            "dateType": "PermanentStorage",
            "from": SINCE.isoformat(),
            "restrictToPermanentStorageHwmDate": True,
            **self.date_range,
            **changes.pop("dates", {}),
        }
        filters = {"subjectType": subject_type, "dateRange": dates, **changes.pop("filters", {})}
        return {"encryption": encryption(self.client), "filters": filters, **changes}

    def post(self, subject_type: str = "Subject1", **changes: Any) -> httpx.Response:
        body = self.body(subject_type, **changes)
        return self.client.post("/invoices/exports", json=body, headers=self.headers)

    def start(self, subject_type: str = "Subject1", **changes: Any) -> str:
        answer = self.post(subject_type, **changes)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["referenceNumber"])

    def poll(self, reference: str) -> httpx.Response:
        return self.client.get(f"/invoices/exports/{reference}", headers=self.headers)

    def finish(self, reference: str) -> dict[str, Any]:
        """Wait for the end of an export and return its status."""
        for _ in range(50):
            body: dict[str, Any] = self.poll(reference).json()
            if body["status"]["code"] != 100:
                return body
            self.clock.sleep(5)
        raise AssertionError(f"{reference} does not end")

    def download(self, package: dict[str, Any]) -> bytes:
        """Download all parts and check what KSeF says of them."""
        archive = b""
        for part in package["parts"]:
            answer = self.client.get(part["url"])
            assert answer.status_code == 200, answer.text
            assert len(answer.content) == part["encryptedPartSize"]
            assert hash_of(answer.content) == part["encryptedPartHash"]
            assert answer.headers["x-ms-meta-hash"] == part["encryptedPartHash"]
            plain = decrypted(answer.content)
            assert (len(plain), hash_of(plain)) == (part["partSize"], part["partHash"])
            archive += plain
        assert len(archive) == package["size"]
        return archive

    def files(self, package: dict[str, Any]) -> dict[str, bytes]:
        name = package["parts"][0]["partName"]
        kind = "TarGz" if name.endswith(".tar.gz.aes") else "Zip"
        return members(self.download(package), kind)

    def package(self, subject_type: str = "Subject1", **changes: Any) -> dict[str, Any]:
        body = self.finish(self.start(subject_type, **changes))
        assert body["status"]["code"] == 200, body
        package: dict[str, Any] = body["package"]
        return package

    def walk(self, subject_type: str = "Subject1", **changes: Any) -> Iterator[dict[str, Any]]:
        """Yield packages as MF's loop gets them, each from where the one before ended."""
        dates = changes.pop("dates", {})
        while True:
            package = self.package(subject_type, dates=dates, **changes)
            yield package
            if not package["isTruncated"]:
                return
            assert package["lastPermanentStorageDate"] != dates.get("from"), "the walk is stuck"
            dates = {**dates, "from": package["lastPermanentStorageDate"]}


def moment_of(text: str) -> str:
    """Write a date with the 6 decimals that _metadata.json has."""
    return datetime.fromisoformat(text).isoformat(timespec="microseconds")
