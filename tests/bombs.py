"""Archives, answers and receipts that are small and would need gigabytes: each against our code.

Runs by itself, so that its peak of memory is that of our code; prints a JSON object for each.
"""

import asyncio
import gzip
import io
import json
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any

import httpx

from kseflow.api.answers import announced
from kseflow.api.client import KsefClient, make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import SystemClock, TimeBox
from kseflow.context import Context
from kseflow.errors import KsefError
from kseflow.loading.exports.unpack import unpacked
from kseflow.loading.upo import UpoPage, upo_documents

MB = 1 << 20
SIZE = 700 * MB
CONTEXT = Context("Nip", "5265877635")


def zeros(size: int = SIZE, start: bytes = b"") -> Iterator[bytes]:
    yield start
    for _ in range(size // MB):
        yield b" " * MB


def gzipped(pieces: Iterator[bytes], file: IO[bytes]) -> None:
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
        for piece in pieces:
            packed.write(piece)


def gzip_bytes() -> bytes:
    file = io.BytesIO()
    gzipped(zeros(), file)
    return file.getvalue()


# -- answers ------------------------------------------------------------------------------------


class Body(httpx.AsyncByteStream):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


class Scripted(httpx.AsyncBaseTransport):
    def __init__(self, answer: Callable[[], httpx.Response]) -> None:
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer()


def asked(answer: Callable[[], httpx.Response], is_download: bool = False) -> None:
    async def ask() -> None:
        (client,) = make_clients(
            "https://example.com/v2",
            [TokenCredentials(CONTEXT, "token")],
            TimeBox(SystemClock(), 300),
            transport=Scripted(answer),
        )
        if is_download:
            await downloaded(client)
        else:
            await client.public_key_certificates()

    asyncio.run(ask())


async def downloaded(client: KsefClient) -> None:
    with tempfile.TemporaryFile() as file:
        url = "https://example.com/part"
        await client.storage.download(url, file, what="a part", bound=announced(10 * MB))


def pieces_of(content: bytes) -> Iterator[bytes]:
    return (content[place : place + 65536] for place in range(0, len(content), 65536))


PACKED = {"content-encoding": "gzip"}
ANSWERS: dict[str, Callable[[], httpx.Response]] = {
    "answer, gzip": lambda: httpx.Response(
        200, headers=PACKED, stream=Body(pieces_of(gzip_bytes()))
    ),
    "answer, gzip in one piece": lambda: httpx.Response(
        200, headers=PACKED, stream=Body(iter([gzip_bytes()]))
    ),
    "answer, gzip of gzip": lambda: httpx.Response(
        200,
        headers={"content-encoding": "gzip, gzip"},
        stream=Body(iter([gzip.compress(gzip_bytes())])),
    ),
    "answer without an end": lambda: httpx.Response(200, stream=Body(zeros())),
    "answer of empty lists": lambda: httpx.Response(
        200, stream=Body(iter([b"[", b"[]," * (6 * MB), b"1]"]))
    ),
    "refusal, gzip": lambda: httpx.Response(
        400, headers=PACKED, stream=Body(pieces_of(gzip_bytes()))
    ),
}


# -- archives -----------------------------------------------------------------------------------


def zip_of(method: int, name: str, pieces: Iterator[bytes]) -> Callable[[IO[bytes]], None]:
    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w", method) as archive:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            with archive.open(info, "w", force_zip64=True) as member:
                for piece in pieces:
                    member.write(piece)

    return write


def zip_directory(file: IO[bytes]) -> None:
    """Write a directory of 700 MB that one number at the end announces."""
    for piece in zeros():
        file.write(piece)
    end = b"PK\x05\x06" + bytes(4) + (1).to_bytes(2, "little") * 2
    file.write(end + SIZE.to_bytes(4, "little") + bytes(4) + bytes(2))


def zip_members(file: IO[bytes]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(1000):
            archive.writestr(f"{number}.xml", b"")


def header(name: str, kind: bytes, size: int, **more: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def tar_of(*pieces: Iterator[bytes]) -> Callable[[IO[bytes]], None]:
    return lambda file: gzipped((piece for each in pieces for piece in each), file)


def pax(records: bytes) -> bytes:
    padding = bytes(-len(records) % 512)
    return header("h", tarfile.XHDTYPE, len(records)) + records + padding


def pax_record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    size = len(body) + 3
    return (f"{size:03}".encode() + body) if size < 1000 else b"%d" % (size + 2) + body


def many_lists() -> Iterator[bytes]:
    yield b'{"invoices": ['
    for _ in range(SIZE // (3 * MB)):
        yield b"[]," * MB


SPARSE = pax(
    pax_record("GNU.sparse.major", "1")
    + pax_record("GNU.sparse.minor", "0")
    + pax_record("GNU.sparse.name", "a.xml")
)
OLD_SPARSE = bytearray(header("a.xml", b"S", 0))
OLD_SPARSE[483:495] = b"%011o\0" % SIZE
OLD_SPARSE[148:156] = b" " * 8
OLD_SPARSE[148:156] = b"%06o\0 " % sum(OLD_SPARSE)

ARCHIVES: dict[str, tuple[int, Callable[[IO[bytes]], None]]] = {
    "Zip, bzip2": (1, zip_of(zipfile.ZIP_BZIP2, "_metadata.json", zeros())),
    "Zip, lzma": (1, zip_of(zipfile.ZIP_LZMA, "_metadata.json", zeros(10 * MB))),
    "Zip, metadata of lists": (10, zip_of(zipfile.ZIP_DEFLATED, "_metadata.json", many_lists())),
    "Zip, metadata of lists within its bytes": (
        10_000,
        zip_of(
            zipfile.ZIP_STORED, "_metadata.json", iter([b'{"invoices": [', *[b"[]," * MB] * 15])
        ),
    ),
    "Zip, invoice": (10, zip_of(zipfile.ZIP_DEFLATED, "a.xml", zeros())),
    "Zip, directory": (10_000, zip_directory),
    "Zip, many members": (10, zip_members),
    "TarGz, metadata of lists": (
        10,
        tar_of(iter([header("_metadata.json", b"0", SIZE)]), many_lists()),
    ),
    "TarGz, pax header": (
        10,
        tar_of(zeros(SIZE, header("h", tarfile.XHDTYPE, SIZE)), iter([header("a", b"0", 0)])),
    ),
    "TarGz, long name": (10, tar_of(zeros(SIZE, header("h", tarfile.GNUTYPE_LONGNAME, SIZE)))),
    "TarGz, pax headers of pax headers": (
        10,
        tar_of(iter([pax(pax_record("comment", "x" * 60_000))] * 900)),
    ),
    "TarGz, sparse map": (
        10,
        tar_of(
            iter([SPARSE, header("a.xml", b"0", SIZE), b"99999999\n"]),
            iter([b"1\n" * (MB // 2)] * (SIZE // MB)),
        ),
    ),
    "TarGz, sparse file": (10, tar_of(iter([bytes(OLD_SPARSE), bytes(1024)]))),
    "TarGz, many members": (
        10,
        tar_of(iter([header(f"{number}.xml", b"0", 0) for number in range(1000)])),
    ),
}


def unpack(name: str, invoice_count: int, write: Callable[[IO[bytes]], None]) -> None:
    with tempfile.TemporaryFile() as archive:
        write(archive)
        archive.seek(0)
        compression = name.partition(",")[0]
        with unpacked(archive, compression, name, None, invoice_count=invoice_count):
            pass


# -- receipts -----------------------------------------------------------------------------------

RECEIPTS: dict[str, Callable[[], Iterator[bytes]]] = {
    "receipt of elements": lambda: iter([b"<a/>" * (10 * MB)]),
    "receipt of attributes": lambda: (
        b'<a b="" c="" d="" e="" f="" g="" h="" i="" j="" k="" l="" m="" />' * 1000
        for _ in range(600)
    ),
}


def read_receipt(pieces: Iterator[bytes]) -> None:
    content = bytearray(b'<Potwierdzenie xmlns="http://upo.schematy.mf.gov.pl/KSeF/v4-3">')
    for piece in pieces:
        content += piece
    content += b"</Potwierdzenie>"
    page = UpoPage("EU-1", bytes(content), datetime.now(UTC))
    upo_documents(page, CONTEXT, "S")


def main() -> None:
    bombs: dict[str, Callable[[], None]] = {
        name: lambda answer=answer: asked(answer)  # type: ignore[misc]
        for name, answer in ANSWERS.items()
    }
    bombs["download without an end"] = lambda: asked(
        lambda: httpx.Response(200, stream=Body(zeros())), is_download=True
    )
    for name, (count, write) in ARCHIVES.items():
        bombs[name] = lambda n=name, c=count, w=write: unpack(n, c, w)  # type: ignore[misc]
    for name, pieces in RECEIPTS.items():
        bombs[name] = lambda pieces=pieces: read_receipt(pieces())  # type: ignore[misc]
    for name, explode in bombs.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            child = get_context("fork").Process(target=tell, args=(name, explode))
            child.start()
            child.join()


def tell(name: str, explode: Callable[[], None]) -> None:
    """Let one go off, in a process whose peak of memory is its own."""
    from tests.bench.measured import used  # main() has made it known

    try:
        explode()
        error: Exception = RuntimeError("nothing was noticed")
    except Exception as found:
        error = found
    told = {"bomb": name, "error": str(error), "is_ours": isinstance(error, KsefError)}
    print(json.dumps({**told, "peak_mb": round(used()[1])}), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
