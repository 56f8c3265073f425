"""What a package holds: `_metadata.json`, and invoices as `{ksefNumber}.xml`.

The archive came from outside: its names, sizes and ratio are checked before they are believed.
"""

import gzip
import hashlib
import os
import re
import struct
import sys
import tarfile
import zipfile
import zlib
from base64 import b64encode
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from errno import EINVAL
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, BinaryIO

from kseflow.api.answers import Bound, documented, parsed
from kseflow.api.downloads import CHUNK_BYTES
from kseflow.constants import (
    DIRECTORY_BYTES,
    EXPANSION,
    FURTHER_MEMBERS,
    HEADER_BYTES,
    INVOICE_BYTES,
    METADATA_BYTES,
    PACKAGE_CAP,
    SIZE_FACTOR,
)
from kseflow.errors import CorruptDownload, shown
from kseflow.files import put_in_place

METADATA = "_metadata.json"
PLAIN_NAME = re.compile(r"\w[\w.-]*")
INVOICE = re.compile(r"(\d{10}-\d{8}-[0-9A-F]{6}-?[0-9A-F]{6}-[0-9A-F]{2})\.xml")


@dataclass
class Unpacked:
    """The items of `_metadata.json`, and where the invoices' XML lies for now."""

    name: str
    metadata: list[dict[str, Any]]
    staged: dict[str, Path] = field(default_factory=dict)

    def keep_xml(self, folder: Path) -> None:
        """Move each XML to `folder`/yyyy-mm/KSeF number.xml, in place of one that is there."""
        for ksef_number, path in self.staged.items():
            month = folder / f"{ksef_number[11:15]}-{ksef_number[15:17]}"
            month.mkdir(exist_ok=True)
            put_in_place(path, month / path.name)


@contextmanager
def unpacked(
    archive: BinaryIO,
    compression: str,
    name: str,
    xml_folder: Path | None,
    *,
    invoice_count: int = PACKAGE_CAP,
    size_factor: int = SIZE_FACTOR,
) -> Iterator[Unpacked]:
    """Unpack a Zip or TarGz `archive`; the XML, if wanted, into a folder that ends with this.

    `invoice_count` is what KSeF counts in it. Raises `CorruptDownload`, beginning with `name`, for
    names with a path, more files than invoices, files too large or packed too well, files that
    are cut, and XML that is not what the metadata says.
    """
    reader = _Reader(name, invoice_count, size_factor)
    if xml_folder is None:
        yield _unpack(archive, compression, reader, None)
        return
    xml_folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".kseflow-", dir=xml_folder) as staging:
        found = _unpack(archive, compression, reader, Path(staging))
        lacking = {item.get("ksefNumber") for item in found.metadata} ^ found.staged.keys()
        if lacking:
            raise CorruptDownload(
                f"{name}: {len(lacking)} invoices are only in its metadata or only among its files"
            )
        yield found


def _unpack(
    archive: BinaryIO, compression: str, reader: "_Reader", staging: Path | None
) -> Unpacked:
    name, form = reader.name, FORMS.get(str(compression))
    if form is None:
        raise CorruptDownload(f"{name}: {shown(compression)} is no compression that kseflow knows")
    reader.begin(os.fstat(archive.fileno()).st_size)
    try:
        for member_name, member in form(archive, reader):
            reader.read(member_name, member, staging)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as error:
        # A place before the file's beginning is the archive's fault; what else has a number, the
        # disk's.
        if isinstance(error, OSError) and error.errno not in (None, EINVAL):
            raise
        raise CorruptDownload(f"{name}: the {compression} cannot be unpacked ({error})") from None
    except (NotImplementedError, RuntimeError, ValueError, struct.error) as error:
        # zipfile: encrypted, of a rare method, odd numbers; tarfile: headers of headers
        raise CorruptDownload(f"{name}: the {compression} is of an odd kind ({error})") from None
    return reader.result()


