"""An analyst who polls: opens the file, asks, closes, and counts what went wrong."""

import json
import sys
import time
from pathlib import Path

import duckdb

MIXED_SQL = """
select
    (select run_id from published) as run_id,
    (select run_id from published) = (select max(run_id) from marts.api_usage)
    and (select as_of from published) = (select as_of from marts.as_of)
    and (select count(*) from marts.sessions) = (select count(*) from staging.stg_sessions)
    and (select count(*) from marts.invoices)
        = (select sum(stored_invoice_count) from marts.sessions)
    and (select count(*) from marts.invoices where known_from != 'upo')
        = (select count(*) from staging.stg_session_invoices)
    and (select sum(decided_count) from marts.daily_outcomes)
        = (
            select sum(accepted_invoice_count + failed_invoice_count)
            from staging.stg_sessions
            where status_code not in (100, 150, 170)
        )
    and (select sum(failed_count) from marts.failure_reasons)
        = (select sum(failed_count + uncounted_failed_count) from marts.daily_outcomes)
    and (select sum(failed_count + open_failed_count) from marts.failure_reasons)
        >= (select count(*) from marts.failed_invoices) as is_one_state
"""


def poll(database: str, stop: Path) -> None:
    failures: list[str] = []
    runs: list[str] = []
    polls = 0
    while not stop.exists():
        polls += 1
        time.sleep(0.2)  # leave the two cores to the loads
        try:
            with duckdb.connect(database, read_only=True) as connection:
                run_id, is_one_state = connection.execute(MIXED_SQL).fetchall()[0]
        except duckdb.Error as error:
            failures.append(str(error))
            continue
        if not is_one_state:
            failures.append(f"mixed state in {run_id}")
        if run_id not in runs[-1:]:
            runs.append(run_id)
    print(json.dumps({"polls": polls, "runs": runs, "failures": failures}))


if __name__ == "__main__":
    poll(sys.argv[1], Path(sys.argv[2]))
