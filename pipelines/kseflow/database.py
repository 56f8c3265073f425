"""A DuckDB file: opened, locked, closed, what is wrong with it and what to do.

DuckDB gives one process a file, so there are two: loads write one, and what analysts read is
published from it. Only this module connects to them; sessions are in UTC unless asked otherwise.
"""

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Self

import duckdb
from filelock import FileLock, Timeout

from kseflow.clock import SystemClock
from kseflow.constants import DATASET, MEMORY_LIMIT
from kseflow.errors import WarehouseError
from kseflow.files import PROBLEMS, file_problem, make_private, private_files

SCHEMAS_SQL = "select distinct schema_name from duckdb_tables()"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What DuckDB says of a file that is another program's, or whose end or middle is missing.
CUT = ("not a valid duckdb database", "could not read enough bytes", "corrupt database")
READERS_WAIT_S = 60.0  # how long a load waits for somebody who reads its file
POLL_S = 0.2  # how often a file that another process holds is tried again


def load_file(database: Path) -> Path:
    """Return the load's own file beside the analysts' `database`, which it is published to.

    Raises `WarehouseError` for a folder.
    """
    if database.is_dir():
        raise WarehouseError(f"{database}: {PROBLEMS[errno.EISDIR]}")
    return database.with_stem(f"{database.stem}-load")


def working_folder(database: Path) -> Path:
    """Return where dlt keeps what it has extracted and not yet loaded."""
    return database.parent / f".{database.stem}-dlt"


def dbt_folder(database: Path) -> Path:
    """Return where dbt keeps its profile and what it made of the models."""
    return database.parent / f".{database.stem}-dbt"


def own_files(database: Path) -> list[Path]:
    """Return what belongs to the load's `database` and to nobody but its owner."""
    beside = [f".{database.name}.lock", f"{database.name}.wal"]
    files = [database, *map(database.with_name, beside)]
    return [*files, working_folder(database), dbt_folder(database)]


def in_memory() -> duckdb.DuckDBPyConnection:
    """Open a database of its own that no file holds; files may be attached to it."""
    return _set_up(duckdb.connect(), "UTC")


