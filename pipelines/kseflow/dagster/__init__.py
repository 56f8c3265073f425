"""A Dagster code location: `dagster dev -m kseflow.dagster`, in the folder that has `.dlt`.

Raw tables, models and the report are assets; dbt's tests and `kseflow check` are their checks. The
commands' own functions make them, so that locks, memory and publishing are theirs.
`KSEFLOW_DATABASE`, `KSEFLOW_SHARDS` and `KSEFLOW_EVERY_MINUTES` say otherwise than the defaults of
`definitions`, which makes one for a project of your own.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from kseflow.constants import DATASET, EXPORT_INTERVAL
from kseflow.dagster.lineage import Node, lineage
from kseflow.database import dbt_folder, load_file
from kseflow.errors import ConfigurationError, KsefError
from kseflow.files import private_files
from kseflow.loading.run import load
from kseflow.loading.warehouse import Warehouse
from kseflow.marts.build import build_marts
from kseflow.marts.rounds import BuildFailed
from kseflow.marts.steps import Step
from kseflow.pages.html import write_report
from kseflow.raw.tables import TABLES
from kseflow.shard import Shard
from kseflow.watch.check import check
from kseflow.watch.finding import State
from kseflow.watch.questions import CHECKS

PUBLISHED = dg.AssetKey(["kseflow", "published"])
REPORT = dg.AssetKey(["kseflow", "report"])
MINUTES = (15, 20, 30, 60)
RESERVE_S = 600  # of the time between two loads, for the build
AT_MINUTE = 7  # of the hour, as not everybody asks KSeF at its full


def __getattr__(name: str) -> Any:
    """Make `defs` when Dagster looks for it: parsing the models takes seconds."""
    if name != "defs":
        raise AttributeError(f"module 'kseflow.dagster' has no attribute {name!r}")
    return definitions(
        Path(os.environ.get("KSEFLOW_DATABASE", "ksef.duckdb")),
        shards=int(os.environ.get("KSEFLOW_SHARDS", "1")),
        every_minutes=int(os.environ.get("KSEFLOW_EVERY_MINUTES", "60")),
    )


def __dir__() -> list[str]:
    return ["definitions", "defs"]  # Dagster looks for one among these


def definitions(
    database: Path = Path("ksef.duckdb"),
    *,
    shards: int = 1,
    every_minutes: int = 60,
    report: Path | None = None,
) -> dg.Definitions:
    """Return all assets, checks, jobs and schedules for the analysts' `database`.

    Several `shards` are partitions of the raw tables. The schedule begins a load every so many
    minutes: 15, as KSeF advises for exports, 20, 30 or 60. The report is written beside the
    database unless said otherwise. Raises `ConfigurationError`.
    """
    if every_minutes not in MINUTES or every_minutes * 60 < EXPORT_INTERVAL.total_seconds():
        allowed = ", ".join(map(str, MINUTES))
        raise ConfigurationError(
            f"loads every {every_minutes} minutes: it may be {allowed}; KSeF advises to ask for "
            "exports a quarter of an hour apart"
        )
    nodes = lineage(dbt_folder(load_file(database)))
    raw = raw_tables(database, shards, max(every_minutes * 60 - RESERVE_S, RESERVE_S / 2))
    made = [
        raw, models(database, nodes), report_asset(database, nodes, report),
    ]  # fmt: skip
    return dg.Definitions(
        assets=made, asset_checks=[checks(database)], **_scheduled(raw, shards, every_minutes)
    )


def raw_tables(database: Path, shards: int, max_time_s: float) -> dg.AssetsDefinition:
    """Return the tables that a load writes; shards of it are partitions."""
    names = [str(Shard(number, shards)) for number in range(1, shards + 1)]
    keys = {table.name: dg.AssetKey([DATASET, table.name]) for table in TABLES}

    @dg.multi_asset(
        name="load",
        specs=[
            dg.AssetSpec(keys[t.name], description=t.description, group_name="raw", kinds={"dlt"})
            for t in TABLES
        ],
        partitions_def=dg.StaticPartitionsDefinition(names) if shards > 1 else None,
    )
    def loaded(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        shard = context.partition_key if context.has_partition_key else None
        with _told():
            summary = load(database, shard=shard, max_time_s=max_time_s)
            counts = _row_counts(Warehouse.of_file(summary.database))
        for log in summary.logs:
            if log["message"]:
                context.log.warning(f"{log['taxpayer']}, {log['resource']}: {log['message']}")
        if summary.is_in_vain:
            raise dg.Failure("nothing was loaded for anybody; the log says why")
        told: dict[str, Any] = {
            "run_id": summary.run_id,
            "requests": dg.MetadataValue.json(summary.request_counts),
            "failed_taxpayers": len(summary.failed_taxpayers),
        }
        for name, key in keys.items():
            yield dg.MaterializeResult(key, metadata=told | {"dagster/row_count": counts[name]})

    return loaded


def models(database: Path, nodes: Mapping[str, Node]) -> dg.AssetsDefinition:
    """Return seeds and models, what is published of them, and dbt's tests as their checks."""
    made = {name: node for name, node in nodes.items() if node.kind in ("model", "seed")}
    tests = {name: node for name, node in nodes.items() if node.kind == "test"}
    specs = _model_specs(made, nodes)
    published = dg.AssetSpec(
        PUBLISHED,
        deps=[spec.key for spec in specs],
        description=f"What analysts read: {database}",
        group_name="published",
        kinds={"duckdb"},
    )
    check_keys = {
        name: dg.AssetCheckKey(_key(nodes[node.parents[0]]), node.name)
        for name, node in tests.items()
        if node.parents and node.parents[0] in made
    }

    @dg.multi_asset(
        name="build",
        specs=[*specs, published],
        check_specs=[
            dg.AssetCheckSpec(key.name, asset=key.asset_key, description=tests[n].description)
            for n, key in check_keys.items()
        ],
        can_subset=True,  # so that nothing need be made where nothing changed
    )
    def built(context: dg.AssetExecutionContext) -> Iterator[Any]:
        try:
            with _told():
                summary = build_marts(database)
        except BuildFailed as error:
            yield from _results(error.steps, {}, check_keys)
            raise dg.Failure(str(error)) from error
        if summary.left_out:
            context.log.warning(f"left out: {', '.join(str(o.context) for o in summary.left_out)}")
        paths = {name: _key(node) for name, node in made.items()}
        yield from _results(summary.steps, paths, check_keys)
        told = summary.published
        yield dg.MaterializeResult(
            PUBLISHED,
            metadata={"as_of": str(told and told.as_of), "is_new": summary.is_published},
        )

    return built


