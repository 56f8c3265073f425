"""Change the SQL on purpose, one place at a time, and see whether its tests notice.

`make mutation` runs it, outside CI. Each mutation is made in a copy of the project: first its
unit tests judge it, then the models that follow with their data tests on a small loaded world,
and last, if these saw nothing, the comparisons with plain Python. The checkout stays as it is.
Exit code 1 when fewer than 95 % are caught, 2 when the project does not pass unchanged.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
MUTATIONS = Path(__file__).with_name("mutations.toml")
COMPARISONS = (
    "test_reasons.py",
    "test_amounts.py",
    "test_marts_equal_an_invented_company.py",
    "test_marts_equal_the_world.py",
)
WANTED_SHARE = 0.95
SLOW_S = 900
# What DuckDB says of a change that is no SQL any more: it proves nothing about the tests.
NO_SQL = ("Parser Error", "Binder Error", "Catalog Error", "Compilation Error")


@dataclass(frozen=True)
class Mutation:
    """One change: in `file` (below `sql`), the only `old` becomes `new`, and that `breaks`."""

    file: str
    old: str
    new: str
    breaks: str

    def problem(self, project: Path) -> str | None:
        """Say why it cannot be made; None if it can."""
        path = project / self.file
        count = path.read_text().count(self.old) if path.exists() else 0
        if count != 1:
            return f"{self.file}: {count} times instead of once: {self.old!r}"
        return None if self.old != self.new else f"{self.file}: no change: {self.old!r}"


@dataclass(frozen=True)
class Verdict:
    """Who caught a mutation: a stage and a test of it; the stage is `survived` if nobody did."""

    mutation: Mutation
    stage: str
    test: str
    seconds: float


def read_mutations(file: Path = MUTATIONS) -> list[Mutation]:
    """Return the mutations in the order of the file."""
    return [Mutation(**entry) for entry in tomllib.loads(file.read_text())["mutation"]]


class Workshop:
    """A copy of the project in `folder`, with a built database, where mutations are tried."""

    def __init__(self, folder: Path, *, is_quick: bool) -> None:
        self.folder = folder
        self.project = folder / "sql"
        self.built = folder / "built.duckdb"
        self.is_quick = is_quick

    @classmethod
    def begin(cls, folder: Path, *, is_quick: bool) -> "Workshop":
        """Copy the project to the new `folder`, load a world, build and test it unchanged.

        Raises `SystemExit` (2) when something does not pass.
        """
        for name in ("pipelines", "sql", "tests"):
            skipped = shutil.ignore_patterns("target", "logs", "__pycache__", ".*")
            shutil.copytree(CHECKOUT / name, folder / name, ignore=skipped)
        shutil.copy(CHECKOUT / "pyproject.toml", folder)
        workshop = cls(folder, is_quick=is_quick)
        _load_world(folder, workshop.built)
        test = workshop.failing_test(workshop.built, "build") or workshop.differing_comparison()
        if test:
            raise SystemExit(f"Unchanged, the project does not pass: {test}")
        return workshop

    def copy(self, folder: Path) -> "Workshop":
        """Return another workshop as this one, in the new `folder`."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("worker-*"))
        return Workshop(folder, is_quick=self.is_quick)

    def judge(self, mutation: Mutation) -> Verdict:
        """Make the change, see who notices, and undo it."""
        started = monotonic()
        path = self.project / mutation.file
        before = path.read_text()
        self.write(path, before.replace(mutation.old, mutation.new))
        try:
            stage, test = next(self.catches(mutation), ("survived", ""))
        finally:
            self.write(path, before)
        return Verdict(mutation, stage, test, monotonic() - started)

    def write(self, path: Path, text: str) -> None:
        """Write a file of the project; unit tests hold rows of seeds, so dbt parses these anew."""
        path.write_text(text)
        if path.suffix == ".csv":
            (self.folder / "target" / "partial_parse.msgpack").unlink(missing_ok=True)

    def catches(self, mutation: Mutation) -> Iterator[tuple[str, str]]:
        """Yield who notices, cheapest first: stage and name of the test."""
        models = _changed_models(mutation.file)
        unit_tests = f"{models},test_type:unit" if models else "test_type:unit"
        if test := self.failing_test(self.built, "test", "--select", unit_tests):
            yield _stage(test, "unit test"), test
        database = self.folder / "mutated.duckdb"
        shutil.copy(self.built, database)
        following = ["--select", models if models.endswith("+") else f"{models}+"] if models else []
        # What changed is told by Python, slowly, and has tests of its own.
        without = ["--exclude-resource-type", "unit_test", "--exclude", "anomalies"]
        if test := self.failing_test(database, "build", *following, *without):
            yield _stage(test, "data test"), test
        if test := self.differing_comparison():
            yield "comparison", test

    def failing_test(self, database: Path, *arguments: str) -> str | None:
        """Run dbt on `database` until a test fails; return its name and message."""
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.cli.main import dbtRunner

        os.environ["KSEFLOW_DATABASE"] = str(database)
        folders = {
            "--project-dir": self.project,
            "--profiles-dir": self.project,
            "--target-path": self.folder / "target",
            "--log-path": self.folder / "logs",
        }
        told = [text for pair in folders.items() for text in map(str, pair)]
        try:
            quiet = ["--log-level", "none", "--log-level-file", "none", "--no-write-json"]
            outcome = dbtRunner().invoke([*arguments, *told, *quiet, "--fail-fast"])
        finally:
            DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
        results: Any = getattr(outcome.result, "results", None)
        if results is None:
            return f"dbt: Compilation Error: {outcome.exception}"
        # With several threads, stopping at the first failure may lose it and tell what was skipped.
        failed = [r for r in results if r.status in ("error", "fail", "warn")]
        failed += [r for r in results if r.status == "skipped"]
        return f"{failed[0].node.name}: {failed[0].message}" if failed else None

    def differing_comparison(self) -> str | None:
        """Run the comparisons with plain Python; return the one that differs."""
        if self.is_quick:
            return None
        tests = [str(self.folder / "tests" / "sql" / name) for name in COMPARISONS]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder / "pipelines")},
            capture_output=True,
            text=True,
            timeout=SLOW_S,
            check=False,
        )
        named = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return None if done.returncode == 0 else (named or [done.stdout[-300:]])[0]


