"""Histories of a copy: loads of a KSeF of unknown habits, among faults, cuts and lost memory.

`python -m tests.faults.histories 2000` tells so many, the first of them with seed 1; `FIRST=57`
begins elsewhere. In the end the copy has to equal the world, or `kseflow check` has to name what
is not here. A history that fails is told again with less in it, for as long as it still fails.
"""

import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from ksef_emulator import Fault, VirtualClock
from ksef_emulator.faults import Kind
from kseflow.database import working_folder
from kseflow.errors import KsefError
from tests.company import Company, Draw
from tests.faults.cuts import Cut, CuttingWire, Where, cut_off
from tests.simulation import Wire

KINDS: tuple[Kind, ...] = (
    "500", "502", "403-waf", "429", "dropped", "truncated", "cut", "altered", "slow", "21173",
    "21184", "not-json", "html", "403-empty", "missing-field", "warning",
)  # fmt: skip
PATHS = (
    "/sessions$", "/sessions/[^/]+$", "/invoices$", "/failed$", "/upo/", "/exports", "/storage/",
    "/auth/", "/rate-limits$", "",
)  # fmt: skip
FIELDS = ("referenceNumber", "status", "dateUpdated", "ksefNumber", "invoiceCount", "package")
Before = Literal["", "older database", "no folder", "stale folder"]
SETTLED_H = (6.0, 26.0, 150.0)  # loads without faults that end every history


@dataclass(frozen=True)
class Episode:
    """One load: how long after the last one, what befell before, and what goes wrong in it."""

    wait_h: float
    before: Before = ""
    faults: tuple[Fault, ...] = ()
    cut: Cut | None = None
    max_time_s: float = 3000.0
    ahead: timedelta = timedelta(0)  # of the client's clock


@dataclass(frozen=True)
class History:
    """A KSeF, and what befell a copy of it."""

    draw: Draw
    episodes: tuple[Episode, ...]

    @classmethod
    def of(cls, seed: int) -> "History":
        """Draw one; half of them of a KSeF that is as everybody guesses."""
        chance = random.Random(f"history {seed}")
        draw = Draw.of(seed) if chance.random() < 0.5 else replace(Draw.only(), seed=seed)
        return cls(draw, tuple(_episode(chance) for _ in range(chance.randint(1, 4))))

    def smaller(self) -> Iterator["History"]:
        """Yield the histories that lack one thing of this one."""
        for place, episode in enumerate(self.episodes):
            rest = self.episodes[:place], self.episodes[place + 1 :]
            if len(self.episodes) > 1:
                yield replace(self, episodes=(*rest[0], *rest[1]))
            simpler = [
                replace(episode, faults=tuple(f for f in episode.faults if f is not fault))
                for fault in episode.faults
            ]
            if episode != (plain := Episode(episode.wait_h)):
                simpler += [plain, replace(episode, cut=None), replace(episode, before="")]
            for one in simpler:
                if one != episode:
                    yield replace(self, episodes=(*rest[0], one, *rest[1]))
        for group, knobs in self.draw.knobs.items():
            for name in knobs:
                fewer = {key: value for key, value in knobs.items() if key != name}
                draw = replace(self.draw, knobs={**self.draw.knobs, group: fewer})
                yield replace(self, draw=draw)

    def __str__(self) -> str:
        return "\n".join([str(self.draw), *map(str, self.episodes)])


def _episode(chance: random.Random) -> Episode:
    faults = tuple(
        Fault(
            chance.choice(KINDS),
            path=chance.choice(PATHS),
            nth=chance.choice((1, 1, 2, 3, 8)),
            times=chance.choice((1, 1, 2, 9)),
            retry_after_s=chance.choice((5, 60, 4000)),
            field=chance.choice(FIELDS),
        )
        for _ in range(chance.choice((0, 0, 1, 1, 2, 4)))
    )
    cut = None
    if chance.random() < 0.4:
        where: Where = chance.choice(("request", "file"))
        cut = Cut(where, chance.randint(1, 60 if where == "request" else 250))
    return Episode(
        wait_h=chance.choice((0.02, 0.3, 1, 3, 9, 30)),
        before=chance.choice(("", "", "", "", "older database", "no folder", "stale folder")),
        faults=faults,
        cut=cut,
        max_time_s=chance.choice((3000.0, 3000.0, 300.0, 20.0)),
        ahead=chance.choice((timedelta(0),) * 8 + (timedelta(days=30), timedelta(hours=-2))),
    )


