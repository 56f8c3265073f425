"""dbt over one database, in process, and again without those taxpayers whose rows break a promise.

One taxpayer's odd row keeps nobody else's figures old.
"""

import json
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import duckdb

from kseflow.constants import DATASET, MEMORY_LIMIT
from kseflow.errors import KsefError
from kseflow.marts.fingerprint import project_folder
from kseflow.marts.snapshot import remove
from kseflow.marts.steps import Step, failed, layer

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest
    from dbt.contracts.graph.nodes import GenericTestNode
    from dbt_common.events.base_types import EventMsg

log = logging.getLogger(__name__)

SAMPLE_ROWS = 3

LOADED = "loaded"  # the name of the load's file where the models are built apart from it
BUILT = "memory"  # as DuckDB calls the one in memory; the same in a file, for it is in the SQL
IN_MEMORY_BYTES = 500_000_000  # of a load's file; what is made of it takes five times as much
THREADS = 2

Taxpayer = tuple[str, str]  # context_type, context_id

PROMISES = "test_type:generic"  # what the yml files say of columns and keys


class Models(NamedTuple):
    """What dbt made of the files: all nodes, and the tests among them that are promises."""

    parsed: "Manifest"
    promises: "list[GenericTestNode]"


# By the name of the raw tables' database, which is in the SQL: parsing takes a third of a small
# build, and some builds are many (`Rounds._sought`).
_known: dict[str, Models] = {}


class BuildFailed(KsefError):
    """A model or a test of the SQL models failed; the message names it and shows sample rows."""

    steps: Sequence[Step] = ()


