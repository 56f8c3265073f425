"""Simulated time for the client: a wire to the emulator without sockets, and clients to wait for.

Whatever waits lets the emulator's clock pass instead, in the same order each time.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from inspect import isasyncgen, iscoroutine
from typing import Any

import httpx

from ksef_emulator import Emulator
from kseflow.api.client import KsefClient
from kseflow.clock import Loop


class Wire(httpx.AsyncBaseTransport):
    """An emulator in this process, whose answers take `latency_s`, give or take half of it."""

    def __init__(self, app: Emulator, latency_s: float = 0.0, seed: int = 1) -> None:
        self._inner = httpx.WSGITransport(app)
        self._latency_s = latency_s
        self._random = random.Random(seed)
        self.in_flight_count = self.most_in_flight_count = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.in_flight_count += 1
        self.most_in_flight_count = max(self.most_in_flight_count, self.in_flight_count)
        try:
            await asyncio.sleep(self._latency_s * self._random.uniform(0.5, 1.5))
            answer = self._inner.handle_request(request)
            answer.read()
        except ConnectionError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        finally:
            self.in_flight_count -= 1
        # As a stream that nobody has read yet: downloads take it raw.
        body = httpx.ByteStream(answer.content)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=body)


class Asking:
    """A client whose answers one waits for: its coroutines return, its lists are iterators."""

    def __init__(self, client: KsefClient, loop: Loop) -> None:
        self.client = client
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        return self._waiting(found) if callable(found) else found

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return what a coroutine returns, in the loop of this client."""
        return self._loop.run(coroutine)

    def _waiting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            found = method(*args, **kwargs)
            if isasyncgen(found):
                return self._each(found)
            return self.wait(found) if iscoroutine(found) else found

        return call

    def _each(self, pages: AsyncIterator[Any]) -> Iterator[Any]:
        end = object()

        async def following() -> Any:
            return await anext(pages, end)

        while (page := self.wait(following())) is not end:
            yield page


@contextmanager
def asking(client: KsefClient) -> Iterator[Asking]:
    """Give a client to wait for, and close its connections in the end."""
    with client.gateway.box.loop() as loop:
        asked = Asking(client, loop)
        try:
            yield asked
        finally:
            asked.wait(client.gateway.aclose())