def _load_world(folder: Path, database: Path) -> None:
    """Load two taxpayers; the last hours are listed and their failures read, and no more."""
    sys.path.insert(0, str(folder))
    from ksef_emulator import VirtualClock
    from tests.sql.loaded import NOW, loading, make_world

    world, clock = make_world(days=9, sessions_per_day=8), VirtualClock(NOW)
    with loading(world, clock, database, exports_per_hour=1000) as load_once:
        load_once()
        clock.sleep(6 * 3600)
    with loading(world, clock, database, only=("sessions", "failed_invoices")) as load_once:
        load_once()


def _changed_models(file: str) -> str:
    """Return dbt's selector of what a change in `file` concerns; empty for everything."""
    path = Path(file)
    return {"models": path.stem, "seeds": f"{path.stem}+"}.get(path.parts[0], "")


def _stage(test: str, stage: str) -> str:
    if "enforced contract" in test:
        return "contract"
    if any(error in test for error in NO_SQL):
        return "no SQL"
    return "contract" if "Constraint Error" in test else stage


_workshop: Workshop | None = None


def _begin_worker(base: Workshop, folder: Path) -> None:
    global _workshop
    _workshop = base.copy(folder / f"worker-{os.getpid()}")


def _judge(mutation: Mutation) -> Verdict:
    assert _workshop is not None
    return _workshop.judge(mutation)


def judged(mutations: Sequence[Mutation], workers: int, *, is_quick: bool) -> Iterator[Verdict]:
    """Yield a verdict for each mutation, as soon as it is there."""
    with TemporaryDirectory(prefix="kseflow-mutation-") as text:
        folder = Path(text)
        base = Workshop.begin(folder / "base", is_quick=is_quick)
        with ProcessPoolExecutor(
            workers, get_context("spawn"), initializer=_begin_worker, initargs=(base, folder)
        ) as pool:
            yield from pool.map(_judge, mutations)


def report(verdicts: Sequence[Verdict]) -> float:
    """Print what was caught by what and what survived; return the share that was caught, 0 to 1."""
    stages = Counter(verdict.stage for verdict in verdicts)
    print("\ncaught by       mutations\n-------------------------")
    for stage, count in stages.most_common():
        print(f"{stage:<15} {count:>9}")
    for verdict in verdicts:
        if verdict.stage in ("survived", "no SQL"):
            mutation = verdict.mutation
            print(f"\n{verdict.stage}: {mutation.file}: {mutation.breaks}")
            print(f"  - {mutation.old}\n  + {mutation.new}\n  {verdict.test}")
    caught = len(verdicts) - stages["survived"] - stages["no SQL"]
    share = caught / len(verdicts) if verdicts else 1.0
    print(f"\n{caught} of {len(verdicts)} caught: {100 * share:.1f} %")
    return share


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="only those whose file or words contain one of")
    parser.add_argument("--workers", type=int, default=1, help="how many are judged at once")
    parser.add_argument("--quick", action="store_true", help="without the comparisons in Python")
    options = parser.parse_args()
    told = {m: f"{m.file} {m.breaks}" for m in read_mutations()}
    chosen = [m for m in told if any(word in told[m] for word in options.only or [""])]
    if problems := [text for m in chosen if (text := m.problem(CHECKOUT / "sql"))]:
        print("\n".join(problems))
        return 2
    verdicts = []
    for verdict in judged(chosen, options.workers, is_quick=options.quick):
        verdicts.append(verdict)
        test = verdict.test.split(":")[0].splitlines()[0] if verdict.test else ""
        mutation = verdict.mutation
        print(f"{verdict.stage:<10} {verdict.seconds:5.1f} s  {mutation.file}: {mutation.breaks}")
        print(f"{'':20}{test}", flush=True)
    return 0 if report(verdicts) >= WANTED_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
