"""What work costs in a process of its own: seconds, CPU, memory and bytes written."""

import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

KSEFLOW = """
import runpy, sys
from pathlib import Path
from tests.bench.measured import used
sys.argv[0] = "kseflow"
code = 0
try:
    runpy.run_module("kseflow.cli", run_name="__main__")
except SystemExit as ended:
    code = ended.code
Path({told!r}).write_text(repr((int(code or 0), *used())))
"""


@dataclass(frozen=True)
class Cost:
    """What a process and its children took, and what its work returned.

    `peak_mb` is of the process alone, `written_mb` what they wrote to files and pipes.
    """

    seconds: float
    cpu_s: float
    peak_mb: float
    written_mb: float
    answer: Any = None


def used() -> tuple[float, float, float]:
    """Return CPU seconds, peak MB and written MB of this process so far.

    The CPU is that of children that have ended as well.
    """
    spent = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # Not ru_maxrss, which a process takes over from the one that started it.
    peak_kb = _field("/proc/self/status", "VmHWM")
    written = _field("/proc/self/io", "wchar")
    return sum(one.ru_utime + one.ru_stime for one in spent), peak_kb / 1000, written / 1e6


def _field(file: str, name: str) -> float:
    lines = Path(file).read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


_begun = (0.0, 0.0, 0.0)  # the clock, CPU seconds and megabytes written when work began


def begin() -> None:
    """Say in measured work that what came before was preparation, and is not counted."""
    global _begun
    spent_s, _, written_mb = used()
    _begun = (time.perf_counter(), spent_s, written_mb)


def measured(work: Callable[..., Any], *given: Any) -> Cost:
    """Do something in a fresh process, imports of its module not counted."""
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_do, args=(there, work, given))
    child.start()
    there.close()
    try:
        cost: Cost = here.recv()
    except EOFError:
        raise RuntimeError(f"the process that measures {work} failed, as told above") from None
    finally:
        child.join()
    return cost


def _do(told: Connection, work: Callable[..., Any], given: tuple[Any, ...]) -> None:
    begin()
    answer = work(*given)
    after_cpu_s, peak_mb, after_mb = used()
    began, before_cpu_s, before_mb = _begun
    seconds, cpu_s = time.perf_counter() - began, after_cpu_s - before_cpu_s
    told.send(Cost(seconds, cpu_s, peak_mb, after_mb - before_mb, answer))


def command(folder: Path, environment: Mapping[str, str], *arguments: str) -> Cost:
    """Run kseflow's command line in a folder, its start-up counted; the answer is its exit code."""
    told = folder / ".measured"
    begun = time.perf_counter()
    _python(KSEFLOW.format(told=str(told)), folder, environment, *arguments)
    seconds = time.perf_counter() - begun
    code, cpu_s, peak_mb, written_mb = eval(told.read_text())  # what we had it write
    return Cost(seconds, cpu_s, peak_mb, written_mb, code)


def bare_python(folder: Path, environment: Mapping[str, str], code: str = "pass") -> Cost:
    """Run Python that does next to nothing, as a baseline of every command."""
    told = folder / ".measured"
    begun = time.perf_counter()
    ending = f"{code}\nfrom pathlib import Path\nfrom tests.bench.measured import used\n"
    _python(f"{ending}Path({str(told)!r}).write_text(repr(used()))", folder, environment)
    return Cost(time.perf_counter() - begun, *eval(told.read_text()))


def _python(code: str, folder: Path, environment: Mapping[str, str], *arguments: str) -> None:
    root = str(Path(__file__).parents[2])
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": root},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=True,
    )
