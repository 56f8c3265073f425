"""A copy of the load's file, to build in: no load waits for a build, and no build for a load."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic

from kseflow.clock import SystemClock
from kseflow.errors import WarehouseError

QUIET_S = 1.0  # nothing was written for so long: no commit is under way
POLL_S = 0.2


def copy_between_commits(
    database: Path, copy: Path, *, wait_s: float, quiet_s: float = QUIET_S
) -> None:
    """Copy a database as its last commit left it, while a load goes on.

    A load has the file open only while it commits, and reading it through DuckDB would then make
    the commit fail. So the bytes are copied, and again until none was written meanwhile, nor
    within `quiet_s` before: 0 for who holds the database's lock.
    Raises `WarehouseError` when it is written to for longer than `wait_s` seconds.
    """
    deadline = monotonic() + wait_s
    while True:
        before = _state(database)
        if _is_quiet(before, quiet_s):
            _copy(before, copy)
            if _state(database) == before:
                return
        if monotonic() >= deadline:
            raise WarehouseError(
                f"{database} is being written without a pause (waited {wait_s:.0f} s); "
                "build when the load has ended, or give this more time with --wait"
            )
        SystemClock().sleep(POLL_S)


def _copy(files: Iterable[Path], copy: Path) -> None:
    remove(copy)
    for file in files:
        with suppress(FileNotFoundError):  # a log that a commit has just done with
            shutil.copy(file, copy.with_name(file.name))


def remove(database: Path) -> None:
    """Delete a DuckDB file and its log."""
    for file in _files(database):
        file.unlink(missing_ok=True)


def _files(database: Path) -> tuple[Path, Path]:
    return database, database.with_name(f"{database.name}.wal")


def _state(database: Path) -> dict[Path, tuple[int, int]]:
    """Return when each file of the database was written last (ns) and its size in bytes."""
    found = {}
    for file in _files(database):
        try:
            known = file.stat()
        except FileNotFoundError:
            continue
        found[file] = known.st_mtime_ns, known.st_size
    return found


def _is_quiet(state: dict[Path, tuple[int, int]], quiet_s: float) -> bool:
    """Tell whether the files are as they were a while ago; a clock that was set back is no sign."""
    now = SystemClock().now().timestamp()
    return all(abs(now - written / 1e9) >= quiet_s for written, _ in state.values())
