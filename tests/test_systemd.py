"""Units and cron lines that `kseflow systemd` fills in: systemd and a shell read what we meant."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kseflow.deploy.units import Installation, cron_lines, owner, units
from kseflow.errors import ConfigurationError

ODD = """odd $na"me\\ 50%d ąę'"""  # what systemd, cron or a shell read otherwise
EXPOSURE = "20"  # of 100, as systemd-analyze security counts: 1.5 of 10 is 15


def systemd_analyze(*arguments: str) -> str:
    """Run systemd-analyze and return what it complains of; `.ci/run` installs it."""
    command = ["systemd-analyze", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return "" if done.returncode == 0 and "verify" in arguments else done.stdout + done.stderr


@pytest.fixture(params=["plain", ODD], ids=["plain", "odd"])
def installation(tmp_path: Path, request: pytest.FixtureRequest) -> Installation:
    """Return one whose `kseflow` writes down what it was given, in the folder it runs in."""
    folder = tmp_path / request.param
    programs = tmp_path / request.param.replace('"', "").replace("\\", "").replace("'", "")
    for made in (folder, programs):
        made.mkdir(exist_ok=True)
    kseflow = programs / "kseflow"
    kseflow.write_text('#!/bin/sh\necho "$*" >> ran\n[ "$1" != check ] || exit 2\n')
    kseflow.chmod(0o755)
    return Installation(kseflow, folder, "daemon", Path("my ksef.duckdb"))


def written(installation: Installation, shards: int) -> list[str]:
    """Write the units and return their paths; instances of a template stand for it."""
    paths = []
    for name, text in units(shared_by(installation, shards)).items():
        path = installation.folder.parent / name.replace("@.", "@1.")
        path.write_text(text)
        paths.append(str(path))
    return paths


def shared_by(installation: Installation, shards: int) -> Installation:
    return Installation(**vars(installation) | {"shards": shards})


@pytest.mark.parametrize("shards", [1, 3])
def test_systemd_finds_nothing_wrong_with_the_units(
    installation: Installation, shards: int
) -> None:
    paths = written(installation, shards)
    assert len(paths) == (4 if shards == 1 else 5)
    assert systemd_analyze("--recursive-errors=no", "--man=no", "verify", *paths) == ""


def test_systemd_says_when_a_unit_is_wrong(tmp_path: Path) -> None:
    kseflow = tmp_path / "kseflow"  # which is not there
    paths = written(Installation(kseflow, tmp_path, "daemon"), 1)
    assert "kseflow" in systemd_analyze("--recursive-errors=no", "--man=no", "verify", *paths)


def test_the_services_are_hardened(installation: Installation) -> None:
    for path in written(installation, 3):
        if path.endswith(".service"):
            told = systemd_analyze(
                "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", path
            )
            exposure = re.search(r"exposure level for .*: ([\d.]+)", told)
            assert exposure is not None, told
            assert float(exposure[1]) * 10 <= int(EXPOSURE)


def test_cron_runs_load_and_check_in_the_folder(installation: Installation) -> None:
    for shards, ran in (
        (1, ["load --build --quiet --database my ksef.duckdb"]),
        (
            2,
            [
                "load --shard 1/2 --quiet --database my ksef.duckdb",
                "load --shard 2/2 --quiet --database my ksef.duckdb",
                "build --quiet --database my ksef.duckdb",
            ],
        ),
    ):
        _, load, check = cron_lines(shared_by(installation, shards)).splitlines()
        for line in (load, check):
            fields, command = re.fullmatch(r"((?:\S+ ){4}\S+)\s+(.*)", line).groups()  # type: ignore[union-attr]
            assert re.fullmatch(r"\d+ \* \* \* \*", fields)
            assert not re.search(r"(?<!\\)%", command)  # cron makes a line's end of it
            subprocess.run(["sh", "-c", command.replace("\\%", "%")], check=True, cwd="/")
        told = (installation.folder / "ran").read_text().splitlines()
        assert sorted(told[:-1]) == sorted(ran)
        assert told[len(ran) - 1] == ran[-1]
        assert told[-1] == "check --database my ksef.duckdb"
        (installation.folder / "ran").unlink()


def test_what_can_stand_in_no_unit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing with a quote in its path"):
        units(Installation(tmp_path / 'a"b' / "kseflow", tmp_path, "daemon"))
    with pytest.raises(ConfigurationError, match="cannot stand in a unit"):
        Installation(tmp_path / "kseflow", tmp_path / "a\nUser=root", "daemon")


def test_the_command_fills_in_this_installation(tmp_path: Path) -> None:
    kseflow = Path(sys.executable).with_name("kseflow")

    def run(*arguments: str) -> str:
        return subprocess.run(
            [kseflow, "systemd", *arguments],
            cwd=tmp_path,
            env=os.environ,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    told = run()
    assert f"WorkingDirectory={tmp_path}\nExecStart={kseflow} load --build" in told
    assert f"User={owner(tmp_path)}" in told
    (tmp_path / "units").mkdir()
    paths = run("--out", "units", "--shards", "2", "--user", "daemon").splitlines()
    assert sorted(paths) == sorted(str(p.relative_to(tmp_path)) for p in tmp_path.glob("units/*"))
    assert "--shard %i/2 " in (tmp_path / "units" / "kseflow-load@.service").read_text()
    assert run("--cron").count(f"cd {tmp_path} && ") == 2
