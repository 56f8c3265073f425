"""The way to one environment that all taxpayers share: connections, and places on them."""

from importlib.metadata import version

import httpx

from kseflow.api.address import base_url_of, proxy_of
from kseflow.api.keys import PublicKeys
from kseflow.api.limits import SHARED_GROUPS, Gate, Sent
from kseflow.clock import TimeBox
from kseflow.constants import REQUESTS_IN_FLIGHT, TIMEOUT_S

HEADERS = {
    "User-Agent": f"kseflow/{version('kseflow')}",
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
}


class Gateway:
    """One environment as seen from one address, for all taxpayers of a run."""

    def __init__(
        self,
        environment: str,
        box: TimeBox,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        requests_in_flight: int = REQUESTS_IN_FLIGHT,
    ) -> None:
        """Talk to `environment`: `production`, `demo`, `test` or a base URL."""
        self.base_url = base_url_of(environment)
        self.box = box
        self.gate = Gate(requests_in_flight)
        self.public_keys = PublicKeys()
        self.shared_groups = {group: Sent() for group in SHARED_GROUPS}
        self._transport = transport or httpx.AsyncHTTPTransport(
            proxy=proxy_of(self.base_url),
            limits=httpx.Limits(
                max_connections=requests_in_flight, max_keepalive_connections=requests_in_flight
            ),
        )

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
