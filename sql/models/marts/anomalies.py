# What changed: told by kseflow.trends, which the notebook, the report and the check use as well.
# Python, because what is asked is a permutation test, which SQL has no words for.
from kseflow.trends import anomalies, as_table, read_inputs


def model(dbt, session):
    dbt.config(materialized="table")
    # Read by their names below; named here for the order of the build and the lineage.
    dbt.ref("as_of")
    dbt.ref("sessions")
    dbt.ref("session_days")
    dbt.ref("session_reasons")
    dbt.ref("invoices")
    found = read_inputs(session)
    return as_table(anomalies(found) if found else [])
