"""Time, memory and bytes of a full build with publishing and of nothing new, against one scan.

python -m tests.bench.bench_sql            # 1,000,000 and 10,000,000 invoices, 10 a session
python -m tests.bench.bench_sql 1000000    # only that many

Target: 1,000,000 in 20 s and 10,000,000 in 120 s on two cores, below 4 GB.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.raw_tables import write_raw_tables

SCAN = """
import duckdb
with duckdb.connect({load!r}, read_only=True) as connection:
    connection.execute("set memory_limit = '2500MB'")
    connection.execute(
        "select session_reference_number, status_code, count(*) "
        "from ksef_raw.session_invoices group by all"
    ).fetchmany(1)
"""
FULL = """
from pathlib import Path
from kseflow.marts.build import build
assert build(Path({load!r}), Path({analysts!r}), full=True).is_published
"""
NOTHING_NEW = """
from pathlib import Path
from kseflow.marts.build import build
assert not build(Path({load!r}), Path({analysts!r})).node_counts
"""
MEASURED = """
import resource, time
started = time.monotonic()
{work}
used = resource.getrusage(resource.RUSAGE_SELF)
print(time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6)
print(used.ru_oublock * 512 / 1e6)
"""


def measured(work: str, folder: Path) -> list[float]:
    """Run Python in a process of its own; return seconds, CPU seconds, peak GB and MB written."""
    work = work.format(load=str(folder / "load.duckdb"), analysts=str(folder / "ksef.duckdb"))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(work=work)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [float(text) for text in done.stdout.split()[-4:]]


def main(sizes: list[int]) -> None:
    print("    invoices step     seconds  x scan   CPU s  peak GB  x scan  MB written")
    for invoices in sizes:
        with TemporaryDirectory() as name:
            folder = Path(name)
            write_raw_tables(folder / "load.duckdb", sessions=invoices // 10, invoices=invoices)
            steps = {"scan": SCAN, "full": FULL, "nothing": NOTHING_NEW}
            found = {step: measured(work, folder) for step, work in steps.items()}
        scan_s, _, scan_gb, _ = found["scan"]
        for step, (seconds, cpu_s, peak_gb, written_mb) in found.items():
            print(
                f"{invoices:>12,} {step:8} {seconds:>7.1f} {seconds / scan_s:>7.1f} "
                f"{cpu_s:>7.1f} {peak_gb:>8.2f} {peak_gb / scan_gb:>7.1f} {written_mb:>11.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [1_000_000, 10_000_000])
