"""The way to one environment that all taxpayers share: connections, and places on them."""

import math
from importlib.metadata import version

import httpx

from kseflow.api.address import base_url_of, usable_proxy_of
from kseflow.api.keys import PublicKeys
from kseflow.api.limits import SHARED_GROUPS, Gate, Sent
from kseflow.clock import TimeBox
from kseflow.constants import REQUESTS_IN_FLIGHT, SIZE_FACTOR, TIMEOUT_S

POOL_SIZE = 8
HEADERS = {
    "User-Agent": f"kseflow/{version('kseflow')}",
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
}


class _Pools(httpx.AsyncBaseTransport):
    """Connections in pools of a few: what a request costs in one grows with its size."""

    def __init__(self, proxy: str | None, size: int) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=POOL_SIZE)
        self._pools = [
            httpx.AsyncHTTPTransport(proxy=proxy, limits=limits)
            for _ in range(math.ceil(size / POOL_SIZE))
        ]
        self._busy_counts = [0] * len(self._pools)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        place = self._busy_counts.index(min(self._busy_counts))
        self._busy_counts[place] += 1
        try:
            return await self._pools[place].handle_async_request(request)
        finally:
            self._busy_counts[place] -= 1

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()


class Gateway:
    """One environment as seen from one address, for all taxpayers of a run."""

    def __init__(
        self,
        environment: str,
        box: TimeBox,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        requests_in_flight: int = REQUESTS_IN_FLIGHT,
        size_factor: int = SIZE_FACTOR,
        sharer_count: int = 1,
    ) -> None:
        """Talk to `environment`: `production`, `demo`, `test` or a base URL.

        What comes may have `size_factor` times its documented size. So many processes
        (`sharer_count`) share the address, and what KSeF allows that.
        """
        self.size_factor = size_factor
        self.base_url = base_url_of(environment)
        self.box = box
        self.gate = Gate(requests_in_flight)
        self.public_keys = PublicKeys()
        self.shared_groups = {group: Sent(sharer_count) for group in SHARED_GROUPS}
        self._transport = transport or _Pools(usable_proxy_of(self.base_url), requests_in_flight)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer, which the caller reads and closes.

        Not through httpx's client, which logs every URL: signed links are credentials.
        """
        for name, value in HEADERS.items():
            request.headers.setdefault(name, value)
        request.extensions["timeout"] = httpx.Timeout(TIMEOUT_S).as_dict()
        response = await self._transport.handle_async_request(request)
        response.request = request
        return response