class _Metered:
    """A file of which no more is read than was allowed: archives read their headers whole."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left_bytes = 0

    def allow(self, max_bytes: int) -> None:
        self._left_bytes = max_bytes

    def read(self, size: int = -1) -> bytes:
        most = min(self._left_bytes, sys.maxsize - 1) + 1
        found: bytes = self._file.read(min(size, most) if size >= 0 else most)
        self._left_bytes -= len(found)
        if self._left_bytes < 0:
            raise zipfile.BadZipFile("its headers are longer than those of any package")
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _of_tar(archive: BinaryIO, reader: "_Reader") -> Iterator[tuple[str, IO[bytes]]]:
    """Yield each file's name and content, in the archive's order."""
    file = _Metered(gzip.GzipFile(fileobj=archive))
    file.allow(HEADER_BYTES)
    with tarfile.open(fileobj=file, mode="r|") as tar:
        while (entry := tar.next()) is not None:
            reader.count()
            tar.members = []  # type: ignore[attr-defined]  # which would keep all headers
            if not (entry.isdir() and entry.name in (".", "./")):
                content = tar.extractfile(entry) if entry.isreg() and not entry.issparse() else None
                if content is None:
                    raise CorruptDownload(f"{reader.name}: {entry.name!r} in it is no plain file")
                file.allow(sys.maxsize)
                yield entry.name.removeprefix("./"), content
            file.allow(HEADER_BYTES)


def _of_zip(archive: BinaryIO, reader: "_Reader") -> Iterator[tuple[str, IO[bytes]]]:
    """Yield each file's name and content, in the directory's order."""
    file = _Metered(archive)
    file.allow(2 * HEADER_BYTES + reader.max_members * DIRECTORY_BYTES)
    with zipfile.ZipFile(file) as packed:
        for info in packed.infolist():
            reader.count()
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise CorruptDownload(
                    f"{reader.name}: {info.filename!r} in it is packed by method "
                    f"{info.compress_type}; packages are stored or deflated"
                )
            file.allow(sys.maxsize)
            with packed.open(info) as content:
                yield info.filename, content


FORMS = {"Zip": _of_zip, "TarGz": _of_tar}


class _Reader:
    """Read the members of one package, and check each and what they add up to."""

    def __init__(self, name: str, invoice_count: int, size_factor: int) -> None:
        self.name = name
        self.max_members = 2 * min(invoice_count, PACKAGE_CAP) + FURTHER_MEMBERS
        self._invoice = documented("the largest invoice", INVOICE_BYTES, size_factor)
        size_bytes = METADATA_BYTES * (min(invoice_count, PACKAGE_CAP) + FURTHER_MEMBERS)
        self._directory = documented(f"{METADATA} of so many invoices", size_bytes, size_factor)
        self._left_bytes = 0
        self._seen: set[str] = set()
        self._metadata: bytearray | None = None
        self._hashes: dict[str, str] = {}
        self._staged: dict[str, Path] = {}

    def begin(self, packed_bytes: int) -> None:
        """Take note of how much an archive that is so large may hold."""
        self._left_bytes = max(packed_bytes * EXPANSION, CHUNK_BYTES)

    def count(self) -> None:
        """Count a member, before it is looked at."""
        self.max_members -= 1
        if self.max_members < 0:
            raise CorruptDownload(f"{self.name}: it holds far more files than invoices")

    def read(self, member_name: str, content: IO[bytes], staging: Path | None) -> None:
        """Read one member whole; what is wanted of it is kept."""
        if not (member_name == METADATA or PLAIN_NAME.fullmatch(member_name)):
            raise CorruptDownload(f"{self.name}: {member_name!r} in it is no plain file name")
        if member_name in self._seen:
            raise CorruptDownload(f"{self.name}: {member_name!r} is in it twice")
        self._seen.add(member_name)
        if member_name == METADATA:
            self._metadata = bytearray()
            for chunk in self._chunks(member_name, content, self._directory):
                self._metadata += chunk
            return
        invoice = INVOICE.fullmatch(member_name)
        chunks = self._chunks(member_name, content, self._invoice)
        if invoice is None or staging is None:
            deque(chunks, maxlen=0)  # read all the same: the bounds hold for what nobody wants
            return
        digest = hashlib.sha256()
        path = staging / member_name
        with path.open("wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        self._hashes[invoice[1]] = b64encode(digest.digest()).decode()
        self._staged[invoice[1]] = path

    def result(self) -> Unpacked:
        """Return what the package held, once it agrees with its metadata."""
        try:
            items = parsed(self._metadata or b"")["invoices"]
            self._metadata = None
            hashes = {item["ksefNumber"]: item["invoiceHash"] for item in items}
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptDownload(
                f"{self.name}: its {METADATA} is missing, cut or lacks the invoices' numbers "
                f"({error!r})"
            ) from None
        for ksef_number, found in self._hashes.items():
            if hashes.get(ksef_number, found) != found:
                raise CorruptDownload(
                    f"{self.name}: {ksef_number}.xml does not have the hash of its metadata"
                )
        return Unpacked(self.name, items, self._staged)

    def _chunks(self, member_name: str, content: IO[bytes], bound: Bound) -> Iterator[bytes]:
        """Yield a member's bytes as long as it, and the package, stay within their bounds."""
        member_bytes = 0
        while chunk := content.read(CHUNK_BYTES):
            member_bytes += len(chunk)
            self._left_bytes -= len(chunk)
            if member_bytes > bound.max_bytes:
                raise CorruptDownload(f"{self.name}: {member_name} is larger than {bound}")
            if self._left_bytes < 0:
                raise CorruptDownload(
                    f"{self.name}: {member_name} is larger than what is packed so well may be"
                )
            yield chunk