class _Ahead:
    """The same time, told by a clock that is wrong."""

    def __init__(self, clock: VirtualClock, ahead: timedelta) -> None:
        self._clock, self._ahead = clock, ahead

    def now(self) -> datetime:
        return self._clock.now() + self._ahead

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)


@dataclass
class Outcome:
    """What became of a history: what the copy lacks, and what of that nobody was told."""

    lacking: dict[str, set[str]]
    silent: dict[str, set[str]]
    fired: Counter[str]
    cut_count: int


def live(history: History, folder: Path) -> Outcome:
    """Live through a history, and compare the copy with the world at its end."""
    company, fired, cut_count = Company(folder, history.draw), Counter[str](), 0
    for number, episode in enumerate(history.episodes):
        company.clock.sleep(episode.wait_h * 3600)
        _befall(company, episode.before)
        cut_count += _load(company, number, episode)
        fired += company.app.fired
        _keep(company)
    until = company.clock.now()
    company.app.schedule(())
    for hours in SETTLED_H:
        company.clock.sleep(hours * 3600)
        company.load(len(history.episodes) + 3)
    lacking = {nip: tables for nip, tables in company.differences(until).items() if tables}
    told = company.findings() if lacking else {}
    silent = {nip: tables for nip, tables in lacking.items() if nip not in told}
    return Outcome(lacking, silent, fired, cut_count)


def _load(company: Company, number: int, episode: Episode) -> bool:
    """Load as an episode has it; tell whether it was cut off."""
    company.app.schedule(episode.faults)
    wire = Wire(company.app, 0.1, number)
    clock = _Ahead(company.clock, episode.ahead)
    cut = episode.cut
    cutting = CuttingWire(wire, cut.nth) if cut and cut.where == "request" else wire
    # An error of ours is told by the command: no login works, or the clock is wrong.
    with cut_off(cut, working_folder(company.database)), suppress(KsefError):
        company.load(number, max_time_s=episode.max_time_s, wire=cutting, clock=clock)
        return False
    return True


def _befall(company: Company, before: Before) -> None:
    older = company.folder / "older"
    folder = working_folder(company.database)
    if before == "older database" and (older / "database").exists():
        shutil.copy(older / "database", company.database)
    elif before == "no folder":
        shutil.rmtree(folder, ignore_errors=True)
    elif before == "stale folder" and (older / "folder").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(older / "folder", folder)


def _keep(company: Company) -> None:
    """Keep the first database and folder, for a later episode to bring back."""
    older = company.folder / "older"
    folder = working_folder(company.database)
    if company.database.exists() and folder.exists() and not older.exists():
        older.mkdir()
        shutil.copy(company.database, older / "database")
        shutil.copytree(folder, older / "folder")


def told(seed: int) -> tuple[int, Outcome | str]:
    """Live through the history of a seed; return the seed and its outcome."""
    return seed, _outcome(History.of(seed))


def _outcome(history: History) -> Outcome | str:
    """Live through a history; return its outcome, or the exception that ended it."""
    with TemporaryDirectory() as folder:
        try:
            return live(history, Path(folder))
        except BaseException as error:  # any: that is what is looked for
            return f"{type(error).__name__}: {error}"


def goes_wrong(history: History) -> bool:
    """Tell whether a history ends in silence about what is missing, or in an exception."""
    return is_wrong(_outcome(history))


def is_wrong(outcome: Outcome | str) -> bool:
    return isinstance(outcome, str) or bool(outcome.silent)


def shrunk(history: History, is_bad: Callable[[History], bool] = goes_wrong) -> History:
    """Return the shortest story that is still bad, found by leaving out one thing at a time."""
    for smaller in history.smaller():
        if is_bad(smaller):
            return shrunk(smaller, is_bad)
    return history


def main(count: int, first: int) -> int:
    """Tell so many histories; print what happened in them, and return how many went wrong."""
    fired, cut_count, told_count, wrong = Counter[str](), 0, 0, []
    with ProcessPoolExecutor() as pool:
        for seed, outcome in pool.map(told, range(first, first + count), chunksize=1):
            if is_wrong(outcome):
                wrong.append(seed)
                print(f"seed {seed}: {outcome}", flush=True)
            if isinstance(outcome, Outcome):
                fired += outcome.fired
                cut_count += outcome.cut_count
                told_count += bool(outcome.lacking)
    summary = {
        "histories": count,
        "faults that fired": dict(fired.most_common()),
        "loads cut off": cut_count,
        "incomplete and told": told_count,
        "mismatches": len(wrong),
    }
    print(json.dumps(summary))
    for seed in wrong[:1]:
        print(f"the first of them, in short:\n{shrunk(History.of(seed))}")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]), int(os.environ.get("FIRST", "1")))))
