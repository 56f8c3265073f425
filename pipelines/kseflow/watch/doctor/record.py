"""Record the exchanges of a login, the limits and two lists, fit to be sent with a bug report.

A recording is a JSON list of `{method, path, request_has_body, status, headers, body}`, in the
order of the requests; `continuation_token` stands beside them where one was sent, `error` and
the status 0 where no answer came. Everything that could tell whose it is has a stand-in.
Replayed by tests/recorded.
"""

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from kseflow.api.address import proxy_of
from kseflow.api.client import KsefClient, Page, make_clients
from kseflow.api.credentials import Credentials
from kseflow.clock import Clock, TimeBox
from kseflow.errors import ConfigurationError, KsefError
from kseflow.watch.doctor.masking import Masks
from kseflow.watch.finding import Finding, critical, ok

PATIENCE_S = 300.0  # for the login, the limits and the lists
TOKEN_HEADER = "x-continuation-token"  # noqa: S105 - a name


class Recorder(httpx.AsyncBaseTransport):
    """Pass requests on and keep them with their answers, as far as those were read."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self._taped: list[tuple[httpx.Request, _Tape]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["Accept-Encoding"] = "identity"
        try:
            response = await self._inner.handle_async_request(request)
        except httpx.RequestError as problem:
            self._taped.append((request, _Tape(httpx.Response(0), type(problem).__name__)))
            raise
        self._taped.append((request, tape := _Tape(response)))
        return httpx.Response(response.status_code, headers=response.headers, stream=tape)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def exchanges(self, masks: Masks | None) -> list[dict[str, Any]]:
        """Return what was exchanged; without masks it holds every secret."""
        return [_exchange(*taped, masks) for taped in self._taped]


class _Tape(httpx.AsyncByteStream):
    """Keep the chunks of an answer while somebody reads it; `error` is why there is none."""

    def __init__(self, response: httpx.Response, error: str = "") -> None:
        self.response = response
        self.error = error
        self.content = bytearray()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self.response.aiter_raw():
            self.content += chunk
            yield chunk

    async def aclose(self) -> None:
        await self.response.aclose()


def _exchange(request: httpx.Request, tape: _Tape, masks: Masks | None) -> dict[str, Any]:
    path, token = request.url.path, request.headers.get(TOKEN_HEADER, "")
    target, headers = request.url.raw_path.decode(), dict(tape.response.headers.items())
    try:
        body = orjson.loads(tape.content)
    except orjson.JSONDecodeError:
        body = tape.content.decode(errors="replace")
    if masks is not None:
        target, token = masks.target(path, request.url.query.decode()), masks.text(token)
        headers = {name: masks.header(name, value) for name, value in headers.items()}
        body = masks.body(body, holds_public_keys=path.endswith("/public-key-certificates"))
    return {
        "method": request.method,
        "path": target,
        "request_has_body": bool(request.content),
        **({"continuation_token": token} if token else {}),
        "status": tape.response.status_code,
        "headers": headers,
        "body": body,
        **({"error": tape.error} if tape.error else {}),
    }


async def walk(client: KsefClient) -> None:
    """Log in, and ask for the limits, the sessions and the invoices of the newest one with any."""
    await client.rate_limits()
    newest = None
    for session_type in ("Online", "Batch"):
        page = await _first_page(client.sessions(session_type))
        with_invoices = (s for s in page if isinstance(s, dict) and s.get("totalInvoiceCount"))
        newest = newest or next(with_invoices, None)
    if newest:
        await _first_page(client.session_invoices(str(newest.get("referenceNumber"))))


async def _first_page(pages: AsyncIterator[Page]) -> list[Any]:
    async for page in pages:
        return page.items
    return []


def refuse_existing(file: Path) -> None:
    """Raise `ConfigurationError` when a recording would write over a file."""
    if file.exists():
        raise ConfigurationError(f"--record {file}: it exists; name a new file")


def examine_recording(
    base_url: str, logins: Sequence[Credentials], clock: Clock, file: Path
) -> Iterator[Finding]:
    """Write the exchanges of one taxpayer into a new file that only its owner may read.

    What goes wrong with KSeF is part of the recording.
    """
    if len(logins) != 1:
        told = f"a recording is of one taxpayer, and {len(logins)} could log in"
        yield critical("recording", told, "Name one with --nip")
        return
    (login,) = logins
    recorder = Recorder(httpx.AsyncHTTPTransport(proxy=proxy_of(base_url)))
    box = TimeBox(clock, PATIENCE_S)
    (client,) = make_clients(base_url, [login], box, transport=recorder)
    with box.loop() as loop:
        trouble = loop.run(_walked(client))
    exchanges = recorder.exchanges(Masks(urlsplit(base_url).netloc))
    try:
        _write(file, exchanges)
    except OSError as problem:
        told = f"{file}: {problem.strerror or problem}"
        yield critical("recording", told, "Name a new file that can be written", login.context)
        return
    told = f"{len(exchanges)} exchanges are in {file}, with stand-ins for names, numbers, secrets"
    if trouble is not None:
        told += f"; they end with: {trouble}"
    yield ok("recording", f"{told}. Look through it before you send it", login.context)


async def _walked(client: KsefClient) -> KsefError | None:
    try:
        await walk(client)
    except KsefError as problem:
        return problem
    finally:
        await client.gateway.aclose()
    return None


def _write(file: Path, exchanges: list[dict[str, Any]]) -> None:
    """Write a new file, which not even for a moment anybody else may read."""
    content = orjson.dumps(exchanges, option=orjson.OPT_INDENT_2) + b"\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
