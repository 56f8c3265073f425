"""Continuation tokens that look like KSeF's: a position in a result, and no snapshot of it."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from werkzeug.wrappers import Response

from ksef_emulator.api import parameters
from ksef_emulator.api.answers import json_answer
from ksef_emulator.api.calls import Call
from ksef_emulator.api.errors import BadRequest
from ksef_emulator.identifiers import digest

_PREFIX = "+RID:~3xwtAMR3wXb4BwAAAAAACA==#RT:1#TRC:10#ISV:2#IEO:65567#QCF:8#FPC:"
_RANGE = {"min": "", "max": "05C1DF2B5F3598"}

Item = TypeVar("Item")


class Position(NamedTuple):
    """How many items were passed, and how many pages were cut at this very place."""

    offset: int = 0
    stalls: int = 0


@dataclass(frozen=True)
class Pages:
    """Cut results into pages; tokens hold for one endpoint and context only.

    With `short`, about one page in eight is shorter than asked and one in twenty is empty, as
    a partitioned database answers; which ones depends on endpoint and position alone.
    """

    seed: int
    short: bool

    def answer(
        self, call: Call, name: str, found: Sequence[Item], row: Callable[[Item], object]
    ) -> Response:
        """Write the page a call asks for. Raises BadRequest."""
        seal = _Seal(self.seed, f"{call.context_id}{call.request.path}")
        size = parameters.page_size(call.request.args)
        position = seal.read(call.request.headers.get("x-continuation-token"))
        length = _short_length(seal, position, size) if self.short else size
        page = found[position.offset : position.offset + length]
        is_last = position.offset + len(page) >= len(found)
        # KSeF leaves out what is empty; no recorded last page has the name.
        token = {} if is_last else {"continuationToken": seal.token(_following(position, page))}
        return json_answer({**token, name: [row(item) for item in page]})


def _following(position: Position, page: Sequence[object]) -> Position:
    stalls = 0 if page else position.stalls + 1
    return Position(position.offset + len(page), stalls)


def _short_length(seal: _Seal, position: Position, size: int) -> int:
    """Return how many items the page at this position may hold."""
    chance = digest(seal.seed, seal.endpoint, position.offset)[0]
    if chance < 13 and position.stalls == 0 and position.offset:
        return 0
    return size * 2 // 3 if chance < 45 else size


class _Seal(NamedTuple):
    """What makes a token of one endpoint and context worthless at any other."""

    seed: int
    endpoint: str

    def read(self, token: str | None) -> Position:
        """Read a token. Raises BadRequest 21418 for a damaged or foreign one."""
        if not token:
            return Position()
        try:
            text = json.loads(b64decode(token, validate=True))[0]["token"]
            position, mark = json.loads(b64decode(text.removeprefix(_PREFIX), validate=True))
            offset, stalls = map(int, position)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise BadRequest(21418) from None
        if mark != self._mark(offset, stalls):
            raise BadRequest(21418)
        return Position(offset, stalls)

    def token(self, position: Position) -> str:
        state = json.dumps([position, self._mark(*position)]).encode()
        text = _PREFIX + b64encode(state).decode()
        return b64encode(json.dumps([{"token": text, "range": _RANGE}]).encode()).decode()

    def _mark(self, offset: int, stalls: int) -> str:
        return digest(self.seed, self.endpoint, offset, stalls).hex()[:16]
