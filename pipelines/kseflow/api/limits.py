"""KSeF's rate limits, kept on our side so that a healthy run never meets a 429.

Three sliding windows (1 s, 60 s, 60 min) per taxpayer and group of endpoints; the first that is
full blocks. Source: GET /rate-limits and docs limity/limity-api.md.
"""

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heappop, heappush

from kseflow.constants import FIRST_BACKOFF_S, PRODUCTION_LIMITS, WINDOW_MARGIN_S

SHARED_GROUPS = ("anonymous", "global")  # KSeF counts them per address, not per taxpayer
WINDOWS_S = (1.0, 60.0, 3600.0)
WARNING_LENGTH = 1000  # characters

# The value of a request, which goes first when places are few; lower is sooner.
LISTS, FAILURES, ROWS, RECEIPTS, EXPORTS, POLLS = range(6)


@dataclass
class Heard:
    """A warning that KSeF sent with answers: with how many, and when first and last (UTC)."""

    first_seen_at: datetime
    last_seen_at: datetime
    answer_count: int = 0


@dataclass
class Spending:
    """What one group of endpoints cost one taxpayer in this run, and KSeF's warnings by text."""

    request_count: int = 0
    throttled_count: int = 0
    retry_count: int = 0
    waited_s: float = 0.0
    received_bytes: int = 0
    warnings: dict[str, Heard] = field(default_factory=dict)

    def hear(self, warning: str, now: datetime) -> bool:
        """Take note of a warning; tell whether it is new."""
        text = " ".join(warning.split())[:WARNING_LENGTH]
        is_new = text not in self.warnings
        heard = self.warnings.setdefault(text, Heard(now, now))
        heard.last_seen_at = now
        heard.answer_count += 1
        return is_new


