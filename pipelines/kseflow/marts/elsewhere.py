"""The models in another warehouse than a DuckDB file: built and tested where the rows are.

dlt knows how one gets there, dbt builds, and what is told of trends, which needs more than SQL,
is written when dbt is done.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kseflow.constants import DATASET
from kseflow.database import in_memory
from kseflow.errors import ConfigurationError, WarehouseError
from kseflow.marts.fingerprint import project_folder
from kseflow.marts.rounds import SAMPLE_ROWS, BuildFailed, invoked
from kseflow.marts.steps import Step, failed
from kseflow.settings import unknown
from kseflow.trends.anomaly import Anomaly
from kseflow.trends.inputs import WINDOW_DAYS, read_inputs
from kseflow.trends.telling import anomalies

# A variable; what one holds that begins like this dbt leaves out of its logs.
PASSWORD = "DBT_ENV_SECRET_KSEFLOW_PASSWORD"  # noqa: S105
INSTALL = "pip install 'kseflow[{}]' brings what a build in this warehouse needs"
CHUNK_ROWS = 50_000

# What trends are told from, with the columns that they read; days are those that they look at.
RECENT = f"day > (select max(as_of_day) from marts.as_of) - {WINDOW_DAYS}"
MIRRORED = {
    "as_of": ("as_of_day date", "marts.as_of"),
    "taxpayers": ("context_type varchar, context_id varchar, name varchar", "marts.taxpayers"),
    "sessions": (
        "context_type varchar, context_id varchar, created_day date",
        "(select distinct context_type, context_id, created_day from marts.sessions) as sessions",
    ),
    "session_days": (
        "context_type varchar, context_id varchar, session_type varchar, "
        "session_reference_number varchar, day date, accepted_count bigint, failed_count bigint, "
        "from_counters_count bigint, decided_count bigint",
        f"marts.session_days where {RECENT}",
    ),
    "session_reasons": (
        "context_type varchar, context_id varchar, session_reference_number varchar, day date, "
        "category varchar, normalised_message varchar, failed_count bigint",
        f"marts.session_reasons where {RECENT}",
    ),
    "invoices": (
        "context_type varchar, context_id varchar, session_reference_number varchar, "
        "session_type varchar, submitted_day date, is_settled boolean, "
        "seconds_to_acceptance double",
        f"marts.invoices where session_type = 'Online' and submitted_{RECENT}",
    ),
}


def build_elsewhere(destination: str) -> dict[str, Any]:
    """Build and test the models in a dlt destination, in the schemas seeds to marts.

    Return what a build's summary tells: dbt's nodes by status, and warnings as text. Raises
    `ConfigurationError` when the destination is not configured, or none that a build knows, and
    `BuildFailed` naming the failed steps with sample rows.
    """
    if destination not in PROFILES:
        raise unknown("--destination", destination, ["duckdb", *PROFILES], "destination of a build")
    with (
        _client(destination) as client,
        TemporaryDirectory(prefix="kseflow-dbt-") as work,
        _password(client.credentials.password),
    ):
        told = _options(Path(work), PROFILES[destination](client.credentials))
        parsed = invoked(["parse", *told])
        steps = _steps(["build", "--exclude-resource-type", "exposure", *told], parsed)
        _refuse_failed(client, steps)
        _write_anomalies(client)
        _refuse_failed(client, _steps(["test", "--select", "anomalies", *told], parsed))
        warned = [_step_text(client, step) for step in steps if step.status == "warn"]
    return {"node_counts": dict(Counter(step.status for step in steps)), "warnings": warned}


def _steps(arguments: list[str], parsed: Any) -> list[Step]:
    return [Step.of_dbt(result) for result in invoked(arguments, parsed).results]


def _postgres(credentials: Any) -> dict[str, Any]:
    """Return dbt's output for dlt's credentials, the password by its variable."""
    return {
        "type": "postgres",
        "host": credentials.host,
        "port": credentials.port,
        "user": credentials.username,
        "password": f"{{{{ env_var('{PASSWORD}') }}}}",
        "dbname": credentials.database,
        "schema": "marts",
        "threads": 2,
        **{name: value for name, value in credentials.query.items() if name.startswith("ssl")},
    }


PROFILES: dict[str, Callable[[Any], dict[str, Any]]] = {"postgres": _postgres}


@contextmanager
def _client(destination: str) -> Iterator[Any]:
    """Connect as dlt is configured to."""
    import dlt
    from dlt.destinations.exceptions import DatabaseException

    with TemporaryDirectory(prefix="kseflow-dlt-") as folder:
        pipeline = dlt.pipeline(
            "kseflow_build", destination=destination, dataset_name=DATASET, pipelines_dir=folder
        )
        client = _opened(pipeline, destination)
        try:
            yield client
        except DatabaseException as error:
            raise WarehouseError(f"{destination}: {str(error).strip()}") from None
        finally:
            client.close_connection()


def _opened(pipeline: Any, destination: str) -> Any:
    """Return a connected client of dlt's."""
    from dlt.common.configuration.exceptions import ConfigurationException
    from dlt.common.exceptions import MissingDependencyException

    try:
        client = pipeline.sql_client()
        client.open_connection()
    except ConfigurationException:
        raise ConfigurationError(
            f"dlt knows no way to {destination}: set its credentials in .dlt/secrets.toml, "
            f"[destination.{destination}], or the variable "
            f"DESTINATION__{destination.upper()}__CREDENTIALS"
        ) from None
    except MissingDependencyException:
        raise ConfigurationError(INSTALL.format(destination)) from None
    except Exception as error:  # each driver has errors of its own
        raise WarehouseError(f"{destination}: {str(error).strip()}") from None
    return client


