"""Build the package of an export: choose invoices, archive them, cut, encrypt.

Source: POST /invoices/exports, GET /invoices/exports/{referenceNumber}
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from gzip import GzipFile
from stat import S_IFLNK
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from ksef_emulator.api.exports.request import ExportRequest
from ksef_emulator.api.exports.settings import ExportSettings
from ksef_emulator.identifiers import sha256_base64
from ksef_emulator.world.invoices import Invoice
from ksef_emulator.world.rows import Row

METADATA = "_metadata.json"
EXTENSIONS = {"Zip": "zip", "TarGz": "tar.gz"}
BOMB_BYTES = 200_000_000
LEVEL = 1
"""Invoices are made up to be thrown away: speed matters more than size."""


@dataclass(frozen=True)
class Part:
    """One part of the archive, as it is and encrypted."""

    size: int
    hash: str
    encrypted: bytes
    encrypted_hash: str


@dataclass(frozen=True)
class Package:
    """What GET /invoices/exports/{referenceNumber} tells of a package, and its parts."""

    invoice_count: int
    is_truncated: bool
    last: Invoice | None
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


class Archive(Protocol):
    """A file of files under construction."""

    def add(self, name: str, content: bytes) -> None: ...

    def add_symlink(self, name: str, target: str) -> None: ...

    def size(self) -> int: ...

    def finish(self) -> bytes: ...


class ZipArchive:
    """A ZIP file whose members are dated alike, so that it is the same each time it is built."""

    def __init__(self, at: datetime) -> None:
        self._buffer = io.BytesIO()
        self._file = zipfile.ZipFile(self._buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL)
        self._date = at.timetuple()[:6]

    def add(self, name: str, content: bytes) -> None:
        self._file.writestr(self._info(name), content, zipfile.ZIP_DEFLATED, LEVEL)

    def add_symlink(self, name: str, target: str) -> None:
        info = self._info(name)
        info.create_system = 3
        info.external_attr = (S_IFLNK | 0o777) << 16
        self._file.writestr(info, target)

    def size(self) -> int:
        return self._buffer.tell()

    def finish(self) -> bytes:
        self._file.close()
        return self._buffer.getvalue()

    def _info(self, name: str) -> zipfile.ZipInfo:
        return zipfile.ZipInfo(name, self._date)


class TarGzArchive:
    """A gzipped TAR file whose members are dated alike."""

    def __init__(self, at: datetime) -> None:
        self._buffer = io.BytesIO()
        self._mtime = int(at.timestamp())
        self._gzip = GzipFile("", "wb", LEVEL, self._buffer, self._mtime)
        self._file = tarfile.TarFile(mode="w", fileobj=self._gzip)

    def add(self, name: str, content: bytes) -> None:
        info = self._info(name)
        info.size = len(content)
        self._file.addfile(info, io.BytesIO(content))

    def add_symlink(self, name: str, target: str) -> None:
        info = self._info(name)
        info.type, info.linkname = tarfile.SYMTYPE, target
        self._file.addfile(info)

    def size(self) -> int:
        return self._buffer.tell()

    def finish(self) -> bytes:
        self._file.close()
        self._gzip.close()
        return self._buffer.getvalue()

    def _info(self, name: str) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.mtime = self._mtime
        return info


ARCHIVES: dict[str, Callable[[datetime], Archive]] = {"Zip": ZipArchive, "TarGz": TarGzArchive}


def build(
    invoices: Iterable[Invoice],
    request: ExportRequest,
    key: bytes,
    *,
    at: datetime,
    settings: ExportSettings,
    tampering: str | None = None,
) -> Package:
    """Pack invoices in the order given until a limit is reached.

    The same arguments give the same bytes. Without invoices there are no parts.
    """
    archive = ARCHIVES[request.compression_type](at)
    overrun = request.only_metadata and settings.metadata_overrun
    cap = settings.cap + overrun
    rows: list[Row] = []
    last = None
    for invoice in invoices:
        if len(rows) == cap or archive.size() >= settings.size_cap_bytes:
            is_truncated = not overrun
            break
        row = invoice.metadata()
        if not request.matches(row):
            continue
        rows.append(row)
        last = invoice
        if not request.only_metadata:
            _add_invoice(archive, invoice, tampering if len(rows) == 1 else None)
    else:
        is_truncated = settings.exact_cap_truncates and len(rows) == cap and not overrun
    if not rows:
        return Package(0, False, None, ())
    _add_metadata(archive, rows, tampering)
    _add_unexpected(archive, tampering)
    plain = b"no archive" if tampering == "not-an-archive" else archive.finish()
    parts = _parts(plain, settings.part_bytes, key, request.initialization_vector)
    count = len(rows) + (tampering == "invoice-count")
    return Package(count, is_truncated, last, tuple(parts))


def _add_invoice(archive: Archive, invoice: Invoice, tampering: str | None) -> None:
    content = invoice.xml()
    if tampering == "missing-invoice":
        return
    if tampering == "altered-invoice":
        content = content.replace(b"<P_15>", b"<P_15>9")
    archive.add(f"{invoice.ksef_number}.xml", content)


def _add_metadata(archive: Archive, rows: list[Row], tampering: str | None) -> None:
    if tampering == "metadata-missing":
        return
    if tampering == "unknown-field":
        rows = [{**row, "unrecognised": "news"} for row in rows]
    text = json.dumps({"invoices": rows}, ensure_ascii=False, separators=(",", ":")).encode()
    archive.add(METADATA, text[: len(text) // 2] if tampering == "metadata-cut" else text)


def _add_unexpected(archive: Archive, tampering: str | None) -> None:
    names = {
        "unknown-member": "readme.txt",
        "parent-path": "../evil.xml",
        "absolute-path": "/evil.xml",
    }
    if tampering in names:
        archive.add(names[tampering], b"<evil/>")
    elif tampering == "symlink":
        archive.add_symlink("evil.xml", "/etc/passwd")
    elif tampering == "zip-bomb":
        archive.add("bomb.xml", bytes(BOMB_BYTES))


def _parts(plain: bytes, part_bytes: int, key: bytes, vector: bytes) -> Iterable[Part]:
    """Cut an archive into parts and encrypt each of them with the same key and vector."""
    for start in range(0, len(plain), part_bytes):
        part = plain[start : start + part_bytes]
        padder = PKCS7(128).padder()
        encryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
        padded = padder.update(part) + padder.finalize()
        encrypted = encryptor.update(padded) + encryptor.finalize()
        yield Part(len(part), sha256_base64(part), encrypted, sha256_base64(encrypted))
