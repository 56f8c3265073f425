"""Build the marts from the loaded tables with dbt, in process, test them, and have them published.

One taxpayer's odd row keeps nobody else's figures old: a taxpayer whose rows break a promise of
the marts is left out and named, and the others are built without it.
"""

import json
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import duckdb

from kseflow.constants import DATASET, LOCK_WAIT_S, MEMORY_LIMIT
from kseflow.database import dbt_folder, load_file, locked, opened
from kseflow.errors import KsefError, WarehouseError
from kseflow.marts.publish import LeftOut, Published, last_published, project_folder, publish

if TYPE_CHECKING:
    from dbt.artifacts.schemas.run import RunResult
    from dbt.contracts.graph.manifest import Manifest
    from dbt_common.events.base_types import EventMsg

log = logging.getLogger(__name__)

SAMPLE_ROWS = 3

PROFILE = """\
kseflow:
  target: duckdb
  outputs:
    duckdb:
      type: duckdb
      path: '{path}'
      schema: marts
      threads: 2
      settings: {{TimeZone: UTC, preserve_insertion_order: false, memory_limit: {memory_limit}}}
"""

Taxpayer = tuple[str, str]  # context_type, context_id

# The parsed models by the name of the database, which is in their SQL: parsing takes a third of
# a small build, and some builds are many (`_Builds._sought`). Variables are read at run time.
_parsed: "dict[str, Manifest]" = {}


class BuildFailed(KsefError):
    """A model or a test of the SQL models failed; the message names it and shows sample rows."""


@dataclass(frozen=True)
class BuildSummary:
    """What one build did: dbt's nodes by status, warnings as text, taxpayers left out."""

    database: Path
    node_counts: dict[str, int]
    warnings: list[str]
    left_out: list[LeftOut]
    seconds: float
    is_published: bool
    published: Published | None

    def as_json(self) -> dict[str, Any]:
        """Return plain values and moments."""
        left_out = [taxpayer.as_json() for taxpayer in self.left_out]
        published = self.published and vars(self.published)
        return vars(self) | {"left_out": left_out, "published": published}


@dataclass
class _Builds:
    """Builds of one database, each without some taxpayers; knows whom it must do without."""

    database: Path
    left_out: dict[Taxpayer, str] = field(default_factory=dict)

    def run(self) -> "list[RunResult]":
        """Build without those who break a promise, and return the results of the last build.

        Raises `BuildFailed` when it is nobody's or everybody's fault.
        """
        while failed := _failed(results := _run_dbt(self.database, self.left_out)):
            found = _named(self.database, failed) or self._sought(failed)
            everybody = _taxpayers(self.database)
            if not found or everybody <= self.left_out.keys() | found.keys():
                raise BuildFailed(_told_failures(self.database, results))
            log.warning(
                "%s of %s taxpayers break a promise of the marts; building without them",
                len(self.left_out | found), len(everybody),
            )  # fmt: skip
            self.left_out |= found
        return results

    def _sought(self, failed: "Sequence[RunResult]") -> dict[Taxpayer, str]:
        """Find whose rows make a step fail that names no taxpayer, by halving them."""
        everybody = sorted(_taxpayers(self.database) - self.left_out.keys())
        reason = _told(self.database, failed[0])  # now: another build compiles its node anew
        if len(everybody) < 2 or self._fails(()):
            return {}
        return dict.fromkeys(self._odd_ones(everybody), reason)

    def _odd_ones(self, suspects: list[Taxpayer]) -> list[Taxpayer]:
        """Return those of `suspects`, with whom a build fails, with whom it fails on their own."""
        if len(suspects) == 1:
            return suspects
        half = len(suspects) // 2
        parts = [part for part in (suspects[:half], suspects[half:]) if self._fails(part)]
        return [odd for part in parts for odd in self._odd_ones(part)]

    def _fails(self, these: Collection[Taxpayer]) -> bool:
        others = _taxpayers(self.database) - set(these)
        return bool(_failed(_run_dbt(self.database, others)))


def build(
    load_database: Path,
    analysts_database: Path | None = None,
    *,
    lock_wait_s: float = LOCK_WAIT_S,
) -> BuildSummary:
    """Build and test the marts in `load_database`, then publish them to `analysts_database`.

    Nothing is published when None is given, or when neither loads nor models changed. A taxpayer
    whose rows break a promise is left out, in the summary and in the published file.
    Raises `BuildFailed` naming the failed test with sample rows when that does not help; the
    published file then stays as it is. Raises `WarehouseError` when a database cannot be used.
    """
    if not load_database.exists():
        raise WarehouseError(f"{load_database}: no such file; run kseflow load first")
    started = monotonic()
    before = analysts_database and last_published(analysts_database)
    with locked(load_database, lock_wait_s):
        builds = _Builds(load_database)
        results = builds.run()
        left_out = [LeftOut(*who, reason) for who, reason in sorted(builds.left_out.items())]
        after = (
            publish(load_database, analysts_database, left_out=left_out)
            if analysts_database
            else None
        )
    counts: dict[str, int] = {}
    for result in results:
        counts[str(result.status)] = counts.get(str(result.status), 0) + 1
    return BuildSummary(
        database=load_database,
        node_counts=counts,
        warnings=[_told(load_database, result) for result in results if result.status == "warn"],
        left_out=left_out,
        seconds=monotonic() - started,
        is_published=after is not None and after != before,
        published=after,
    )


