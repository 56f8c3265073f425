"""From a call to an answer worth handing on: admitted, sent, and sent again where it helps.

429 is waited out by its header, whatever its length; 5xx, network faults, sessions in
maintenance (21184) and sessions that KSeF lists but does not find yet (21173) are tried again
with doubled waits. What may happen only once (redeem, an export) is never repeated.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from kseflow.api.answers import Answer, read, rejection_of
from kseflow.api.gateway import Gateway
from kseflow.api.limits import Budget
from kseflow.constants import ANSWER_TIME_S, FIRST_BACKOFF_S, TRIES
from kseflow.errors import Unavailable

log = logging.getLogger(__name__)

PASSING_CODES = {21173, 21184}


@dataclass(frozen=True)
class Call:
    """One request: its group of limits, and of what value it is (0 first) when places are few.

    `body` is what httpx's `Request` takes: params, headers, json, content.
    """

    method: str
    path: str
    group: str
    value: int = 0
    is_repeatable: bool = True
    body: Mapping[str, Any] = field(default_factory=dict)


class Sender:
    """Send one taxpayer's calls until each has its answer."""

    def __init__(self, gateway: Gateway, budget: Budget, who: object) -> None:
        self._gateway = gateway
        self._budget = budget
        self._who = who

    async def answer(
        self, call: Call, bearer: Callable[[], Awaitable[str | None]] | None = None
    ) -> Answer:
        """Return the answer to a call; 4xx is one, 5xx is none.

        `bearer` gives the token when the request may go out, for one could end during the wait.
        Raises `Unavailable` after all tries.
        """
        spent, tries = self._budget.spent(call.group), TRIES if call.is_repeatable else 1
        for attempt in range(1, tries + 1):
            answer = None
            try:
                answer = await self._admitted(call, bearer)
                trouble = _passing_trouble(answer)
            except (httpx.RequestError, TimeoutError) as error:
                trouble = f"no answer ({type(error).__name__}: {error})"
            if answer is not None and trouble is None:
                return answer
            if attempt < tries:
                wait_s = backoff_s(attempt)
                log.info("%s %s: %s; again in %.0f s", call.method, call.path, trouble, wait_s)
                await self._gateway.box.sleep(wait_s)
                spent.retry_count += 1
        if answer is not None and answer.status == 400:
            return answer
        end = f"after {tries} tries" if call.is_repeatable else "not sent again"
        raise Unavailable(f"{call.method} {call.path}: {trouble}; {end}")

    async def _admitted(
        self, call: Call, bearer: Callable[[], Awaitable[str | None]] | None
    ) -> Answer:
        """Send until the answer is not 429."""
        spent = self._budget.spent(call.group)
        while True:
            async with self._budget.admitted(call.group):
                token = await bearer() if bearer else None
                async with self._gateway.gate.place(call.value, self._who):
                    answer = await self._sent(call, token)
            spent.received_bytes += len(answer.content)
            if answer.status != 429:
                return answer
            wait_s = _retry_after_s(answer)
            log.warning("%s: HTTP 429, KSeF asks to wait %.0f s", answer.request, wait_s)
            spent.throttled_count += 1
            self._budget.windows.block(call.group, wait_s)
            self._gateway.box.check(wait_s)

    async def _sent(self, call: Call, token: str | None) -> Answer:
        request = httpx.Request(call.method, self._gateway.base_url + call.path, **call.body)
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        async with self._gateway.box.within(ANSWER_TIME_S):
            return await read(await self._gateway.send(request))


def backoff_s(attempt: int) -> float:
    """Return the seconds to wait after the first, second, … try that went wrong."""
    return float(FIRST_BACKOFF_S * 2 ** (attempt - 1))


def _passing_trouble(answer: Answer) -> str | None:
    """Name the trouble when it is one that passes."""
    if answer.status >= 500:
        return f"HTTP {answer.status}"
    if answer.status == 400:
        codes = PASSING_CODES.intersection(rejection_of(answer).codes)
        return f"KSeF {min(codes)}" if codes else None
    return None


def _retry_after_s(answer: Answer) -> float:
    """Read Retry-After (whole seconds), plus the second by which KSeF has been seen to be off."""
    header = answer.headers.get("Retry-After", "")
    return float(header) + 1 if header.isdecimal() else 60.0
