"""From a call to an answer worth handing on: admitted, sent, and sent again where it helps.

429 is waited out by its header, whatever its length; 5xx, network faults, sessions in
maintenance (21184) and sessions that KSeF lists but does not find yet (21173) are tried again
with doubled waits. What may happen only once (redeem, an export) is repeated only after a page of
the firewall.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager

import httpx

from kseflow.api.answers import FIREWALL, Answer, Bound, Call, is_firewalls, read, rejection_of
from kseflow.api.limits import Gate, Sent, SlidingWindows, Spending, backoff_s
from kseflow.clock import TimeBox
from kseflow.constants import ANSWER_TIME_S, LIMITS_AGE_S, LONGEST_WAIT_S, TRIES
from kseflow.errors import KsefError, Unavailable, plain

log = logging.getLogger(__name__)

PASSING_CODES = {21173, 21184}
UNRENEWED = {"other", "anonymous"}  # groups of the login, and of the limits themselves
SHARED_S = 120.0  # beyond what KSeF asks to wait, where others spend of the same limits
SHARED_PATIENCE = 3  # times what KSeF asks to wait, the second time in a row
LONG_WAIT_S = 2.0  # a longer one is worth a line in the log

Send = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Budget:
    """What one taxpayer may still ask, what it cost so far, and the wait for the next."""

    def __init__(self, box: TimeBox, shared: Mapping[str, Sent]) -> None:
        self.windows = SlidingWindows(box.now, shared)
        self.spending: dict[str, Spending] = {}
        self._renew: Callable[[], Awaitable[object]] | None = None
        self._renewed_at = box.now()
        self._box = box

    def spent(self, group: str) -> Spending:
        """Return what a group cost so far, to be added to."""
        return self.spending.setdefault(group, Spending())

    @asynccontextmanager
    async def admitted(self, group: str) -> AsyncIterator[None]:
        """Wait until the windows have room, and count the request that is sent inside."""
        spent, asked_at = self.spent(group), self._box.now()
        self._box.check()
        with ExitStack() as on_its_way:
            async with self.windows.turn(group):
                await self._room(group)
                for counted in (group, "global"):
                    on_its_way.enter_context(self.windows.on_its_way(counted))
            spent.waited_s += (self._box.now() - asked_at).total_seconds()
            spent.request_count += 1
            yield

    async def _room(self, group: str) -> None:
        while (wait_s := max(map(self.windows.delay_s, (group, "global")))) > 0:
            if wait_s > LONG_WAIT_S:
                log.info("waiting %.0f s for KSeF's %s limit", wait_s, group)
            self._box.check(wait_s)
            await self._box.sleep(min(wait_s, LIMITS_AGE_S))
            if wait_s > LIMITS_AGE_S:
                await self.doubt_limits(group)

    def keep(
        self, limits: Mapping[str, tuple[int, int, int]], renew: Callable[[], Awaitable[object]]
    ) -> None:
        """Keep these limits from now on; `renew` asks KSeF for them anew."""
        self.windows.change_limits(limits)
        self._renew, self._renewed_at = renew, self._box.now()

    async def doubt_limits(self, group: str) -> None:
        """Ask for the limits anew, unless that was done not long ago or is what waits."""
        age_s = (self._box.now() - self._renewed_at).total_seconds()
        if self._renew is None or age_s < LIMITS_AGE_S or group in UNRENEWED:
            return
        self._renewed_at = self._box.now()
        try:
            await self._renew()
        except KsefError as error:  # those that are known still hold
            log.info("KSeF's limits could not be read anew: %s", error)


class Sender:
    """Send one taxpayer's calls until each has its answer."""

    def __init__(
        self,
        base_url: str,
        send: Send,
        gate: Gate,
        box: TimeBox,
        budget: Budget,
        *,
        bound: Bound,
    ) -> None:
        """Send through `send`, with a place at `gate`, as soon as the budget has room.

        No more of an answer is read than `bound`.
        """
        self._bound = bound
        self._base_url = base_url
        self._send = send
        self._gate = gate
        self._box = box
        self._budget = budget

    async def answer(
        self, call: Call, bearer: Callable[[], Awaitable[str | None]] | None = None
    ) -> Answer:
        """Return the answer to a call; 4xx is one, 5xx is none.

        `bearer` gives the token when the request may go out, for one could end during the wait.
        Raises `Unavailable` after all tries.
        """
        spent = self._budget.spent(call.group)
        for attempt in range(1, TRIES + 1):
            answer = None
            try:
                answer = await self._admitted(call, bearer)
                trouble = _passing_trouble(answer)
            except (httpx.RequestError, TimeoutError) as error:
                trouble = plain(f"no answer ({type(error).__name__}: {error})")
            if answer is not None and trouble is None:
                return answer
            # What the firewall answers itself has gone no further.
            if attempt == TRIES or not (call.is_repeatable or trouble == FIREWALL):
                break
            wait_s = backoff_s(attempt)
            log.info("%s %s: %s; again in %.0f s", call.method, call.path, trouble, wait_s)
            await self._box.sleep(wait_s)
            spent.retry_count += 1
        if answer is not None and answer.status == 400:
            return answer
        end = f"after {attempt} tries" if attempt > 1 else "not sent again"
        raise Unavailable(f"{call.method} {call.path}: {trouble}; {end}")

    async def _admitted(
        self, call: Call, bearer: Callable[[], Awaitable[str | None]] | None
    ) -> Answer:
        """Send until the answer is not 429."""
        spent = self._budget.spent(call.group)
        patience = 1
        while True:
            async with self._budget.admitted(call.group):
                token = await bearer() if bearer else None
                async with self._gate.place(call.value, self):
                    answer = await self._sent(call, token)
            spent.received_bytes += len(answer.content)
            warning = plain(answer.headers.get("X-System-Warning", ""))
            if warning and spent.hear(warning, self._box.now()):
                log.warning("%s: KSeF warns: %s", answer.request, warning)
            if answer.status != 429:
                return answer
            wait_s = _retry_after_s(answer) * patience
            log.warning("%s: HTTP 429, waiting %.0f s as KSeF asks", answer.request, wait_s)
            spent.throttled_count += 1
            self._budget.windows.refuse(call.group)
            self._budget.windows.block(call.group, wait_s)
            self._box.check(wait_s)
            await self._budget.doubt_limits(call.group)
            # Another program asks during the block as well, which lengthens it for both: let it
            # come first, and by more when we were refused although we waited.
            if patience == 1 and self._budget.windows.leave_to_others(call.group, wait_s):
                self._budget.windows.block(call.group, wait_s + SHARED_S)
            patience = SHARED_PATIENCE

    async def _sent(self, call: Call, token: str | None) -> Answer:
        request = httpx.Request(call.method, self._base_url + call.path, **call.body)
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        async with self._box.within(ANSWER_TIME_S):
            return await read(await self._send(request), self._bound)


def _passing_trouble(answer: Answer) -> str | None:
    """Name the trouble when it is one that passes."""
    if answer.status >= 500:
        return f"HTTP {answer.status}"
    if is_firewalls(answer.status, answer.headers):
        return FIREWALL
    if answer.status == 400:
        codes = PASSING_CODES.intersection(rejection_of(answer).codes)
        return f"KSeF {min(codes)}" if codes else None
    return None


def _retry_after_s(answer: Answer) -> float:
    """Read Retry-After (whole seconds), plus the second by which KSeF has been seen to be off."""
    header = answer.headers.get("Retry-After", "")
    return min(float(header) + 1, LONGEST_WAIT_S) if header.isdecimal() else 60.0