@dataclass
class Rounds:
    """Builds over one load's file, each without some taxpayers; knows whom it must do without.

    dbt keeps its files in the folder `work`. The load's file is only read: what is built is in
    memory, or in a file in `work` if it is much, and gone at the end of the context. If `in_place`
    it is in the load's file.
    """

    database: Path
    work: Path
    in_place: bool = False
    left_out: dict[Taxpayer, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        remove(self._built_file)
        return self

    def __exit__(self, *_: object) -> None:
        # dbt keeps the database open for the life of the process, and no load could write it.
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager

        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
        remove(self._built_file)

    @contextmanager
    def connected(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a connection to what is built, after a run."""
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager

        with closing(DuckDBConnectionManager.env().handle()) as handle:  # type: ignore[no-untyped-call]
            yield handle.cursor()

    def run(self) -> list[Step]:
        """Build without those who break a promise, and return the steps of the last build.

        Raises `BuildFailed` when it is nobody's or everybody's fault.
        """
        while broken := failed(steps := self._dbt(self.left_out)):
            found = self._named(broken) or self._sought(broken)
            everybody = self._taxpayers()
            if not found or everybody <= self.left_out.keys() | found.keys():
                told = "\n".join(map(self.step_text, broken))
                error = BuildFailed(f"{len(broken)} of {len(steps)} steps failed:\n{told}")
                error.steps = steps
                raise error
            log.warning(
                "%s of %s taxpayers break a promise of the marts; building without them",
                len(self.left_out | found), len(everybody),
            )  # fmt: skip
            self.left_out |= found
        return steps

    def step_text(self, step: Step) -> str:
        """Name a failed step; of a test, show the first rows that it found."""
        rows = self._sample(step.sql) if step.sql and step.status != "error" else []
        return "\n".join([f"{step.name}: {step.message}", *(f"  {row}" for row in rows)])

    def _sample(self, sql: str) -> list[dict[str, Any]]:
        with self.connected() as connection:
            found = connection.execute(f"select * from ({sql}\n) limit {SAMPLE_ROWS}")
            names = [column[0] for column in found.description]
            return [dict(zip(names, map(_plain, row), strict=True)) for row in found.fetchall()]

    def _named(self, broken: Sequence[Step]) -> dict[Taxpayer, str]:
        """Return the taxpayers of the rows that failed tests found, with the first that did."""
        found: dict[Taxpayer, str] = {}
        for step in broken:
            if step.status == "error" or not step.sql:
                continue
            with self.connected() as connection:
                try:
                    rows = connection.execute(
                        f"select distinct context_type, context_id from ({step.sql}\n)"
                    ).fetchall()
                except duckdb.BinderException:  # the test is of no single taxpayer's rows
                    continue
            told = self.step_text(step)
            found |= {who: told for who in rows if None not in who and who not in found}
        return found

    def _sought(self, broken: Sequence[Step]) -> dict[Taxpayer, str]:
        """Find whose rows make a step fail that names no taxpayer, by halving them."""
        everybody = sorted(self._taxpayers() - self.left_out.keys())
        reason = self.step_text(broken[0])  # now: another build compiles its node anew
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
        return bool(failed(self._dbt(self._taxpayers() - set(these))))

    def _taxpayers(self) -> set[Taxpayer]:
        """Return whoever has rows in any raw table."""
        source = self._source
        with self.connected() as connection:
            tables = connection.execute(
                "select table_name from duckdb_columns() where database_name = $1 "
                "and schema_name = $2 and column_name = 'context_id'",
                [source, DATASET],
            ).fetchall()
            union = " union ".join(
                f'select context_type, context_id from "{source}".{DATASET}.{table}'
                for (table,) in tables
            )
            return set(connection.execute(union).fetchall()) if union else set()

    def _dbt(self, left_out: Collection[Taxpayer]) -> list[Step]:
        """Build and test; return each step.

        Where a promise is broken only that counts: what is made of those rows may fail as well.
        """
        named = [":".join(taxpayer) for taxpayer in sorted(left_out)]
        arguments = ["build", *self._told(kseflow_left_out=named)]
        for kind in ("unit_test", "exposure"):  # of the project, and of nothing to build
            arguments += ["--exclude-resource-type", kind]
        results = invoked([*arguments, "--exclude", PROMISES], self._models().parsed).results
        promises = self._kept()
        return promises if failed(promises) else [*promises, *map(Step.of_dbt, results)]

    def _models(self) -> "Models":
        """Parse the models and compile what is promised of them, once in a process."""
        if self._source not in _known:
            parsed = invoked(["parse", *self._told()])
            compiled = invoked(["compile", *self._told(), "--select", PROMISES], parsed).results
            nodes = sorted((result.node for result in compiled), key=layer)
            _known[self._source] = Models(parsed, nodes)
        return _known[self._source]

    def _kept(self) -> list[Step]:
        """Look whether the rows are as the models' descriptions promise: a query for each.

        As steps of dbt they would take more time than all models of a small database. Those of a
        model that was not built are skipped, and of the layers above one where any is broken.
        """
        steps: list[Step] = []
        with self.connected() as connection:
            for _, nodes in groupby(self._models().promises, layer):
                if not failed(steps):
                    steps += filter(None, [_looked(connection, node) for node in nodes])
        return steps

    @property
    def _source(self) -> str:
        return self.database.stem if self.in_place else LOADED

    def _told(self, **variables: Any) -> list[str]:
        if not self.in_place:
            variables["kseflow_raw_database"] = LOADED
        return [*self._options(), "--no-write-json", "--vars", json.dumps(variables)]

    def _options(self) -> list[str]:
        """Write dbt's profile and return where it finds and puts its files."""
        self.work.mkdir(exist_ok=True)
        target = self._target() | {"type": "duckdb", "schema": "marts", "threads": THREADS}
        profile = {"kseflow": {"target": "duckdb", "outputs": {"duckdb": target}}}
        (self.work / "profiles.yml").write_text(json.dumps(profile))
        return [
            f"--project-dir={project_folder()}",
            f"--profiles-dir={self.work}",
            f"--target-path={self.work.resolve() / 'target'}",
            f"--log-path={self.work.resolve() / 'logs'}",
        ]

    def _target(self) -> dict[str, Any]:
        file = str(self.database.resolve())
        options = {"memory_limit": MEMORY_LIMIT, "preserve_insertion_order": "false"}
        told = {"settings": {"TimeZone": "UTC"}, "keep_open": True, "config_options": options}
        if self.in_place:
            return told | {"path": file}
        options["temp_directory"] = str(self.work.resolve() / "spilled")
        is_much = self.database.stat().st_size > IN_MEMORY_BYTES
        built = str(self._built_file.resolve()) if is_much else f":{BUILT}:"
        loaded = {"path": file, "alias": LOADED, "read_only": True}
        return told | {"path": built, "attach": [loaded]}

    @property
    def _built_file(self) -> Path:
        return self.work / f"{BUILT}.duckdb"


def invoked(arguments: list[str], parsed: "Manifest | None" = None) -> Any:
    """Return what dbt's command results in; raise `BuildFailed` if it could not start."""
    from dbt.cli.main import dbtRunner

    runner = dbtRunner(parsed, [_tell_progress])
    outcome = runner.invoke([*arguments, "--log-level", "none", "--no-version-check"])
    if isinstance(outcome.exception, KeyboardInterrupt | OSError):  # the user, or a full disk
        raise outcome.exception
    if outcome.exception is not None:
        raise BuildFailed(f"dbt could not start: {outcome.exception}") from outcome.exception
    return outcome.result


def _looked(connection: duckdb.DuckDBPyConnection, promise: "GenericTestNode") -> Step | None:
    begun = monotonic()
    try:
        sql = f"select count(*) from ({promise.compiled_code}\n)"
        count = connection.execute(sql).fetchall()[0][0]
    except duckdb.CatalogException:  # of a model that was not built
        return None
    except duckdb.Error as error:
        return Step.of_promise(promise, monotonic() - begun, error=str(error))
    return Step.of_promise(promise, monotonic() - begun, count)


def _tell_progress(event: "EventMsg") -> None:
    if event.info.name == "LogStartLine":
        log.debug("building the marts: %d of %d", event.data.index, event.data.total)


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
