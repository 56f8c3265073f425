"""The SQL of the project as dbt would send it to warehouses whose adapters are not installed."""

from collections.abc import Callable
from typing import Any

import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.context.providers import BaseDatabaseWrapper

from kseflow.marts.rounds import invoked

# Where dbt looks for a dispatched macro, as the real adapters name their parents.
PREFIXES = {
    "duckdb": ("duckdb",),
    "postgres": ("postgres",),
    "redshift": ("redshift", "postgres"),
    "spark": ("spark",),
    "databricks": ("databricks", "spark"),
    "bigquery": ("bigquery",),
    "snowflake": ("snowflake",),
}


def compiled(dialect: str, arguments: list[str], parsed: Any) -> dict[str, str]:
    """Return the SQL of every model and test by its name, in a warehouse's dialect.

    dbt itself compiles, in a DuckDB file, which it asks for the columns of raw tables; only our
    own dispatched macros are those of the dialect.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "dispatch", _dispatch(dialect))
        try:
            done = invoked(
                ["compile", "--no-write-json", "--no-inject-ephemeral-ctes", *arguments], parsed
            )
        finally:
            DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
    return {
        result.node.name: result.node.compiled_code
        for result in done.results
        if getattr(result.node, "compiled_code", None) and result.node.language == "sql"
    }


def _dispatch(dialect: str) -> Callable[..., Any]:
    """Return a dispatch that takes our macros of a dialect, and all others as dbt does."""
    original = BaseDatabaseWrapper.dispatch

    def dispatch(
        self: Any, macro_name: str, macro_namespace: str | None = None, **more: Any
    ) -> Any:
        if macro_namespace != "kseflow":
            return original(self, macro_name, macro_namespace, **more)
        for prefix in (*PREFIXES[dialect], "default"):
            found = self._namespace.get_from_package("kseflow", f"{prefix}__{macro_name}")
            if found is not None:
                return found
        raise LookupError(f"{macro_name} is not written for {dialect}")

    return dispatch
