"""Recorded exchanges, replayed to the real client at its transport."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

FOLDER = Path(__file__).parents[1] / "data" / "recorded"
HOST = "https://api-test.ksef.mf.gov.pl"
PREFIX = "/api"  # before the paths of older recordings: /api/v2/sessions

Exchange = dict[str, Any]


def recording(file: str | Path) -> list[Exchange]:
    """Return a file's exchanges; a name is one below tests/data/recorded."""
    found: list[Exchange] = json.loads((FOLDER / file).read_text(encoding="utf-8"))
    return found


def call_of(exchange: Exchange) -> tuple[str, str]:
    """Return a recorded request's method and path, without query and the prefix of old ones."""
    return exchange["method"], urlsplit(exchange["path"]).path.removeprefix(PREFIX)


def moment_of(exchanges: Iterable[Exchange]) -> datetime:
    """Return when the first login of a recording began."""
    (began, *_) = (e["body"] for e in exchanges if call_of(e)[1] == "/v2/auth/challenge")
    return datetime.fromisoformat(began["timestamp"]).astimezone(UTC)


class NotRecorded(AssertionError):
    """A request that no recording answers."""


class Replay(httpx.AsyncBaseTransport):
    """Answer requests by method, path and query as they were recorded.

    What was recorded with fewer parameters answers as well: `pageSize` was left out in some. The
    same request is answered in the recorded order, and the last answer stays. Answers to a page
    are told apart by their continuation token.
    """

    def __init__(self, *recordings: Iterable[Exchange]) -> None:
        self._answers: dict[tuple[str, str], list[tuple[Any, deque[Exchange]]]] = {}
        self.asked: list[tuple[str, str]] = []
        for exchange in (exchange for found in recordings for exchange in found):
            query = set(parse_qsl(urlsplit(exchange["path"]).query))
            terms = (query, exchange.get("continuation_token"))
            known = self._answers.setdefault(call_of(exchange), [])
            for others, answers in known:
                if others == terms:
                    answers.append(exchange)
                    break
            else:
                known.append((terms, deque([exchange])))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = request.method, request.url.path.removeprefix(PREFIX)
        self.asked.append(call)
        query, token = set(request.url.params.multi_items()), request.headers.get(TOKEN)
        for (recorded, recorded_token), answers in self._answers.get(call, ()):
            if recorded <= query and recorded_token == token:
                return _response(answers.popleft() if len(answers) > 1 else answers[0])
        raise NotRecorded(f"{request.method} {request.url}")


TOKEN = "x-continuation-token"


def _response(exchange: Exchange) -> httpx.Response:
    if error := exchange.get("error"):
        raise httpx.RequestError(error)
    body = exchange["body"]
    content = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    headers = {n: v for n, v in exchange["headers"].items() if n.lower() != "transfer-encoding"}
    headers["Content-Length"] = str(len(content.encode()))
    # As a stream that nobody has read yet: downloads take it raw.
    stream = httpx.ByteStream(content.encode())
    return httpx.Response(exchange["status"], headers=headers, stream=stream)
