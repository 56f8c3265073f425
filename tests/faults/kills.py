"""Kill processes that load and build, wherever they are; then load to the end and compare.

`python -m tests.faults.kills 100` prints JSON: how many were killed, how many had ended before,
what the copies lack in the end (nothing), and how long the processes had lived (seconds).
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from ksef_emulator import Emulator, RunningClock, World, serve

LATENCY_S = 0.03
KILLS_A_COPY = 5  # then it is loaded to the end, and compared
LONGEST_S = 9.0


@dataclass
class Copy:
    """One company's database, loaded by processes of its own from an emulator on a socket."""

    folder: Path
    seed: int

    def __post_init__(self) -> None:
        now = datetime.now(UTC)
        self.world = World(
            seed=self.seed,
            taxpayers=2,
            since=now - timedelta(days=2),
            sessions_per_day=6,
            largest_session=20,
        )
        self.until = now - timedelta(hours=8)

    @contextmanager
    def served(self) -> Iterator[None]:
        app = Emulator(self.world, RunningClock(), "off")
        with serve(app, latency_s=LATENCY_S, keeps_connections=True) as base_url:
            names = [f"t{number}" for number in range(len(self.world.taxpayers))]
            self._environment = os.environ | {
                "SOURCES__KSEF__ENVIRONMENT": base_url,
                "SOURCES__KSEF__TAXPAYERS": json.dumps(names),
                "SOURCES__KSEF__EXPORTS_FROM": self.world.since.isoformat(),
                "SOURCES__KSEF__IN_PROGRESS": "all",
            }
            for name, who in zip(names, self.world.taxpayers, strict=True):
                self._environment[f"SOURCES__KSEF__{name.upper()}__NIP"] = who.context_id
                self._environment[f"SOURCES__KSEF__{name.upper()}__TOKEN"] = who.token
            yield

    def process(self) -> subprocess.Popen[str]:
        kseflow = str(Path(sys.executable).with_name("kseflow"))
        return self.started([kseflow, "load", "--build", "--quiet"])

    def started(self, command: list[str]) -> subprocess.Popen[str]:
        """Start a process that finds the taxpayers configured."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def lacking(self) -> dict[str, int]:
        """Return how many rows of the world each table lacks; what is told twice raises."""
        now = datetime.now(UTC)
        true: dict[str, set[str]] = {"sessions": set(), "session_invoices": set()}
        for who in self.world.taxpayers:
            for session in self.world.sessions(who.context_id, now):
                if datetime.fromisoformat(session["dateUpdated"]) < self.until:
                    name = session["referenceNumber"]
                    true["sessions"].add(name)
                    items = self.world.invoices(who.context_id, name, now)
                    true["session_invoices"] |= {item["referenceNumber"] for item in items}
        found = {}
        with duckdb.connect(str(self.folder / "ksef-load.duckdb"), read_only=True) as connection:
            for table, names in true.items():
                rows = connection.sql(f"select reference_number from ksef_raw.{table}").fetchall()
                stored = [row[0] for row in rows]
                if len(stored) != len(set(stored)):
                    raise AssertionError(f"{table}: a row is stored twice")
                found[table] = len(names - set(stored))
        return found

    def check_marts(self) -> None:
        """Raise if analysts cannot read them."""
        with duckdb.connect(str(self.folder / "ksef.duckdb"), read_only=True) as connection:
            connection.sql("from marts.daily_outcomes").fetchall()


def run(kills: int, seed: int) -> dict[str, Any]:
    """Kill so many loads, of several copies, at moments drawn from `seed`."""
    chance = random.Random(seed)
    killed = ended = 0
    lacking: dict[str, int] = {"sessions": 0, "session_invoices": 0}
    lived: list[float] = []
    while killed + ended < kills:
        with TemporaryDirectory() as folder:
            copy = Copy(Path(folder), chance.randrange(10**6))
            with copy.served():
                for _ in range(min(KILLS_A_COPY, kills - killed - ended)):
                    process, after_s = copy.process(), chance.uniform(0.2, LONGEST_S)
                    try:
                        process.communicate(timeout=after_s)
                        ended += 1
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.communicate()
                        killed += 1
                        lived.append(round(after_s, 1))
                last = copy.process()
                _, told = last.communicate()
            if last.returncode:
                raise AssertionError(f"the load after the kills failed: {told}")
            copy.check_marts()
            for table, count in copy.lacking().items():
                lacking[table] += count
    return {"killed": killed, "ended before": ended, "lacking": lacking, "after s": sorted(lived)}


if __name__ == "__main__":
    found = run(int(sys.argv[1]), int(os.environ.get("SEED", "1")))
    print(json.dumps(found))
    sys.exit(any(found["lacking"].values()))
