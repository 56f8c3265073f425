"""One export, from the request to its verified contents.

KSeF encrypts each part of a package by itself with a key that we make for the export and keep in
memory only. Everything streams through files, so the size of a package costs disk, not memory.
Source: POST /invoices/exports, GET /invoices/exports/{ref}, docs przyrostowe-pobieranie-faktur.md
"""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from kseflow.api.answers import announced, documented
from kseflow.api.client import KsefClient
from kseflow.api.downloads import chunks
from kseflow.api.keys import encrypted
from kseflow.constants import PACKAGE_BYTES, PART_BYTES
from kseflow.errors import ContractViolation, CorruptDownload, RequestRejected, shown
from kseflow.loading.exports.unpack import Unpacked, unpacked
from kseflow.loading.exports.windows import Window

DESCRIBED = {
    "ordinalNumber": int,
    "url": str,
    "partSize": int,
    "partHash": str,
    "encryptedPartSize": int,
    "encryptedPartHash": str,
}


@dataclass(frozen=True)
class Export:
    """An export KSeF has taken on, and the key only we know."""

    reference_number: str
    window: Window
    is_metadata_only: bool
    compression: str
    requested_at: datetime
    public_key: dict[str, Any] = field(repr=False)
    key: bytes = field(repr=False)
    iv: bytes = field(repr=False)


async def request(
    client: KsefClient, window: Window, *, is_metadata_only: bool, compression: str
) -> Export:
    """Ask for a package; when its public key was withdrawn meanwhile, once more with a new one."""
    try:
        return await _request(client, window, is_metadata_only, compression)
    except RequestRejected as error:
        if 21470 not in error.codes:
            raise
        return await _request(client, window, is_metadata_only, compression)


async def _request(
    client: KsefClient, window: Window, is_metadata_only: bool, compression: str
) -> Export:
    public_key = await client.symmetric_key()
    key, iv = secrets.token_bytes(32), secrets.token_bytes(16)
    encryption = {
        "encryptedSymmetricKey": encrypted(key, public_key),
        "initializationVector": base64.b64encode(iv).decode(),
    }
    if "publicKeyId" in public_key:
        encryption["publicKeyId"] = public_key["publicKeyId"]
    body = {
        "encryption": encryption,
        "filters": window.filters(),
        "onlyMetadata": is_metadata_only,
        "compressionType": compression,
    }
    try:
        reference_number = await client.request_export(body)
    except RequestRejected as error:
        if 21470 in error.codes:
            client.withdraw_key(public_key)
        raise
    now = client.now()
    return Export(reference_number, window, is_metadata_only, compression, now, public_key, key, iv)


@asynccontextmanager
async def contents(
    client: KsefClient, export: Export, package: dict[str, Any], xml_folder: Path | None
) -> AsyncIterator[Unpacked]:
    """Download, verify, decrypt and unpack a package; what was unpacked is gone afterwards.

    What computes does so in a thread. Raises `CorruptDownload`, naming the package, when
    anything is not as KSeF said or larger than a bound, and `ContractViolation` for links to
    foreign hosts and a description that lacks what it needs.
    """
    name = f"package {export.reference_number}"
    factor, count = client.gateway.size_factor, _described(name, package)
    with ExitStack() as stack:
        archive = stack.enter_context(TemporaryFile(prefix="kseflow-"))
        for part in sorted(package["parts"], key=lambda part: part["ordinalNumber"]):
            await _append(client, export, part, archive)
            documented("a package", PACKAGE_BYTES, factor).check(name, archive.tell())
        if not archive.tell():  # an empty package has no parts
            yield Unpacked(name, [])
            return
        archive.seek(0)
        compression = package.get("compressionType") or export.compression
        opened = unpacked(
            archive, compression, name, xml_folder, invoice_count=count, size_factor=factor
        )
        found = await asyncio.to_thread(stack.enter_context, opened)
        if len(found.metadata) < count:
            raise CorruptDownload(
                f"{name}: KSeF counts {count} invoices in it, "
                f"but its _metadata.json has {len(found.metadata)}"
            )
        yield found


def _described(export: str, package: Any) -> int:
    """Return a package's count of invoices when its description is as agreed.

    Raises `ContractViolation`, naming the field, when it is not.
    """
    parts = package.get("parts") if isinstance(package, dict) else None
    if not isinstance(parts, list):
        raise ContractViolation(f"{export}: its description is not as agreed (no parts)")
    fields = [("invoiceCount", int, package.get("invoiceCount"))] + [
        (f"{name} of a part", kind, part.get(name) if isinstance(part, dict) else None)
        for part in parts
        for name, kind in DESCRIBED.items()
    ]
    for place, kind, value in fields:
        if type(value) is not kind or (isinstance(value, int) and value < 0):
            raise ContractViolation(
                f"{export}: its description is not as agreed ({place} is {shown(value)})"
            )
    return int(package["invoiceCount"])


async def _append(
    client: KsefClient, export: Export, part: dict[str, Any], archive: BinaryIO
) -> None:
    """Add one part to the archive: verified as it came, decrypted, verified again."""
    name = f"package {export.reference_number}, part {part['ordinalNumber']}"
    bound = announced(part["encryptedPartSize"])
    documented("a part", PART_BYTES, client.gateway.size_factor).check(name, bound.max_bytes)
    with TemporaryFile(prefix="kseflow-") as file:
        found_hash = await client.storage.download(part["url"], file, what=name, bound=bound)
        _check(name, part, "encryptedPart", file.tell(), found_hash)
        file.seek(0)
        begin = archive.tell()
        try:
            plain_hash = await asyncio.to_thread(_decrypt, export, file, archive)
        except ValueError:
            raise CorruptDownload(f"{name}: it cannot be decrypted with the export's key") from None
    _check(name, part, "part", archive.tell() - begin, plain_hash)


def _check(name: str, part: dict[str, Any], prefix: str, found_bytes: int, found_hash: str) -> None:
    """Compare what came with the size and hash that KSeF announced."""
    if found_bytes != part[f"{prefix}Size"]:
        raise CorruptDownload(
            f"{name}: {prefix}Size is {part[f'{prefix}Size']} bytes, but {found_bytes} came"
        )
    if found_hash != part[f"{prefix}Hash"]:
        raise CorruptDownload(f"{name}: what came does not have its {prefix}Hash")


def _decrypt(export: Export, encrypted: BinaryIO, archive: BinaryIO) -> str:
    """Append the plain bytes to `archive` and return their hash: AES-256-CBC, PKCS#7."""
    decryptor = Cipher(algorithms.AES(export.key), modes.CBC(export.iv)).decryptor()
    unpadder = padding.PKCS7(algorithms.AES.block_size).unpadder()
    digest = hashlib.sha256()
    for block in chunks(encrypted):
        plain = unpadder.update(decryptor.update(block))
        digest.update(plain)
        archive.write(plain)
    plain = unpadder.update(decryptor.finalize()) + unpadder.finalize()
    digest.update(plain)
    archive.write(plain)
    return base64.b64encode(digest.digest()).decode()