@contextmanager
def _password(password: str | None) -> Iterator[None]:
    """Have dbt's profile find the password in the environment, and in no file."""
    os.environ[PASSWORD] = password or ""
    try:
        yield
    finally:
        del os.environ[PASSWORD]


def _options(work: Path, output: dict[str, Any]) -> list[str]:
    """Write a profile and return where dbt finds it, and puts its own files."""
    profiles = {"kseflow": {"target": output["type"], "outputs": {output["type"]: output}}}
    (work / "profiles.yml").write_text(json.dumps(profiles))  # JSON is YAML as well
    return [
        "--no-write-json",
        f"--project-dir={project_folder()}",
        f"--profiles-dir={work}",
        f"--target-path={work / 'target'}",
        f"--log-path={work / 'logs'}",
    ]


def _refuse_failed(client: Any, steps: Sequence[Step]) -> None:
    if broken := failed(steps):
        told = "\n".join(_step_text(client, step) for step in broken)
        raise BuildFailed(f"{len(broken)} of {len(steps)} steps failed:\n{told}")


def _step_text(client: Any, step: Step) -> str:
    """Name a failed step; of a test, show the first rows that it found."""
    told = [f"{step.name}: {step.message}"]
    if step.sql and step.status != "error":
        found = f"select * from ({step.sql}\n) as found limit {SAMPLE_ROWS}"
        with client.execute_query(found) as cursor:
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, map(str, row), strict=True)) for row in cursor.fetchall()]
        told += [f"  {row}" for row in rows]
    return "\n".join(told)


def _write_anomalies(client: Any) -> None:
    """Tell what changed from the marts that were built, and keep it in theirs."""
    with in_memory() as connection:
        for table in MIRRORED:
            _mirror(client, connection, table)
        found = read_inputs(connection)
        named = connection.execute("from marts.taxpayers where name is not null").fetchall()
    rows = anomalies(found, {row[:2]: row[2] for row in named}) if found else []
    names = list(Anomaly.__dataclass_fields__)
    places = ", ".join(["%s"] * len(names))
    with client.begin_transaction():
        client.execute_sql("delete from marts.anomalies")
        for row in rows:
            values = [getattr(row, name) for name in names]
            client.execute_sql(
                f"insert into marts.anomalies ({', '.join(names)}) values ({places})", *values
            )


def _mirror(client: Any, connection: Any, table: str) -> None:
    """Copy what trends read of a mart into DuckDB, under its name."""
    import pyarrow as pa

    columns, source = MIRRORED[table]
    names = [column.split()[0] for column in columns.split(", ")]
    connection.execute("create schema if not exists marts")
    connection.execute(f"create table marts.{table} ({columns})")
    with client.execute_query(f"select {', '.join(names)} from {source}") as cursor:
        for rows in cursor.iter_fetch(CHUNK_ROWS):
            values = zip(*rows, strict=True) if rows else [[]] * len(names)
            chunk = pa.table(dict(zip(names, map(pa.array, values), strict=True)))
            connection.register("chunk", chunk)
            connection.execute(f"insert into marts.{table} from chunk")
