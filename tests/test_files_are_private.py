"""Whatever kseflow writes is its owner's alone, whatever the umask; what was opened stays so."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_IMODE

import pytest

import kseflow
from kseflow.api.client import KsefClient
from kseflow.clock import SimulatedClock
from kseflow.database import load_file, locked
from kseflow.files import put_in_place
from kseflow.loading.upo import save_upo
from kseflow.watch.doctor.files import examine_databases
from kseflow.watch.finding import Finding, State
from tests.conftest import Stage
from tests.published import copy_published


@pytest.fixture(autouse=True)
def _careless() -> Iterator[None]:
    """Have a umask that denies nobody anything."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> str:
    return f"{S_IMODE(path.stat().st_mode):o}"


def open_to_others(folder: Path) -> dict[str, str]:
    return {
        str(path): mode(path) for path in folder.rglob("*") if S_IMODE(path.stat().st_mode) & 0o077
    }


def test_a_load_its_build_and_report_and_receipts_are_the_owners_alone(
    stage: Callable[..., Stage], tmp_path: Path
) -> None:
    made = stage(taxpayers=1, days=1, counted_failures="never")
    folder = tmp_path / "new" / "deeper"
    database = folder / "ksef.duckdb"
    made.database = load_file(database)
    made.load(
        exports_per_hour=2,
        exports_from=made.world.since,
        subject_types=("Subject1",),
        xml_folder=folder / "xml",
    )
    kseflow.build(database)
    kseflow.report(database, folder / "pages" / "report.html")
    session = made.value(
        "select reference_number from ksef_raw.sessions where status_code = 200 "
        "and successful_invoice_count > 0 limit 1"
    )
    box = made.box()
    with made.served() as base_url, box.loop() as loop:
        client = KsefClient(base_url, made.logins()[0], clock=SimulatedClock(made.clock))

        async def saved() -> None:
            async with client:
                await save_upo(client, folder / "receipts", session)

        loop.run(saved())
    assert {path.suffix for path in folder.rglob("*")} >= {".xml", ".duckdb", ".html", ".lock"}
    assert [path for path in folder.rglob("*.xml") if path.parent.name == "receipts"]
    assert open_to_others(tmp_path / "new") == {}
    assert os.umask(0) == 0, "the umask is as it was"


def test_what_an_older_version_left_open_is_closed_by_the_next_load(tmp_path: Path) -> None:
    database = load_file(copy_published(tmp_path))
    lock = tmp_path / f".{database.name}.lock"
    work = tmp_path / f".{database.stem}-dlt"
    lock.touch()
    work.mkdir()
    for path, old in ((database, 0o644), (lock, 0o666), (work, 0o755)):
        path.chmod(old)
    with locked(database, 0):
        assert [mode(path) for path in (database, lock, work)] == ["600", "600", "700"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_can_neither_read_nor_lock(tmp_path: Path) -> None:
    database = load_file(copy_published(tmp_path))
    with locked(database, 0):
        pass
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    script = (
        "import fcntl, os, sys; os.setuid(65534)\n"
        "for name in sys.argv[1:]:\n"
        "    try: fcntl.flock(os.open(name, os.O_RDONLY), fcntl.LOCK_EX)\n"
        "    except PermissionError: print('refused')\n"
    )
    files = [database, tmp_path / f".{database.name}.lock"]
    told = subprocess.run(
        [sys.executable, "-c", script, *files], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["refused", "refused"]


@pytest.mark.parametrize(("given", "kept"), [(0o640, "640"), (0o600, "600"), (0o400, "400")])
def test_what_is_written_anew_keeps_the_permissions_it_was_given(
    tmp_path: Path, given: int, kept: str
) -> None:
    database = copy_published(tmp_path)
    database.chmod(given)
    report = tmp_path / "report.html"
    report.touch()
    report.chmod(given)
    new = tmp_path / "new"
    new.write_bytes(database.read_bytes())
    put_in_place(new, database)
    kseflow.report(database, report)
    assert [mode(database), mode(report)] == [kept, kept]
    assert report.stat().st_size


def test_the_doctor_names_what_others_may_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = copy_published(tmp_path)
    monkeypatch.chdir(tmp_path)
    secrets = tmp_path / ".dlt" / "secrets.toml"
    secrets.parent.mkdir(mode=0o700)
    secrets.touch(mode=0o600)
    for path in (database, load_file(database)):
        path.chmod(0o600)

    def told() -> list[Finding]:
        return [found for found in examine_databases(database, None) if found.topic == "files"]

    assert told() == []
    database.chmod(0o640)
    assert told() == [], "a group of analysts may read"
    for path in (database, load_file(database), secrets):
        path.chmod(0o644)
        (found,) = told()
        assert found.state is State.WARNING
        assert path.name in found.message
        path.chmod(0o600)
