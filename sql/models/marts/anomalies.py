# What changed: told by kseflow.trends, which the notebook, the report and the check use as well.
# Python, because what is asked is a permutation test, which SQL has no words for.
import asyncio
import threading

from kseflow.trends import anomalies, as_table, read_inputs


def model(dbt, session):
    dbt.config(materialized="table")
    # Read by their names below; named here for the order of the build and the lineage.
    dbt.ref("as_of")
    dbt.ref("sessions")
    dbt.ref("session_days")
    dbt.ref("session_reasons")
    dbt.ref("invoices")
    close_event_loop()
    found = read_inputs(session)
    named = dbt.ref("taxpayers").filter("name is not null")
    names = {row[:2]: row[2] for row in named.select("context_type, context_id, name").fetchall()}
    return as_table(anomalies(found, names) if found else [])


def close_event_loop():
    """Close the loop that dbt-duckdb opens in its thread for asynchronous models and forgets."""
    if threading.current_thread() is not threading.main_thread():
        asyncio.get_event_loop().close()
        asyncio.set_event_loop(None)