@contextmanager
def attached_to(file: Path, source: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database as `file`, and another one, for reading only, as `source`."""
    with in_memory() as connection:
        connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
        connection.execute("set preserve_insertion_order = false")
        connection.execute(f"set temp_directory = {text_literal(f'{file}.tmp')}")
        connection.execute(f"attach {text_literal(str(file))} as file")
        if source is not None:
            connection.execute(f"attach {text_literal(str(source))} as source (read_only)")
        yield connection


def text_literal(value: str) -> str:
    """Write a text as SQL has it."""
    return "'" + value.replace("'", "''") + "'"


def opened(
    database: Path, *, wait_s: float = 0.0, timezone: str = "UTC", lack: str = "run kseflow load"
) -> duckdb.DuckDBPyConnection:
    """Open a file for reading, waiting up to `wait_s` seconds while another process writes it.

    Raises `WarehouseError` when that cannot be; `lack` says what makes a file that is missing.
    """
    try:
        if not database.exists():
            raise WarehouseError(f"{database}: no such file; {lack} first")
        connection = _connected(database, wait_s, read_only=True)
    except (duckdb.Error, OSError) as error:
        raise warehouse_error(error, database, reading=True) from error
    return _set_up(connection, timezone)


def _set_up(connection: duckdb.DuckDBPyConnection, timezone: str) -> duckdb.DuckDBPyConnection:
    connection.execute(f"set timezone = '{timezone}'")
    # A table that is missing is missing, whatever Python variable has its name.
    connection.execute("set python_enable_replacements = false")
    return connection


@contextmanager
def bounded(connection: duckdb.DuckDBPyConnection, memory: str) -> Iterator[None]:
    """Let DuckDB take so much memory meanwhile; beyond it, it uses the disk."""
    (before,) = connection.execute("select current_setting('memory_limit')").fetchall()[0]
    connection.execute(f"set memory_limit = '{memory}'")
    try:
        yield
    finally:
        connection.execute(f"set memory_limit = '{before}'")


@contextmanager
def published(database: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the analysts' file for reading. Raises `WarehouseError`, also for what it lacks."""
    with reading_marts(database), opened_marts(database) as connection:
        yield connection


def opened_marts(database: Path, timezone: str = "UTC") -> duckdb.DuckDBPyConnection:
    """Open the analysts' file for reading and leave it open. Raises `WarehouseError`."""
    return opened(database, timezone=timezone, lack="run kseflow load --build")


@contextmanager
def reading_marts(database: Path) -> Iterator[None]:
    """Raise `WarehouseError` for what goes wrong with queries of the analysts' file."""
    try:
        yield
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        raise WarehouseError(
            f"{database} lacks marts of this version of kseflow; run kseflow build, which "
            f"publishes them there, or say --database ({_line(str(error))})"
        ) from error
    except duckdb.Error as error:
        raise warehouse_error(error, database, reading=True) from error


@contextmanager
def locked(database: Path, wait_s: float) -> Iterator[None]:
    """Hold the database for this load alone, waiting up to `wait_s` seconds for others.

    Raises `WarehouseError` when another load or program keeps it, or it cannot be written.
    """
    lock = FileLock(database.with_name(f".{database.name}.lock"), timeout=wait_s, mode=0o600)
    try:
        with private_files():
            database.parent.mkdir(parents=True, exist_ok=True)
            make_private(*own_files(database))
            started = monotonic()
            with lock:
                _await_writable(database, max(wait_s - (monotonic() - started), 0))
                yield
    except Timeout:
        raise WarehouseError(
            f"another load is writing {database} (waited {wait_s:.0f} s); "
            "let it end, or give this one more time with --wait"
        ) from None
    except OSError as error:
        raise warehouse_error(error, database) from error


@contextmanager
def locked_if_free(database: Path) -> Iterator[bool]:
    """Hold the database if nobody writes it now, and tell whether; loads that come then wait.

    Raises `WarehouseError` when it cannot be written for another reason.
    """
    with ExitStack() as held:
        is_free = True
        try:
            held.enter_context(locked(database, 0))
        except WarehouseError as error:
            if not (isinstance(error.__context__, Timeout) or is_locked(error)):
                raise
            is_free = False
        yield is_free


def _await_writable(database: Path, wait_s: float) -> None:
    is_new = not database.exists()
    try:
        with _connected(database, wait_s, read_only=False) as connection:
            schemas = {schema for (schema,) in connection.execute(SCHEMAS_SQL).fetchall()}
    except duckdb.Error as error:
        if is_new:  # the disk was full before it became a database
            database.unlink(missing_ok=True)
        raise warehouse_error(error, database) from error
    if schemas and DATASET not in schemas:
        raise WarehouseError(
            f"{database} holds tables of another program; name another file with --database"
        )


class Hold:
    """A load's file kept open for writing, so that no reader comes between dlt's connections.

    Connections of one process share it. Raises `WarehouseError` when readers do not let go.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> Self:
        try:
            self._connection = _connected(self._database, READERS_WAIT_S, read_only=False)
        except duckdb.Error as error:
            raise warehouse_error(error, self._database) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let readers in meanwhile."""
        self.__exit__()
        yield
        self.__enter__()


def _connected(database: Path, wait_s: float, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Connect, trying again for `wait_s` seconds while another process has the file."""
    deadline = monotonic() + wait_s
    while True:
        try:
            return duckdb.connect(str(database), read_only=read_only)
        except duckdb.Error as error:
            if not is_locked(error) or monotonic() >= deadline:
                raise
            SystemClock().sleep(POLL_S)


def is_locked(error: BaseException | None) -> bool:
    """Tell whether DuckDB refused a file because another process has it open.

    The whole phrase counts: a path may have "lock" in it.
    """
    return any("could not set lock" in str(cause).lower() for cause in causes(error))


def warehouse_error(
    error: BaseException, database: Path, *, reading: bool = False
) -> WarehouseError:
    """Name what stands between us and the database, and what to do; from DuckDB's and OS errors."""
    chain = list(causes(error))
    text = " ".join(str(cause) for cause in chain).lower()
    codes = {cause.errno for cause in chain if isinstance(cause, OSError)}
    if codes & FULL or "no space left" in text or "could not write" in text:
        problem = PROBLEMS[errno.ENOSPC]
    elif any(phrase in text for phrase in CUT):
        problem = (
            "it cannot be read: it is no DuckDB file, or only a part of one; restore it from a "
            "backup or move it away, and kseflow load --build makes it anew"
        )
    elif is_locked(error) and reading:
        problem = (
            "it is open for writing in another program; close that, or open it there for reading "
            "only (duckdb -readonly). Loads write another file than analysts read"
        )
    elif is_locked(error):
        problem = "another program has it open; close it, or wait longer with --wait"
    elif reading:
        problem = f"it cannot be read: {_line(str(chain[-1]))}"
    elif codes & {errno.EACCES, errno.EROFS, errno.EPERM} or "read-only" in text:
        problem = "it cannot be written; check the file's and the folder's permissions"
    elif isinstance(chain[-1], OSError):
        problem = file_problem(chain[-1])
    else:
        problem = _line(str(chain[-1]))
    return WarehouseError(f"{database}: {problem}")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what it came from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _line(text: str) -> str:
    """Make one line of what DuckDB told in several."""
    return " ".join(text.split())
