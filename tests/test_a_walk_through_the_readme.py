"""The README, walked by somebody new: a fresh copy, a fresh environment, its shell blocks."""

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def fresh_copy(folder: Path) -> None:
    """Copy what git knows, or would add: what a clone will hold."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def test_a_newcomer_gets_through_the_readmes_shell_blocks(tmp_path: Path) -> None:
    fresh_copy(tmp_path)
    blocks = re.findall(r"```shell\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SOURCES__")}
    walked = subprocess.run(
        ["bash", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    told = walked.stdout + walked.stderr
    assert "Traceback" not in told, told
    assert "error" not in walked.stderr.lower(), walked.stderr
    for text in (
        "First load",
        "Second load, incremental",
        "What this load brought",
        "Published for analysts",
        "KSEF ",
        "report.html",
    ):
        assert text in told, told
    assert (tmp_path / "report.html").stat().st_size > 100_000
    assert (tmp_path / "kseflow-demo" / "report.html").exists()
