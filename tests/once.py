"""Databases that take long to make: one worker of a run makes each, all others find it made."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

T = TypeVar("T")
_run: Path | None = None


def keep_in_run(factory: pytest.TempPathFactory) -> None:
    """Have all workers of this run of pytest share a folder, which pytest deletes."""
    global _run
    own = factory.getbasetemp()
    _run = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def once(name: str, make: Callable[[Path], T]) -> T:
    """Return what `make` returned for the run's folder of this name; change only copies of it."""
    assert _run is not None, "the fixture that calls keep_in_run has not run yet"
    made = _run / f"{name}.pickle"
    with FileLock(_run / f"{name}.lock"):
        if not made.exists():
            folder = _run / name
            folder.mkdir()
            made.write_bytes(pickle.dumps(make(folder)))
    return pickle.loads(made.read_bytes())  # type: ignore[no-any-return]