def report_asset(
    database: Path, nodes: Mapping[str, Node], out: Path | None
) -> dg.AssetsDefinition:
    """Return the report, made of the marts that it reads."""
    (exposure,) = (n for n in nodes.values() if n.kind == "exposure" and n.name == "report")
    file = out or database.with_name("report.html")

    @dg.asset(
        key=REPORT,
        deps=[PUBLISHED, *(_key(nodes[parent]) for parent in exposure.parents)],
        description=exposure.description,
        group_name="published",
    )
    def report() -> dg.MaterializeResult[Any]:
        with _told():
            write_report(database, file)
        return dg.MaterializeResult(metadata={"file": dg.MetadataValue.path(str(file))})

    return report


def checks(database: Path) -> dg.AssetChecksDefinition:
    """Return what `kseflow check` judges."""

    @dg.multi_asset_check(
        specs=[dg.AssetCheckSpec(c.name, asset=PUBLISHED, description=c.finds) for c in CHECKS]
    )
    def judged() -> Iterator[dg.AssetCheckResult]:
        with _told():
            verdict = check(database)
        for name in (c.name for c in CHECKS):
            findings = [finding for finding in verdict.findings if finding.topic == name]
            worst = max((finding.state for finding in findings), default=State.OK)
            bad = [finding for finding in findings if finding.state is not State.OK]
            yield dg.AssetCheckResult(
                asset_key=PUBLISHED,
                check_name=name,
                passed=not bad,
                severity=_severity(worst is State.WARNING),
                description="\n".join(f"{f.taxpayer or 'all'}: {f.message}" for f in bad),
            )

    return judged


def _scheduled(raw: dg.AssetsDefinition, shards: int, every_minutes: int) -> dict[str, Any]:
    """Return jobs and schedules: of all at once, or of each shard, and of the build by itself."""
    minutes = range(AT_MINUTE % every_minutes, 60, every_minutes)
    if shards == 1:
        everything = dg.define_asset_job("kseflow", dg.AssetSelection.all())
        return {"jobs": [everything], "schedules": [_schedule(everything, minutes)]}
    names = dg.AssetSelection.assets(raw)
    loads = dg.define_asset_job("kseflow_load", names)
    build = dg.define_asset_job("kseflow_build", dg.AssetSelection.all() - names)

    @dg.schedule(job=loads, cron_schedule=_cron(minutes), execution_timezone="Europe/Warsaw")
    def kseflow_load_schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        at = f"{context.scheduled_execution_time:%Y-%m-%dT%H:%M}"
        shares = (str(Shard(number, shards)) for number in range(1, shards + 1))
        return [dg.RunRequest(f"{at} {share}", partition_key=share) for share in shares]

    later = [(minute + every_minutes // 2) % 60 for minute in minutes]
    return {"jobs": [loads, build], "schedules": [kseflow_load_schedule, _schedule(build, later)]}


def _schedule(job: Any, minutes: Iterable[int]) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        job=job, cron_schedule=_cron(minutes), execution_timezone="Europe/Warsaw"
    )


def _cron(minutes: Iterable[int]) -> str:
    return f"{','.join(map(str, sorted(minutes)))} * * * *"


def _results(
    steps: Iterable[Step],
    paths: Mapping[str, dg.AssetKey],
    check_keys: Mapping[str, dg.AssetCheckKey],
) -> Iterator[Any]:
    """Yield what became of each of dbt's steps; a model that was not made is not materialised."""
    for step in steps:
        if step.node in paths and step.status == "success":
            yield dg.MaterializeResult(paths[step.node], metadata={"seconds": step.seconds})
        elif key := check_keys.get(step.node):
            yield dg.AssetCheckResult(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=step.status == "pass",
                severity=_severity(step.status == "warn"),
                description=step.message,
            )


def _model_specs(made: Mapping[str, Node], nodes: Mapping[str, Node]) -> list[dg.AssetSpec]:
    return [
        dg.AssetSpec(
            _key(node),
            deps=[_key(nodes[parent]) for parent in node.parents],
            description=node.description,
            group_name=node.path[0],
            kinds={"dbt", "duckdb"},
            skippable=True,
        )
        for node in made.values()
    ]


def _key(node: Node) -> dg.AssetKey:
    return dg.AssetKey(node.path)


def _severity(is_warning: bool) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR


def _row_counts(warehouse: Warehouse) -> dict[str, int]:
    counts = {}
    for table in TABLES:
        rows = warehouse.rows("select count(*) as row_count from {}", table)
        counts[table.name] = int(rows[0]["row_count"]) if rows else 0
    return counts


@contextmanager
def _told() -> Iterator[None]:
    """Have Dagster show what a person can mend without a traceback; what is written is private."""
    try:
        with private_files():
            yield
    except BuildFailed:
        raise
    except KsefError as error:
        raise dg.Failure(str(error)) from error
