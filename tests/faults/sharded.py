"""Kill loads that share the taxpayers, and what unites them; then load to the end and compare.

`python -m tests.faults.sharded 20` prints JSON as `tests.faults.kills` does.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.faults.kills import Copy

COUNT = 2
LONGEST_S = 6.0
UNITE = "from pathlib import Path; from kseflow.marts.unite import unite; "
UNITE += "unite(Path('ksef.duckdb'))"


class Shards(Copy):
    """A copy that processes load in shares, all at once, and another one unites."""

    def processes(self) -> list[subprocess.Popen[str]]:
        kseflow = str(Path(sys.executable).with_name("kseflow"))
        shares = [f"{number}/{COUNT}" for number in range(1, COUNT + 1)]
        commands = [[kseflow, "load", "--quiet", "--shard", share] for share in shares]
        return [self.started([*command]) for command in [*commands, [sys.executable, "-c", UNITE]]]

    def to_the_end(self) -> None:
        *loads, early = self.processes()
        _wait(*loads, early)
        _wait(self.started([sys.executable, "-c", UNITE]))


def _wait(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        _, told = process.communicate()
        if process.returncode:
            raise AssertionError(f"what came after the kills failed: {told}")


def run(kills: int, seed: int) -> dict[str, Any]:
    """Kill so many processes, at moments drawn from `seed`."""
    chance = random.Random(seed)
    killed = ended = 0
    with TemporaryDirectory() as folder:
        copy = Shards(Path(folder), chance.randrange(10**6))
        with copy.served():
            while killed + ended < kills:
                for process in copy.processes():
                    try:
                        process.communicate(timeout=chance.uniform(0.2, LONGEST_S))
                        ended += 1
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.communicate()
                        killed += 1
            copy.to_the_end()
        return {"killed": killed, "ended before": ended, "lacking": copy.lacking()}


if __name__ == "__main__":
    found = run(int(sys.argv[1]), int(os.environ.get("SEED", "1")))
    print(json.dumps(found))
    sys.exit(any(found["lacking"].values()))
