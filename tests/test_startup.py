"""What a command costs before it does anything, in CPU seconds of a process of its own."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.published import copy_published

CODE = """
import resource, runpy, sys
sys.argv = ["kseflow", *sys.argv[1:]]
code = 0
try:
    runpy.run_module("kseflow.cli", run_name="__main__")
except SystemExit as ended:
    code = ended.code
spent = resource.getrusage(resource.RUSAGE_SELF)
heavy = sorted({"dlt", "pandas", "httpx", "dbt", "cryptography", "lxml"} & set(sys.modules))
print(code, spent.ru_utime + spent.ru_stime, *heavy, file=sys.stderr)
"""


def cost(folder: Path, code: str, *arguments: str) -> tuple[str, float, list[str]]:
    """Return the exit code, the CPU seconds, and which heavy packages were imported."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith(("CHECK__", "SOURCES__"))},
        capture_output=True,
        text=True,
        check=True,
    )
    exit_code, seconds, *heavy = done.stderr.splitlines()[-1].split()
    return exit_code, float(seconds), heavy


@pytest.fixture(scope="module")
def pace(tmp_path_factory: pytest.TempPathFactory) -> float:
    """What this machine takes for a known import: 0.25 CPU seconds where the goals were set."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import duckdb, pyarrow"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent_s / 0.25


@pytest.mark.parametrize("arguments", [["--help"], ["load", "--help"]])
def test_help_imports_nothing_heavy(tmp_path: Path, pace: float, arguments: list[str]) -> None:
    code, seconds, heavy = cost(tmp_path, CODE, *arguments)
    assert (code, heavy) == ("0", [])
    assert seconds < 3 * 0.3 * pace


def test_a_build_of_nothing_new_does_without_dbt(tmp_path: Path, pace: float) -> None:
    database = copy_published(tmp_path)
    code, seconds, heavy = cost(tmp_path, CODE, "build", "--database", str(database))
    assert code == "0"
    assert set(heavy) <= {"pandas"}
    assert seconds < 1.0 * pace
    assert (tmp_path / ".ksef.duckdb.looked.json").exists()


def test_check_and_status_do_without_dlt(tmp_path: Path, pace: float) -> None:
    database = copy_published(tmp_path, healthy=True)
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text("[check.warning]\nfailure_rate = 0.5\n")
    _, seconds, heavy = cost(tmp_path, CODE, "check", "--database", str(database))
    assert heavy == []
    assert seconds < 3 * 1.0 * pace
    code, seconds, heavy = cost(tmp_path, CODE, "status", "--json", "--database", str(database))
    assert code == "0"
    assert set(heavy) <= {"pandas"}  # pyarrow asks for it, where the report's extra brought it
    assert seconds < 3 * 1.0 * pace