@dataclass
class Sent:
    """What was sent of one group of endpoints: when, what is on its way, and until when none.

    Who waits for room holds `turn`; the others wait for that. What KSeF allows is divided among
    so many processes (`sharer_count`), which know nothing of each other.
    """

    sharer_count: int = 1
    others: dict[float, int] = field(default_factory=dict)  # requests to leave, by window (s)
    times: list[float] = field(default_factory=list)
    refused_times: list[float] = field(default_factory=list)  # those of them that were answered 429
    in_flight_count: int = 0
    blocked_until: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class SlidingWindows:
    """One taxpayer's requests of the last hour per group, and when the next may go out.

    `shared` are the groups that KSeF counts per address: windows made with the same share them.
    """

    def __init__(
        self, now: Callable[[], datetime], shared: Mapping[str, Sent] | None = None
    ) -> None:
        self._now = now
        self._sent: dict[str, Sent] = dict(shared or {})
        self.limits: Mapping[str, tuple[int, int, int]] = PRODUCTION_LIMITS

    def change_limits(self, limits: Mapping[str, tuple[int, int, int]]) -> None:
        """Keep other limits from now on; what was noticed beside the old ones says nothing."""
        if limits != self.limits:
            self.limits = limits
            for sent in self._sent.values():
                sent.others.clear()

    def delay_s(self, group: str) -> float:
        """Return the seconds until a request of `group` fits all three windows.

        One on its way counts as if KSeF took it this moment: nobody knows when it does.
        """
        now, sent = self._now().timestamp(), self._of(group)
        times = self._recent(group)
        count = len(times) + sent.in_flight_count
        free_at = [now, sent.blocked_until]
        for window_s, limit in self._allowed(group):
            if 0 <= limit <= count:
                place = count - limit
                oldest = times[place] if limit and place < len(times) else now
                free_at.append(oldest + window_s + min(WINDOW_MARGIN_S, window_s / 20))
        return max(free_at) - now

    def turn(self, group: str) -> asyncio.Lock:
        """Return what to hold while waiting for room."""
        return self._of(group).turn

    @contextmanager
    def on_its_way(self, group: str) -> Iterator[None]:
        """Count a request while it is on its way, and from its end on for an hour."""
        sent = self._of(group)
        sent.in_flight_count += 1
        try:
            yield
        finally:
            sent.in_flight_count -= 1
            self.spend(group)

    def spend(self, group: str) -> None:
        """Count a request that was answered, or failed, just now."""
        self._of(group).times = [*self._recent(group), self._now().timestamp()]

    def block(self, group: str, seconds: float) -> None:
        """Let no request of `group` out for `seconds`, as a 429 demands.

        Nor any other, where the limit may have been that of the address: a 429 tells not whose.
        """
        now = self._now().timestamp()
        for blocked in (group,) if self._is_of_group() else (group, "global"):
            self._of(blocked).blocked_until = now + seconds

    def _is_of_group(self) -> bool:
        return self.limits is not PRODUCTION_LIMITS and max(self._limit("global")) < 0

    def refuse(self, group: str) -> None:
        """Note that the request that ended just now was answered 429."""
        self._of(group).refused_times.append(self._now().timestamp())

    def leave_to_others(self, group: str, wait_s: float) -> bool:
        """Leave other programs what they seem to spend, for KSeF refused where we saw room.

        Of the windows that can ask to wait so long, the one that we had filled most is taken to
        be the full one. Return whether there seem to be others: where we had filled less than
        half, nobody knows whether those who did go on.
        """
        if not self._is_of_group():
            return False
        now, sent = self._now().timestamp(), self._of(group)
        filled = []
        for window_s, limit in zip(WINDOWS_S, self._limit(group), strict=True):
            begin = now - window_s
            accepted_count = _since(sent.times, begin) - _since(sent.refused_times, begin)
            if accepted_count < limit and wait_s <= window_s + 1:
                filled.append((accepted_count / limit, window_s, limit - accepted_count))
        share, window_s, others_count = max(filled, default=(0.0, 0.0, 0))
        if share < 0.5:
            return False
        # One more, and a few more of many: a window that is never full refuses nobody.
        sent.others[window_s] = others_count + 1 + others_count // 16
        return True

    def remaining_count(self, group: str) -> int | None:
        """Return how many requests the hour's window still takes; None when unlimited."""
        *_, (_, hourly) = self._allowed(group)
        return None if hourly < 0 else max(hourly - len(self._recent(group)), 0)

    def hourly_limit(self, group: str) -> int:
        """Return how many requests of `group` KSeF takes an hour; -1 is no limit."""
        return self._limit(group)[2]

    def request_times(self, group: str) -> list[datetime]:
        """Return when the requests of the last hour were made (UTC), oldest first."""
        return [datetime.fromtimestamp(time, UTC) for time in self._recent(group)]

    def restore(self, group: str, times: Iterable[datetime]) -> None:
        """Take over what earlier runs spent, so that their last hour counts in this one."""
        sent = self._of(group)
        sent.times = sorted([*sent.times, *(time.timestamp() for time in times)])

    def _of(self, group: str) -> Sent:
        return self._sent.setdefault(group, Sent())

    def _limit(self, group: str) -> tuple[int, int, int]:
        limit = self.limits.get(group) or PRODUCTION_LIMITS.get(group) or self.limits["other"]
        sharers = sent.sharer_count if (sent := self._sent.get(group)) else 1
        second, minute, hour = (max(n // sharers, 1) if n > 0 else n for n in limit)
        return second, minute, hour

    def _allowed(self, group: str) -> list[tuple[float, int]]:
        """Return each window (s) with what it lets us do, beside others; -1 is no limit."""
        others = self._of(group).others
        windows = zip(WINDOWS_S, self._limit(group), strict=True)
        return [(w, max(n - others.get(w, 0), 1) if n > 0 else n) for w, n in windows]

    def _recent(self, group: str) -> list[float]:
        """Return the times that a window still counts.

        A copy, for the progress display asks from its thread.
        """
        sent = self._sent.get(group)
        times = sent.times if sent else []
        limits = zip(WINDOWS_S, self._limit(group), strict=True)
        counted_s = max((window_s for window_s, limit in limits if limit >= 0), default=0.0)
        horizon = self._now().timestamp() - counted_s - WINDOW_MARGIN_S
        return times[bisect_right(times, horizon) :]


def _since(times: list[float], moment: float) -> int:
    return len(times) - bisect_right(times, moment)


class Gate:
    """A bound on requests in flight, given out by value (0 first), then fairly by taxpayer."""

    def __init__(self, size: int) -> None:
        self._free_count = size
        self._is_open = True
        self._asked: Counter[tuple[int, object]] = Counter()
        self._queue: list[tuple[int, int, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def place(self, value: int, who: object) -> AsyncIterator[None]:
        """Hold one place, once everything of more value has had one."""
        granted = asyncio.get_running_loop().create_future()
        self._asked[value, who] += 1
        heappush(self._queue, (value, self._asked[value, who], self._asked.total(), granted))
        self._grant()
        try:
            await granted
            yield
        finally:
            if granted.done() and not granted.cancelled():
                self._free_count += 1
            granted.cancel()
            self._grant()

    def open(self) -> None:
        """Let requests pass again."""
        self._is_open = True
        self._grant()

    def close(self) -> None:
        """Let no further request pass; those in flight go on."""
        self._is_open = False

    def _grant(self) -> None:
        while self._is_open and self._free_count > 0 and self._queue:
            *_, granted = heappop(self._queue)
            if not granted.done():
                granted.set_result(None)
                self._free_count -= 1


def backoff_s(attempt: int) -> float:
    """Return the seconds to wait after the first, second, … try that went wrong."""
    return float(FIRST_BACKOFF_S * 2 ** (attempt - 1))
