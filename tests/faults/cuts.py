"""Cut a load off in the middle, as if it were killed: at a request, or at a file's change."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import httpx

Where = Literal["request", "file"]
# Python's audit events of what dlt's steps do to files; reading is none of them.
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.move"}


class Killed(BaseException):
    """The end of a load, which no handler may mistake for an error."""


class Cut(NamedTuple):
    """Where a load ends: at the `nth` request, or change of a file below its folder."""

    where: Where
    nth: int


class _Watch:
    """The one audit hook of this process: hooks cannot be taken away again."""

    def __init__(self) -> None:
        self.folder, self.left = "", 0
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.left and event in CHANGES and str(arguments[0]).startswith(self.folder):
            if event == "open" and not set(str(arguments[1] or "")) & set("wax+"):
                return
            self.left -= 1
            if not self.left:
                raise Killed


_watch: _Watch | None = None


class CuttingWire(httpx.AsyncBaseTransport):
    """A wire that breaks for good, and the load with it, at the nth request."""

    def __init__(self, wire: httpx.AsyncBaseTransport, nth: int) -> None:
        self._wire, self._left = wire, nth

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._left -= 1
        if self._left <= 0:
            raise Killed
        return await self._wire.handle_async_request(request)


@contextmanager
def cut_off(cut: Cut | None, folder: Path) -> Iterator[None]:
    """End what is done inside at the cut, if it comes so far."""
    global _watch
    if cut is not None and cut.where == "file":
        _watch = _watch or _Watch()
        _watch.folder, _watch.left = str(folder), cut.nth
    try:
        yield
    except Killed:
        pass
    except BaseExceptionGroup as group:
        if group.split(Killed)[0] is None:
            raise
    finally:
        if _watch is not None:
            _watch.left = 0
