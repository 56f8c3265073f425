"""dbt over one database, in process, and again without those taxpayers whose rows break a promise.

One taxpayer's odd row keeps nobody else's figures old.
"""

import json
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from kseflow.constants import DATASET, MEMORY_LIMIT
from kseflow.database import opened
from kseflow.errors import KsefError
from kseflow.marts.fingerprint import project_folder

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
# a small build, and some builds are many (`Rounds._sought`). Variables are read at run time.
_parsed: "dict[str, Manifest]" = {}


class BuildFailed(KsefError):
    """A model or a test of the SQL models failed; the message names it and shows sample rows."""


@dataclass
class Rounds:
    """Builds of one database, each without some taxpayers; knows whom it must do without.

    dbt keeps its files in the folder `work`.
    """

    database: Path
    work: Path
    left_out: dict[Taxpayer, str] = field(default_factory=dict)

    def run(self) -> "list[RunResult]":
        """Build without those who break a promise, and return the results of the last build.

        Raises `BuildFailed` when it is nobody's or everybody's fault.
        """
        while failed := _failed(results := self._dbt(self.left_out)):
            found = _named(self.database, failed) or self._sought(failed)
            everybody = _taxpayers(self.database)
            if not found or everybody <= self.left_out.keys() | found.keys():
                raise BuildFailed(_failures_text(self.database, results))
            log.warning(
                "%s of %s taxpayers break a promise of the marts; building without them",
                len(self.left_out | found), len(everybody),
            )  # fmt: skip
            self.left_out |= found
        return results

    def _sought(self, failed: "Sequence[RunResult]") -> dict[Taxpayer, str]:
        """Find whose rows make a step fail that names no taxpayer, by halving them."""
        everybody = sorted(_taxpayers(self.database) - self.left_out.keys())
        reason = step_text(self.database, failed[0])  # now: another build compiles its node anew
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
        return bool(_failed(self._dbt(others)))

    def _dbt(self, left_out: Collection[Taxpayer]) -> "list[RunResult]":
        """Run `dbt build` without unit tests; return each step's result."""
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager

        told = _dbt_options(self.database, self.work)
        arguments = ["build", "--no-write-json", *told]
        for kind in ("unit_test", "exposure"):  # of the project, and of nothing to build
            arguments += ["--exclude-resource-type", kind]
        if left_out:
            named = [":".join(taxpayer) for taxpayer in sorted(left_out)]
            arguments += ["--vars", json.dumps({"kseflow_left_out": named})]
        try:
            if self.database.stem not in _parsed:
                _parsed[self.database.stem] = _invoked(["parse", "--no-write-json", *told])
            results = _invoked(arguments, _parsed[self.database.stem]).results
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


def _dbt_options(database: Path, work: Path) -> list[str]:
    """Write a profile for `database` and return where dbt finds and puts its files."""
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
        told = step_text(database, result)
        found |= {who: told for who in rows if None not in who and who not in found}
    return found


def _failures_text(database: Path, results: "Sequence[RunResult]") -> str:
    failed = _failed(results)
    told = "\n".join(step_text(database, result) for result in failed)
    return f"{len(failed)} of {len(results)} steps failed:\n{told}"


def step_text(database: Path, result: "RunResult") -> str:
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
