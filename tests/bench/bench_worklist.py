"""What a load takes to find what the warehouse lacks: CPU seconds and memory.

python tests/bench/bench_worklist.py 1000000 [database]

Makes so many sessions with three invoices each, one session in a hundred without its rows, and
reads the worklist in a process of its own. A database that exists is read as it is.
"""

import re
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from kseflow.loading.warehouse import Warehouse

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.bench.raw_tables import write_raw_tables


def used() -> tuple[float, float]:
    """Return this process's CPU seconds and its largest memory in MB (not its parent's)."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return usage.ru_utime + usage.ru_stime, int(peak) / 1024


def measure(database: Path) -> None:
    """Print what the worklist takes beside the process."""
    warehouse = Warehouse.of_file(database)
    cpu_s, memory_mb = used()
    lacking = warehouse.worklist().lacking().num_rows
    cpu_s, beside_mb = used()[0] - cpu_s, used()[1] - memory_mb
    print(f"{lacking:,} sessions lack something: {cpu_s:.1f} CPU s, {beside_mb:.0f} MB beside")


def make(database: Path, sessions: int) -> None:
    write_raw_tables(database, sessions=sessions, invoices=3 * sessions)
    with duckdb.connect(str(database)) as connection:
        # Nobody read by receipts.
        connection.execute(
            "insert into ksef_raw.session_invoices by name "
            "select context_type, context_id, session_reference_number, ksef_number, "
            "ksef_number as reference_number, 200 as status_code, read_at, "
            "acquisition_date as permanent_storage_date from ksef_raw.upo_documents"
        )
        connection.execute("update ksef_raw.invoice_reads set endpoint = 'invoices'")
        connection.execute(
            "delete from ksef_raw.session_invoices where hash(session_reference_number) % 100 = 0"
        )


if __name__ == "__main__":
    if sys.argv[1] == "measure":
        measure(Path(sys.argv[2]))
        sys.exit()
    with TemporaryDirectory() as folder:
        path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder) / "many.duckdb"
        if not path.exists():
            make(path, int(sys.argv[1]))
        subprocess.run([sys.executable, __file__, "measure", str(path)], check=True)
