"""Where a load writes: a DuckDB file, or a destination that dlt's configuration describes."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import dlt
from dlt import Pipeline
from dlt.common.configuration.exceptions import ConfigurationException
from filelock import FileLock, Timeout

from kseflow.constants import DATASET
from kseflow.database import Hold, causes, locked, warehouse_error, working_folder
from kseflow.errors import ConfigurationError, WarehouseError, plain
from kseflow.files import private_files
from kseflow.loading.destinations import takes_of_name
from kseflow.loading.lakes import warehouse_of
from kseflow.loading.warehouse import Warehouse
from kseflow.settings import section

PIPELINE = "ksef"
WhileWaiting = Callable[[], AbstractContextManager[None]]
DRIVERS = ("dlt", "duckdb", "pyarrow")  # whose errors are told in a sentence
ADVISORY_LOCK_SQL = f"select pg_try_advisory_lock(hashtext('{DATASET}'))"


class Place(Protocol):
    """Where a load writes; all that it does raises `WarehouseError` and `ConfigurationError`."""

    @property
    def name(self) -> str: ...

    def held(self, wait_s: float) -> AbstractContextManager[WhileWaiting]:
        """Keep other loads away meanwhile; gives what lets readers in while KSeF is waited for."""

    def pipeline(self) -> Pipeline:
        """Return a dlt pipeline that remembers nothing but what is in the destination."""

    def trouble(self, error: BaseException) -> WarehouseError:
        """Return what stands between us and the destination, and what to do."""

    def warehouse(self) -> AbstractContextManager[Warehouse]:
        """Read what is there."""


class File:
    """A DuckDB file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return str(self.path)

    @contextmanager
    def held(self, wait_s: float) -> Iterator[WhileWaiting]:
        with locked(self.path, wait_s), Hold(self.path) as hold:
            yield hold.released

    def pipeline(self) -> Pipeline:
        destination = dlt.destinations.duckdb(str(self.path))
        return _pipeline(destination, emptied(working_folder(self.path)))

    def trouble(self, error: BaseException) -> WarehouseError:
        return warehouse_error(error, self.path)

    def warehouse(self) -> AbstractContextManager[Warehouse]:
        return nullcontext(Warehouse.of_file(self.path))


class Elsewhere:
    """A destination by its name; where and as whom is dlt's configuration, `[destination.NAME]`.

    dlt's working files lie in a hidden folder beside `database`, named after both.
    """

    def __init__(self, name: str, database: Path) -> None:
        self._name = name
        self._takes = takes_of_name(name)
        self._folder = database.parent / f".{database.stem}-{name}-dlt"

    @property
    def name(self) -> str:
        return self._name

    @contextmanager
    def held(self, wait_s: float) -> Iterator[WhileWaiting]:
        lock = FileLock(self._folder.with_suffix(".lock"), timeout=wait_s, mode=0o600)
        try:
            with private_files():
                self._folder.parent.mkdir(parents=True, exist_ok=True)
                with lock, self._alone():
                    yield nullcontext
        except Timeout:
            raise self._busy() from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep loads of other machines away, where the destination can."""
        if self._name != "postgres":
            yield
            return
        with self._told(), self.pipeline().sql_client() as client:
            ((is_alone,),) = client.execute_sql(ADVISORY_LOCK_SQL) or ((False,),)
            if not is_alone:
                raise self._busy()
            yield

    def _busy(self) -> WarehouseError:
        return WarehouseError(f"another load is writing {self._name}; let it end")

    def pipeline(self) -> Pipeline:
        with self._told():
            return self._opened(emptied(self._folder))

    def _opened(self, folder: Path) -> Pipeline:
        kind = "filesystem" if self._takes.is_lake else self._name
        destination = dlt.destination(self._name, destination_type=f"dlt.destinations.{kind}")
        pipeline = _pipeline(destination, folder)
        if self._takes.is_lake:  # only its schema says which tables there are
            pipeline.sync_destination()
        return pipeline

    def trouble(self, error: BaseException) -> WarehouseError:
        """Tell what the last cause says, but nobody's password."""
        chain = list(causes(error))
        if any(isinstance(cause, ConfigurationException) for cause in chain):
            return WarehouseError(
                f"{self._name}: dlt's configuration does not say where, or as whom; set "
                f"[destination.{self._name}] in .dlt/secrets.toml as the README shows"
            )
        text = _without_secrets(" ".join(plain(str(chain[-1])).split()), self._name)
        return WarehouseError(f"{self._name}: {text}")

    @contextmanager
    def warehouse(self) -> Iterator[Warehouse]:
        with (
            TemporaryDirectory() as folder,
            self._told(),
            warehouse_of(self._opened(Path(folder))) as warehouse,
        ):
            yield warehouse

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in (*DRIVERS, self._takes.module):
                raise
            raise self.trouble(error) from None


def place_of(database: Path, destination: str = "duckdb") -> Place:
    """Return where loads write: the file `database` unless `destination` says otherwise.

    The destination `duckdb` is the file of `[destination.duckdb]`, where that says one.
    """
    if destination != "duckdb":
        return Elsewhere(destination, database)
    configured = section("destination.duckdb").get("credentials", str(database))
    path = re.sub("^duckdb:/{2,3}", "", str(configured))
    if path.startswith(("md:", "motherduck:", ":memory:")):
        raise ConfigurationError(
            "destination.duckdb.credentials: only a DuckDB file is tried; name one"
        )
    return File(Path(path))


def _pipeline(destination: "dlt.destinations.Destination", folder: Path) -> Pipeline:  # type: ignore[name-defined]
    return dlt.pipeline(
        PIPELINE, destination=destination, dataset_name=DATASET, pipelines_dir=str(folder)
    )


def emptied(folder: Path) -> Path:
    """Throw away what an interrupted load left in dlt's working folder.

    It is older or newer than a destination that was restored, or half of a step: it is asked for
    again. Raises `WarehouseError` when that cannot be.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise WarehouseError(f"{folder} cannot be emptied: {error.strerror}; delete it") from None
    return folder


def _without_secrets(text: str, name: str) -> str:
    """Leave out what the configuration has of a destination, and any login in a URL."""
    known = {**section(f"destination.{name}"), **section(f"destination.{name}.credentials")}
    for key, value in known.items():
        if "password" in key or "secret" in key or "key" in key or "credentials" in key:
            text = text.replace(str(value), "***")
    return re.sub(r"://[^\s/@]*@", "://***@", text)
