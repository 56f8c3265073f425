from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ksef_emulator import Emulator, ExportSettings, Fault, VirtualClock, World
from ksef_emulator.api.exports.settings import TAMPERINGS
from tests.emulator.exporting import Exporter, decrypted, hash_of, members, metadata
from tests.emulator.logging_in import SINCE, Headers

Make = Callable[..., Exporter]


@pytest.fixture(scope="module")
def world() -> World:
    return World(seed=7, since=SINCE, largest_session=30, sessions_per_day=4)


@pytest.fixture
def make(
    world: World, clock: VirtualClock, connect: Callable[[Emulator], httpx.Client], headers: Headers
) -> Make:
    def made(faults: list[Fault] | None = None, **settings: Any) -> Exporter:
        exports = ExportSettings(duration_s=0, **{"cap": 25, **settings})
        app = Emulator(world, clock, limits="off", exports=exports, faults=faults or [])
        return Exporter(connect(app), headers, clock)

    return made


@pytest.fixture
def tampered(make: Make) -> Callable[..., tuple[dict[str, Any], bytes]]:
    """Return a package and its archive, without the checks of a careful client."""

    def of(name: str, **changes: Any) -> tuple[dict[str, Any], bytes]:
        exporter = make(tampering={1: name})
        package = exporter.package(**changes)
        parts = [exporter.client.get(part["url"]).content for part in package["parts"]]
        return package, b"".join(map(decrypted, parts))

    return of


@pytest.mark.parametrize(("kind", "extension"), [("Zip", "zip"), ("TarGz", "tar.gz")])
def test_an_archive_is_cut_into_parts_that_are_encrypted_one_by_one(
    make: Make, kind: str, extension: str
) -> None:
    exporter = make(part_bytes=4_000)
    reference = exporter.start(compressionType=kind)
    package = exporter.finish(reference)["package"]
    parts = package["parts"]
    assert len(parts) > 1
    assert [part["ordinalNumber"] for part in parts] == list(range(1, len(parts) + 1))
    assert [part["partName"] for part in parts] == [
        f"{reference}-{number:03d}.{extension}.aes" for number in range(1, len(parts) + 1)
    ]
    assert {part["partSize"] for part in parts[:-1]} == {4_000}
    assert {part["method"] for part in parts} == {"GET"}
    assert len(metadata(exporter.files(package))) == package["invoiceCount"] == 25


def test_a_package_is_the_same_when_it_has_to_be_built_again(make: Make) -> None:
    exporter = make(tampering={})
    references = [exporter.start() for _ in range(7)]
    first = exporter.finish(references[0])["package"]
    for reference in references[1:]:
        exporter.finish(reference)
    assert len(exporter.download(first)) == first["size"]
    again = exporter.poll(references[0]).json()["package"]
    assert [part["encryptedPartHash"] for part in again["parts"]] == [
        part["encryptedPartHash"] for part in first["parts"]
    ]


@pytest.mark.parametrize("name", ["part-hash", "part-size"])
def test_sizes_and_hashes_may_not_fit_the_part(make: Make, name: Any) -> None:
    exporter = make(tampering={1: name})
    part = exporter.package()["parts"][0]
    content = exporter.client.get(part["url"]).content
    told = (part["encryptedPartSize"], part["encryptedPartHash"])
    plain = (part["partSize"], part["partHash"])
    assert told != (len(content), hash_of(content))
    assert plain != (len(decrypted(content)), hash_of(decrypted(content)))


def test_metadata_may_be_cut_or_missing_or_have_unknown_fields(
    tampered: Callable[..., tuple[dict[str, Any], bytes]],
) -> None:
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        metadata(members(tampered("metadata-cut")[1]))
    assert "_metadata.json" not in members(tampered("metadata-missing")[1])
    rows = metadata(members(tampered("unknown-field")[1]))
    assert {row["unrecognised"] for row in rows} == {"news"}


def test_metadata_and_invoices_may_not_agree(
    tampered: Callable[..., tuple[dict[str, Any], bytes]],
) -> None:
    package, archive = tampered("invoice-count")
    assert package["invoiceCount"] == len(metadata(members(archive))) + 1
    files = members(tampered("missing-invoice")[1])
    missing = {f"{row['ksefNumber']}.xml" for row in metadata(files)} - files.keys()
    assert len(missing) == 1
    files = members(tampered("altered-invoice")[1])
    wrong = [
        row
        for row in metadata(files)
        if hash_of(files[f"{row['ksefNumber']}.xml"]) != row["invoiceHash"]
    ]
    assert len(wrong) == 1


@pytest.mark.parametrize("kind", ["Zip", "TarGz"])
@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("unknown-member", "readme.txt"),
        ("parent-path", "../evil.xml"),
        ("absolute-path", "/evil.xml"),
    ],
)
def test_an_archive_may_hold_members_nobody_asked_for(
    tampered: Callable[..., tuple[dict[str, Any], bytes]], kind: str, name: str, member: str
) -> None:
    _, archive = tampered(name, compressionType=kind)
    if kind == "Zip":
        assert member in zipfile.ZipFile(io.BytesIO(archive)).namelist()
    else:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as file:
            assert member in file.getnames()


def test_an_archive_may_hold_a_symbolic_link(
    tampered: Callable[..., tuple[dict[str, Any], bytes]],
) -> None:
    _, archive = tampered("symlink", compressionType="TarGz")
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as file:
        assert file.getmember("evil.xml").linkname == "/etc/passwd"
    _, archive = tampered("symlink")
    info = zipfile.ZipFile(io.BytesIO(archive)).getinfo("evil.xml")
    assert stat.S_ISLNK(info.external_attr >> 16)


def test_an_archive_may_be_a_bomb(
    tampered: Callable[..., tuple[dict[str, Any], bytes]],
) -> None:
    _, archive = tampered("zip-bomb")
    assert len(archive) < 2_000_000
    assert zipfile.ZipFile(io.BytesIO(archive)).getinfo("bomb.xml").file_size == 200_000_000


def test_a_package_may_be_no_archive_and_its_links_may_lead_elsewhere(
    tampered: Callable[..., tuple[dict[str, Any], bytes]], make: Make
) -> None:
    _, archive = tampered("not-an-archive")
    assert not zipfile.is_zipfile(io.BytesIO(archive))
    part = make(tampering={1: "foreign-host"}).package()["parts"][0]
    assert httpx.URL(part["url"]).host == "storage.example"


def test_only_the_named_export_is_tampered_with(make: Make) -> None:
    exporter = make(tampering={2: "missing-invoice"})
    lengths = [len(exporter.files(exporter.package())) for _ in range(3)]
    assert lengths == [26, 25, 26]


def test_tamperings_have_names(make: Make) -> None:
    assert len(TAMPERINGS) == len(set(TAMPERINGS)) == 15
    with pytest.raises(ValueError, match="no such tampering"):
        make(tampering={1: "nonsense"})


@pytest.mark.parametrize("kind", ["altered", "cut"])
def test_a_download_may_come_out_wrong_once(make: Make, kind: Any) -> None:
    exporter = make(faults=[Fault(kind, path="/storage/", nth=2)])
    url = exporter.package()["parts"][0]["url"]
    answers = [exporter.client.get(url) for _ in range(3)]
    assert answers[0].content == answers[2].content != answers[1].content
    for answer in answers:
        assert len(answer.content) == int(answer.headers["Content-Length"])
    assert {answer.headers["x-ms-meta-hash"] for answer in answers} == {hash_of(answers[0].content)}
