"""KSeF's storage: parts of packages and receipts behind signed links.

A signed link is a credential by itself: it goes out without the bearer token, only to hosts of
KSeF's, and into no log and no error.
"""

import base64
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from typing import BinaryIO

import httpx

from kseflow.api.answers import FIREWALL, Bound, is_firewalls
from kseflow.api.limits import POLLS, Gate, Spending, backoff_s
from kseflow.clock import TimeBox
from kseflow.constants import DOWNLOAD_TIME_S, STORAGE_DOMAIN, TRIES
from kseflow.errors import ContractViolation, CorruptDownload, Unavailable

CHUNK_BYTES = 1 << 20
AS_IT_IS = {"Accept": "*/*", "Accept-Encoding": "identity"}  # hashes are of the bytes as stored


class Storage:
    """Download what signed links of one API lead to; outside KSeF's rate limits."""

    def __init__(
        self,
        base_url: str,
        send: Callable[[httpx.Request], Awaitable[httpx.Response]],
        gate: Gate,
        box: TimeBox,
        spending: dict[str, Spending],
    ) -> None:
        """Send through `send`, with a place at `gate`, and count it in `spending`."""
        self._api = httpx.URL(base_url)
        self._send = send
        self._gate = gate
        self._box = box
        self._spending = spending

    async def download(self, url: object, into: BinaryIO, *, what: str, bound: Bound) -> str:
        """Write what `url` leads to into `into` and return its SHA-256 (Base64).

        `what` names it in errors. Faults that pass are tried again from the start. Raises
        `CorruptDownload` when it is longer than `bound` or differs from the hash in its
        header, `Unavailable` when the link has expired or storage does not answer,
        `ContractViolation` when the link leads to a foreign host.
        """
        link = self._checked(url, what)
        begin = into.tell()
        for attempt in range(1, TRIES + 1):
            try:
                async with (
                    self._gate.place(POLLS, self),
                    self._box.within(DOWNLOAD_TIME_S),
                ):
                    return await self._streamed(link, into, what, bound)
            except (Unavailable, httpx.RequestError, TimeoutError) as error:
                # httpx names no URL in its errors; the storage's own texts might.
                trouble = str(error) if isinstance(error, Unavailable) else type(error).__name__
            into.seek(begin)
            into.truncate()
            if attempt < TRIES:
                await self._box.sleep(backoff_s(attempt))
        raise Unavailable(f"{what}: {trouble}, after {TRIES} tries")

    async def _streamed(self, link: httpx.URL, into: BinaryIO, what: str, bound: Bound) -> str:
        spent = self._spending.setdefault("storage", Spending())
        spent.request_count += 1
        response = await self._send(httpx.Request("GET", link, headers=AS_IT_IS))
        try:
            if response.status_code >= 500:
                raise Unavailable(f"storage answers HTTP {response.status_code}")
            if is_firewalls(response.status_code, response.headers):
                raise Unavailable(FIREWALL)
            if response.status_code != 200:
                raise CorruptDownload(
                    f"{what}: storage answers HTTP {response.status_code}; has the link expired?"
                )
            digest, byte_count = hashlib.sha256(), 0
            async for chunk in response.aiter_raw(CHUNK_BYTES):
                byte_count += len(chunk)
                bound.check(what, byte_count)
                digest.update(chunk)
                into.write(chunk)
        finally:
            await response.aclose()
            spent.received_bytes += response.num_bytes_downloaded
        found = base64.b64encode(digest.digest()).decode()
        if response.headers.get("x-ms-meta-hash", found) != found:
            raise CorruptDownload(f"{what}: it does not have the hash that storage gave it")
        return found

    def _checked(self, url: object, what: str) -> httpx.URL:
        """Return a link that leads to a host of KSeF's, read as it will be when it is sent."""
        try:
            link = httpx.URL(url)  # type: ignore[arg-type]  # a TypeError is told
        except (TypeError, ValueError, httpx.InvalidURL):
            raise ContractViolation(
                f"{what}: KSeF's link is none; nothing was downloaded"
            ) from None
        is_expected = link.host == self._api.host or f".{link.host}".endswith(f".{STORAGE_DOMAIN}")
        if link.scheme != self._api.scheme or not is_expected:
            raise ContractViolation(
                f"{what}: KSeF links to {link.scheme}://{link.host}, which is no host of KSeF's; "
                "nothing was downloaded"
            )
        return link


def sha256_base64(content: bytes) -> str:
    """Return a SHA-256 as KSeF writes it."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file's bytes, a megabyte at a time."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
