"""Which answers are worth another try, and when.

429 is waited out by its header, whatever its length; 5xx, network faults, sessions in
maintenance (21184) and sessions that KSeF lists but does not find yet (21173) are tried again
with doubled waits. What may happen only once (redeem) is never repeated.
"""

import logging

import httpx

from kseflow.api.limits import PacedTransport
from kseflow.constants import FIRST_BACKOFF_S, TRIES
from kseflow.errors import RequestRejected, Throttled, Unavailable

log = logging.getLogger(__name__)

PASSING_CODES = {21173, 21184}


class RetryTransport(httpx.BaseTransport):
    """Send again what is worth it; the pacing below makes every attempt pay.

    A 429 with a wait longer than `patience_s` raises `Throttled` instead of waiting here.
    """

    def __init__(self, inner: PacedTransport, patience_s: float) -> None:
        self._inner = inner
        self._patience_s = patience_s

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        tries = TRIES if request.extensions.get("repeatable", True) else 1
        for attempt in range(1, tries + 1):
            answer = None
            try:
                answer = self._admitted(request)
                trouble = _passing_trouble(answer)
            except httpx.TransportError as error:
                trouble = f"no answer ({type(error).__name__}: {error})"
            if answer is not None and trouble is None:
                return answer
            if attempt < tries:
                wait_s = FIRST_BACKOFF_S * 2 ** (attempt - 1)
                log.info("%s: %s; again in %.0f s", _name(request), trouble, wait_s)
                self._inner.box.sleep(wait_s)
                self._inner.spending[request.extensions["group"]].retry_count += 1
        if answer is not None and answer.status_code == 400:
            return answer
        if tries == 1:  # the login flow sees answers only, and must know to begin anew
            return answer or httpx.Response(504, request=request, text=trouble)
        raise Unavailable(f"{_name(request)}: {trouble}, after {tries} tries")

    def _admitted(self, request: httpx.Request) -> httpx.Response:
        """Send until the answer is not 429."""
        group = request.extensions["group"]
        while True:
            response = self._inner.handle_request(request)
            response.request = request
            if response.status_code != 429:
                return response
            wait_s = _retry_after_s(response)
            log.warning("%s: HTTP 429, KSeF asks to wait %.0f s", _name(request), wait_s)
            self._inner.spending[group].throttled_count += 1
            self._inner.windows.block(group, wait_s)
            self._inner.box.check(wait_s)
            if wait_s > self._patience_s:
                raise Throttled(f"KSeF takes no {group} request for {wait_s:.0f} s")

    def close(self) -> None:
        self._inner.close()


def _name(request: httpx.Request) -> str:
    return f"{request.method} {request.url.host}{request.url.path}"


def _passing_trouble(response: httpx.Response) -> str | None:
    """Name the trouble when it is one that passes."""
    if response.status_code >= 500:
        return f"HTTP {response.status_code}"
    if response.status_code == 400:
        codes = PASSING_CODES.intersection(RequestRejected.from_response(response).codes)
        return f"KSeF {min(codes)}" if codes else None
    return None


def _retry_after_s(response: httpx.Response) -> float:
    """Read Retry-After (whole seconds), plus the second by which KSeF has been seen to be off."""
    header = response.headers.get("Retry-After", "")
    return float(header) + 1 if header.isdecimal() else 60.0
