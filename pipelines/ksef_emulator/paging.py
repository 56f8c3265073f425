"""Continuation tokens that look like KSeF's: a position in a result, and no snapshot of it."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ksef_emulator.answers import BadRequest
from ksef_emulator.identifiers import digest

_PREFIX = "+RID:~3xwtAMR3wXb4BwAAAAAACA==#RT:1#TRC:10#ISV:2#IEO:65567#QCF:8#FPC:"
_RANGE = {"min": "", "max": "05C1DF2B5F3598"}


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
    endpoint: str
    size: int
    short: bool

    def start(self, token: str | None) -> Position:
        """Read a token. Raises BadRequest 21418 for a damaged or foreign one."""
        if not token:
            return Position()
        try:
            text = json.loads(b64decode(token, validate=True))[0]["token"]
            position, seal = json.loads(b64decode(text.removeprefix(_PREFIX), validate=True))
            offset, stalls = map(int, position)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise BadRequest(21418) from None
        if seal != self._seal(offset, stalls):
            raise BadRequest(21418)
        return Position(offset, stalls)

    def length(self, position: Position) -> int:
        """Return how many items the page at this position may hold."""
        if not self.short:
            return self.size
        chance = digest(self.seed, self.endpoint, position.offset)[0]
        if chance < 13 and position.stalls == 0 and position.offset:
            return 0
        return self.size * 2 // 3 if chance < 45 else self.size

    def token(self, position: Position, page: Sequence[object], *, is_last: bool) -> str | None:
        """Write the token of the page after this one, None when there is none."""
        if is_last:
            return None
        stalls = 0 if page else position.stalls + 1
        following = Position(position.offset + len(page), stalls)
        state = json.dumps([following, self._seal(*following)]).encode()
        text = _PREFIX + b64encode(state).decode()
        return b64encode(json.dumps([{"token": text, "range": _RANGE}]).encode()).decode()

    def _seal(self, offset: int, stalls: int) -> str:
        return digest(self.seed, self.endpoint, offset, stalls).hex()[:16]
