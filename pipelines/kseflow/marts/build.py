"""Build the marts from the loaded tables, test them, and have them published.

They are built in a copy of the load's file, so that loads go on meanwhile; and not at all when
the published file is of the same data and models already.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from filelock import FileLock, Timeout

from kseflow.clock import SystemClock
from kseflow.constants import LOCK_WAIT_S
from kseflow.database import dbt_folder, load_file, locked, locked_if_free, opened, warehouse_error
from kseflow.errors import WarehouseError
from kseflow.files import private_files
from kseflow.marts.fingerprint import fingerprint
from kseflow.marts.look import is_up_to_date
from kseflow.marts.publish import LeftOut, Published, last_published, publish_from
from kseflow.marts.rounds import BuildFailed as BuildFailed
from kseflow.marts.rounds import Rounds
from kseflow.marts.snapshot import QUIET_S, copy_between_commits, remove
from kseflow.marts.summary import BuildSummary as BuildSummary
from kseflow.marts.unite import unite


def build(
    load_database: Path,
    analysts_database: Path | None = None,
    *,
    lock_wait_s: float = LOCK_WAIT_S,
    full: bool = False,
) -> BuildSummary:
    """Build and test the marts of `load_database` and publish them to `analysts_database`.

    When the loaded rows and the models are those of the published file, that is noted beside it
    and nothing is built, unless `full`. Given None, the marts are built in `load_database` itself.
    A taxpayer whose rows break a promise is left out, in the summary and in the published file.
    Raises `BuildFailed` naming the failed test with sample rows when that does not help; the
    published file then stays as it is. Raises `WarehouseError` when a database cannot be used.
    """
    if not load_database.exists():
        raise WarehouseError(f"{load_database}: no such file; run kseflow load first")
    started = monotonic()
    work = dbt_folder(load_database)
    if analysts_database is None:
        with (
            locked(load_database, lock_wait_s),
            Rounds(load_database, work, in_place=True) as rounds,
        ):
            made = _run(rounds)
    else:
        with _alone(load_database, work, lock_wait_s):
            made = _built_apart(load_database, analysts_database, work, lock_wait_s, full)
    return BuildSummary(load_database, monotonic() - started, **made)


def build_marts(
    database: Path = Path("ksef.duckdb"),
    *,
    publish: bool = True,
    lock_wait_s: float = LOCK_WAIT_S,
    full: bool = False,
    destination: str = "duckdb",
) -> BuildSummary:
    """Build the marts from what was loaded, test them, and publish them as `database`.

    `database` is the analysts' file, as for `kseflow.load`; the marts are built also when nothing
    changed if `full`. What shards loaded is united before. Raises as `build` does. In another dlt
    `destination` the marts are built where the rows are, each table in the place of the one before.
    """
    if destination != "duckdb":
        from kseflow.marts.elsewhere import build_elsewhere  # which imports scipy

        started = monotonic()
        made = build_elsewhere(destination)
        return BuildSummary(destination, monotonic() - started, **made)
    unite(database, lock_wait_s=lock_wait_s)
    analysts = database if publish else None
    return build(load_file(database), analysts, lock_wait_s=lock_wait_s, full=full)


@contextmanager
def _alone(load_database: Path, work: Path, wait_s: float) -> Iterator[None]:
    """Keep other builds of the same load's file away, waiting up to `wait_s` seconds for one."""
    try:
        with private_files():
            work.mkdir(exist_ok=True)
            with FileLock(work / "build.lock", timeout=wait_s):
                yield
    except Timeout:
        raise WarehouseError(
            f"another build of {load_database} is under way (waited {wait_s:.0f} s); "
            "let it end, or give this one more time with --wait"
        ) from None
    except OSError as error:
        raise warehouse_error(error, load_database) from error


def _built_apart(
    load_database: Path, analysts_database: Path, work: Path, wait_s: float, full: bool
) -> dict[str, Any]:
    """Build from a copy and publish that, if anything changed; return the summary's fields."""
    before = last_published(analysts_database)
    copy = work / load_database.name
    made_of = None
    try:
        with locked_if_free(load_database) as is_free:
            if is_free:
                made_of = _made_of(load_database)
                if not full and _is_up_to_date(before, analysts_database, load_database, made_of):
                    return _unchanged(analysts_database)
            quiet_s = 0 if is_free else QUIET_S
            copy_between_commits(load_database, copy, wait_s=wait_s, quiet_s=quiet_s)
        if made_of is None:
            made_of = _made_of(copy)
            if not full and _is_up_to_date(before, analysts_database, copy, made_of):
                return _unchanged(analysts_database)
        with Rounds(copy, work) as rounds:
            made = _run(rounds)
            with rounds.connected() as built:
                after = publish_from(built, analysts_database, made_of, made["left_out"])
        return made | {"published": after, "is_published": after != before}
    finally:
        remove(copy)


def _made_of(loaded: Path) -> str:
    with opened(loaded) as load:
        return fingerprint(load)


def _is_up_to_date(
    before: Published | None, analysts_database: Path, loaded: Path, made_of: str
) -> bool:
    if before is None:
        return False
    with opened(loaded) as load, opened(analysts_database) as published:
        return is_up_to_date(analysts_database, published, load, made_of, SystemClock().now())


def _unchanged(analysts_database: Path) -> dict[str, Any]:
    published = last_published(analysts_database)
    left_out = published.taxpayers_left_out if published else []
    return {"published": published, "left_out": left_out}


def _run(rounds: Rounds) -> dict[str, Any]:
    """Build the marts; return the summary's fields."""
    steps = rounds.run()
    return {
        "node_counts": dict(Counter(step.status for step in steps)),
        "steps": steps,
        "warnings": [rounds.step_text(step) for step in steps if step.status == "warn"],
        "left_out": [LeftOut(*who, reason) for who, reason in sorted(rounds.left_out.items())],
    }
