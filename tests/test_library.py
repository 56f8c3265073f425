"""docs/library.md, followed word for word: a small dlt project of somebody else's."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from ksef_emulator import RunningClock
from tests.conftest import Stage

PAGE = Path(__file__).parents[1] / "docs" / "library.md"
FILE = re.compile(r"`([\w./]+\.(?:toml|py))`[^`]*:\n\n```\w+\n(.*?)```", re.DOTALL)
# What a later release might do: one column more.
LATER = """
source = ksef_source(exports_per_hour=0)
source.schema_contract = {"columns": "freeze"}
source.sessions.add_map(lambda rows: rows.append_column("later", rows["reference_number"]))
try:
    pipeline.run(source)
except Exception as error:
    print("frozen" if "later" in str(error) and "freeze" in str(error) else error)
"""


class Project:
    """A folder with the files that the page tells to write."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self._environment = folder, environment
        for name, text in FILE.findall(PAGE.read_text(encoding="utf-8")):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")

    def run(self, script: str) -> str:
        done = subprocess.run(
            [sys.executable, script],
            cwd=self.folder,
            env=os.environ | self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def count(self, table: str) -> int:
        with duckdb.connect(str(self.folder / "invoicing.duckdb"), read_only=True) as database:
            (found,) = database.sql(f"select count(*) from ksef.{table}").fetchall()
        return int(found[0])


@pytest.fixture
def company(stage: Callable[..., Stage]) -> Stage:
    return stage(at=datetime.now(UTC), days=4, taxpayers=1, sessions_per_day=6, largest_session=9)


@pytest.fixture
def project(company: Stage, tmp_path: Path) -> Iterator[Project]:
    """Return the page's project; variables, which go before files, lead it to the emulator."""
    (login,) = company.logins()
    with company.served(RunningClock()) as base_url:
        yield Project(
            tmp_path,
            {
                "SOURCES__KSEF__ENVIRONMENT": base_url,
                "SOURCES__KSEF__NIP": login.context.id,
                "SOURCES__KSEF__TOKEN": login.token,
                "DLT_DATA_DIR": str(tmp_path / "dlt"),
            },
        )


def test_the_page_makes_a_project_that_loads_what_ksef_knows(
    project: Project, company: Stage
) -> None:
    told = project.run("submissions.py")
    nip, now = company.contexts[0].id, datetime.now(UTC)
    sessions = [s["referenceNumber"] for s in company.world.sessions(nip, now)]
    assert project.count("sessions") == len(sessions) > 3
    assert f"'sessions': {len(sessions)}" in told
    stored = project.count("session_invoices")
    assert stored > 0
    project.run("submissions.py")  # nothing is doubled, and the contract lets it pass
    assert project.count("session_invoices") >= stored
    assert re.search(r"\d+ invoices sent, \d+ of them failed", project.run("listing.py"))
    script = (project.folder / "listing.py").read_text().split("pipeline.run")[0] + LATER
    (project.folder / "later.py").write_text(script)
    assert project.run("later.py") == "frozen\n"