def build_marts(
    database: Path = Path("ksef.duckdb"),
    *,
    publish: bool = True,
    lock_wait_s: float = LOCK_WAIT_S,
) -> BuildSummary:
    """Build the marts from what was loaded, test them, and publish them as `database`.

    `database` is the analysts' file, as for `kseflow.load`. Raises as `build` does.
    """
    return build(load_file(database), database if publish else None, lock_wait_s=lock_wait_s)


def _run_dbt(database: Path, left_out: Collection[Taxpayer]) -> "list[RunResult]":
    """Run `dbt build` without unit tests; its files go to a folder beside the database."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    told = _dbt_options(database)
    arguments = ["build", "--no-write-json", *told]
    for kind in ("unit_test", "exposure"):  # of the project, and of nothing to build
        arguments += ["--exclude-resource-type", kind]
    if left_out:
        named = [":".join(taxpayer) for taxpayer in sorted(left_out)]
        arguments += ["--vars", json.dumps({"kseflow_left_out": named})]
    try:
        if database.stem not in _parsed:
            _parsed[database.stem] = _invoked(["parse", "--no-write-json", *told])
        results = _invoked(arguments, _parsed[database.stem]).results
    finally:
        # dbt keeps the database open for the life of the process, and no load could write it.
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
    return list(results)


def _invoked(arguments: list[str], parsed: "Manifest | None" = None) -> Any:
    """Return what dbt's command results in; raise `BuildFailed` if it could not start."""
    from dbt.cli.main import dbtRunner

    runner = dbtRunner(parsed, [_tell_progress])
    outcome = runner.invoke([*arguments, "--log-level", "none", "--no-version-check"])
    if isinstance(outcome.exception, KeyboardInterrupt | OSError):  # the user, or a full disk
        raise outcome.exception
    if outcome.exception is not None:
        raise BuildFailed(f"dbt could not start: {outcome.exception}") from outcome.exception
    return outcome.result


def _dbt_options(database: Path) -> list[str]:
    """Write a profile for `database` and return where dbt finds and puts its files."""
    work = dbt_folder(database)
    work.mkdir(exist_ok=True)
    path = str(database.resolve()).replace("'", "''")
    (work / "profiles.yml").write_text(PROFILE.format(path=path, memory_limit=MEMORY_LIMIT))
    return [
        f"--project-dir={project_folder()}",
        f"--profiles-dir={work}",
        f"--target-path={work.resolve() / 'target'}",
        f"--log-path={work.resolve() / 'logs'}",
    ]


def _tell_progress(event: "EventMsg") -> None:
    if event.info.name == "LogStartLine":
        log.debug("building the marts: %d of %d", event.data.index, event.data.total)


def _failed(results: "Sequence[RunResult]") -> "list[RunResult]":
    return [result for result in results if result.status in ("error", "fail")]


def _taxpayers(database: Path) -> set[Taxpayer]:
    """Return whoever has rows in any raw table."""
    with opened(database) as connection:
        tables = connection.execute(
            "select table_name from duckdb_columns() "
            f"where schema_name = '{DATASET}' and column_name = 'context_id'"
        ).fetchall()
        union = " union ".join(
            f"select context_type, context_id from {DATASET}.{table}" for (table,) in tables
        )
        return set(connection.execute(union).fetchall()) if union else set()


def _named(database: Path, failed: "Sequence[RunResult]") -> dict[Taxpayer, str]:
    """Return the taxpayers of the rows that failed tests found, with the first test that did."""
    found: dict[Taxpayer, str] = {}
    for result in failed:
        code = getattr(result.node, "compiled_code", None)
        if result.status == "error" or not code:
            continue
        with opened(database) as connection:
            try:
                rows = connection.execute(
                    f"select distinct context_type, context_id from ({code}\n)"
                ).fetchall()
            except duckdb.BinderException:  # the test is of no single taxpayer's rows
                continue
        told = _told(database, result)
        found |= {who: told for who in rows if None not in who and who not in found}
    return found


def _told_failures(database: Path, results: "Sequence[RunResult]") -> str:
    failed = _failed(results)
    told = "\n".join(_told(database, result) for result in failed)
    return f"{len(failed)} of {len(results)} steps failed:\n{told}"


def _told(database: Path, result: "RunResult") -> str:
    """Name a failed step; of a test, show the first rows that it found."""
    node: Any = result.node
    if result.status == "error" or not node.compiled_code:
        return f"{node.resource_type} {node.name}: {result.message}"
    rows = [f"  {row}" for row in _sample(database, node.compiled_code)]
    return "\n".join([f"{node.resource_type} {node.name}: {result.message}", *rows])


def _sample(database: Path, sql: str) -> Iterator[dict[str, Any]]:
    with opened(database) as connection:
        found = connection.execute(f"select * from ({sql}\n) limit {SAMPLE_ROWS}")
        names = [column[0] for column in found.description]
        for row in found.fetchall():
            yield dict(zip(names, map(_plain, row), strict=True))


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
