"""The emulator stands alone: nothing of kseflow in it, and it says what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EMULATOR = ROOT / "pipelines" / "ksef_emulator"


def run(*arguments: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        input=code,
        cwd=ROOT / "pipelines",
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "line",
    [
        "import kseflow",
        "from kseflow.clock import TimeBox",
        "def late() -> None:\n    import kseflow.errors",
    ],
)
@pytest.mark.parametrize("folder", [".", "world", "api/exports"])
def test_lint_refuses_an_import_of_kseflow_anywhere_in_the_emulator(folder: str, line: str) -> None:
    name = str(EMULATOR / folder / "new.py")
    arguments = ("-m", "ruff", "check", "--select", "TID251", "--stdin-filename", name, "-")
    refused = run(*arguments, code=f"{line}\n")
    assert refused.returncode == 1
    assert "TID251 `kseflow" in refused.stdout
    assert run(*arguments, code="import ksef_emulator\n").returncode == 0


def test_the_lint_rule_is_among_those_that_the_project_checks() -> None:
    shown = run("-m", "ruff", "check", "--show-settings", str(EMULATOR / "clock.py"), code="")
    assert "banned-api (TID251)" in shown.stdout


def test_the_emulator_runs_where_kseflow_is_not_installed() -> None:
    code = "import sys; sys.modules['kseflow'] = None; import ksef_emulator, ksef_emulator.__main__"
    assert run("-", code=code).returncode == 0


def test_without_werkzeug_the_emulator_says_what_to_install() -> None:
    said = run("-", code="import sys; sys.modules['werkzeug'] = None; import ksef_emulator")
    assert said.stderr.strip().splitlines()[-1] == (
        "ImportError: the emulator needs werkzeug: pip install 'kseflow[emulator]'"
    )
