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

from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from kseflow.api.client import KsefClient
from kseflow.api.downloads import chunks
from kseflow.constants import PART_BYTES
from kseflow.errors import ContractViolation, CorruptDownload, RequestRejected
from kseflow.loading.exports.unpack import Unpacked, unpacked
from kseflow.loading.exports.windows import Window


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
        "encryptedSymmetricKey": base64.b64encode(_encrypted(key, public_key)).decode(),
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


def _encrypted(key: bytes, public_key: dict[str, Any]) -> bytes:
    certificate = x509.load_der_x509_certificate(base64.b64decode(public_key["certificate"]))
    rsa_key = certificate.public_key()
    if not isinstance(rsa_key, rsa.RSAPublicKey):
        raise ContractViolation("KSeF offers no RSA key for exports; update kseflow")
    oaep = rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA256()), hashes.SHA256(), label=None)
    return rsa_key.encrypt(key, oaep)


@asynccontextmanager
async def contents(
    client: KsefClient, export: Export, package: dict[str, Any], xml_folder: Path | None
) -> AsyncIterator[Unpacked]:
    """Download, verify, decrypt and unpack a package; what was unpacked is gone afterwards.

    What computes does so in a thread. Raises `CorruptDownload`, naming the package, when
    anything is not as KSeF said, and `ContractViolation` for links to foreign hosts.
    """
    name = f"package {export.reference_number}"
    with ExitStack() as stack:
        archive = stack.enter_context(TemporaryFile(prefix="kseflow-"))
        for part in sorted(package["parts"], key=lambda part: int(part["ordinalNumber"])):
            await _append(client, export, part, archive)
        if not archive.tell():  # an empty package has no parts
            yield Unpacked(name, [])
            return
        archive.seek(0)
        compression = package.get("compressionType") or export.compression
        found = await asyncio.to_thread(
            stack.enter_context, unpacked(archive, compression, name, xml_folder)
        )
        if len(found.metadata) < package["invoiceCount"]:
            raise CorruptDownload(
                f"{name}: KSeF counts {package['invoiceCount']} invoices in it, "
                f"but its _metadata.json has {len(found.metadata)}"
            )
        yield found


async def _append(
    client: KsefClient, export: Export, part: dict[str, Any], archive: BinaryIO
) -> None:
    """Add one part to the archive: verified as it came, decrypted, verified again."""
    name = f"package {export.reference_number}, part {part['ordinalNumber']}"
    with TemporaryFile(prefix="kseflow-") as encrypted:
        found_hash = await client.storage.download(
            part["url"], encrypted, what=name, max_bytes=PART_BYTES
        )
        _check(name, part, "encryptedPart", encrypted.tell(), found_hash)
        encrypted.seek(0)
        begin = archive.tell()
        try:
            plain_hash = await asyncio.to_thread(_decrypt, export, encrypted, archive)
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
