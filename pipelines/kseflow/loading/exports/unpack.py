"""What a package holds: `_metadata.json`, and invoices as `{ksefNumber}.xml`.

The archive came from outside: its names, sizes and ratio are checked before they are believed.
"""

import hashlib
import os
import re
import tarfile
import zipfile
import zlib
from base64 import b64encode
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, BinaryIO

import orjson

from kseflow.api.downloads import CHUNK_BYTES
from kseflow.constants import EXPANSION, INVOICE_BYTES, METADATA_BYTES
from kseflow.errors import CorruptDownload
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
    archive: BinaryIO, compression: str, name: str, xml_folder: Path | None
) -> Iterator[Unpacked]:
    """Unpack a Zip or TarGz `archive`; the XML, if wanted, into a folder that ends with this.

    Raises `CorruptDownload`, beginning with `name`, for names with a path, files too large or
    packed too well, files that are cut, and XML that is not what the metadata says.
    """
    if xml_folder is None:
        yield _unpack(archive, compression, name, None)
        return
    xml_folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".kseflow-", dir=xml_folder) as staging:
        found = _unpack(archive, compression, name, Path(staging))
        lacking = {item.get("ksefNumber") for item in found.metadata} ^ found.staged.keys()
        if lacking:
            raise CorruptDownload(
                f"{name}: {len(lacking)} invoices are only in its metadata or only among its files"
            )
        yield found


def _unpack(archive: BinaryIO, compression: str, name: str, staging: Path | None) -> Unpacked:
    packed_bytes = os.fstat(archive.fileno()).st_size
    reader = _Reader(name, max(packed_bytes * EXPANSION, CHUNK_BYTES))
    try:
        for member_name, member in _members(archive, compression, name):
            reader.read(member_name, member, staging)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the archive
        raise CorruptDownload(f"{name}: the {compression} cannot be unpacked ({error})") from None
    except (NotImplementedError, RuntimeError) as error:  # zipfile: encrypted, or a rare method
        raise CorruptDownload(f"{name}: the {compression} is of an odd kind ({error})") from None
    return reader.result()


def _members(archive: BinaryIO, compression: str, name: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield each file's name and content, in the archive's order."""
    if compression == "TarGz":
        with tarfile.open(fileobj=archive, mode="r|gz") as tar:
            for entry in tar:
                if entry.isdir() and entry.name in (".", "./"):
                    continue
                content = tar.extractfile(entry) if entry.isfile() else None
                if content is None:
                    raise CorruptDownload(f"{name}: {entry.name!r} in it is no plain file")
                yield entry.name.removeprefix("./"), content
        return
    if compression != "Zip":
        raise CorruptDownload(f"{name}: {compression!r} is no compression that kseflow knows")
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            with packed.open(info) as content:
                yield info.filename, content


class _Reader:
    """Read the members of one package and check what they add up to."""

    def __init__(self, name: str, max_bytes: int) -> None:
        self._name = name
        self._left_bytes = max_bytes
        self._metadata: bytes | None = None
        self._hashes: dict[str, str] = {}
        self._staged: dict[str, Path] = {}

    def read(self, member_name: str, content: IO[bytes], staging: Path | None) -> None:
        if member_name == METADATA:
            self._metadata = b"".join(self._chunks(member_name, content, METADATA_BYTES))
            return
        if not PLAIN_NAME.fullmatch(member_name):
            raise CorruptDownload(f"{self._name}: {member_name!r} in it is no plain file name")
        invoice = INVOICE.fullmatch(member_name)
        chunks = self._chunks(member_name, content, INVOICE_BYTES)
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
        try:
            items = orjson.loads(self._metadata or b"")["invoices"]
            hashes = {item["ksefNumber"]: item["invoiceHash"] for item in items}
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise CorruptDownload(
                f"{self._name}: its {METADATA} is missing, cut or lacks the invoices' numbers"
            ) from None
        for ksef_number, found in self._hashes.items():
            if hashes.get(ksef_number, found) != found:
                raise CorruptDownload(
                    f"{self._name}: {ksef_number}.xml does not have the hash of its metadata"
                )
        return Unpacked(self._name, items, self._staged)

    def _chunks(self, member_name: str, content: IO[bytes], max_bytes: int) -> Iterator[bytes]:
        """Yield a member's bytes as long as it, and the package, stay within their bounds."""
        left_bytes = max_bytes
        while chunk := content.read(CHUNK_BYTES):
            left_bytes -= len(chunk)
            self._left_bytes -= len(chunk)
            if min(left_bytes, self._left_bytes) < 0:
                raise CorruptDownload(
                    f"{self._name}: {member_name} is larger than a package's file may be"
                )
            yield chunk
