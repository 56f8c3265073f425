"""Part 8: what a load takes to find what the warehouse lacks, beside one scan of the invoices.

Sessions of three invoices, one in a hundred without its rows.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from kseflow.loading.warehouse import Warehouse
from tests.bench.figures import Figure, Scale
from tests.bench.measured import Cost, begin, measured, used
from tests.bench.nothing_to_do import scan
from tests.bench.raw_tables import write_raw_tables

TITLE = "8. The worklist"
MOST_CPU_S, MOST_MB = 3.0, 300.0  # of 1,000,000 sessions, the memory beside the process

# Nobody was read by receipts, and some not at all.
READ_SQL = """
set enable_progress_bar = false;
insert into ksef_raw.session_invoices by name
select
    context_type, context_id, session_reference_number, ksef_number,
    ksef_number as reference_number, 200 as status_code, read_at,
    acquisition_date as permanent_storage_date
from ksef_raw.upo_documents;
update ksef_raw.invoice_reads set endpoint = 'invoices';
delete from ksef_raw.session_invoices where hash(session_reference_number) % 100 = 0
"""


def figures(scale: Scale) -> Iterator[Figure]:
    """Yield CPU and memory of the worklist by the number of sessions."""
    for sessions in scale.of([], [1_000_000], [1_000_000, 5_000_000]):
        with TemporaryDirectory() as folder:
            database = Path(folder) / "ksef-load.duckdb"
            write_raw_tables(database, sessions=sessions, invoices=3 * sessions)
            with duckdb.connect(str(database)) as connection:
                connection.execute(READ_SQL)
            told, scanned = measured(look, database), measured(scan, database)
        yield from _told(sessions, told, scanned)


def look(database: Path) -> float:
    """Find what lacks; return the megabytes that this took beside the process."""
    warehouse = Warehouse.of_file(database)
    _, before_mb, _ = used()
    begin()
    assert warehouse.worklist().lacking().num_rows > 0
    return used()[1] - before_mb


def _told(sessions: int, told: Cost, scanned: Cost) -> Iterator[Figure]:
    name = f"{sessions:,} sessions"
    against = {"a scan": scanned.cpu_s, "wanted": MOST_CPU_S * sessions / 1e6}
    yield Figure(f"{name}: CPU", told.cpu_s, "s", against)
    yield Figure(f"{name}: memory beside the process", told.answer, "MB", {"wanted": MOST_MB})
