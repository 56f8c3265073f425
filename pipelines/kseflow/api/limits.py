"""KSeF's rate limits, kept on our side so that a healthy run never meets a 429.

Three sliding windows (1 s, 60 s, 60 min) per taxpayer and group of endpoints; the first that is
full blocks. Source: GET /rate-limits and docs limity/limity-api.md.
"""

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from kseflow.clock import TimeBox
from kseflow.constants import PRODUCTION_LIMITS, WINDOW_MARGIN_S

log = logging.getLogger(__name__)

LONG_WAIT_S = 2.0  # a longer one is worth a line in the log
WINDOWS_S = (1.0, 60.0, 3600.0)


@dataclass
class Spending:
    """What one group of endpoints cost one taxpayer in this run."""

    request_count: int = 0
    throttled_count: int = 0
    retry_count: int = 0
    waited_s: float = 0.0
    received_bytes: int = 0


class SlidingWindows:
    """One taxpayer's requests of the last hour per group, and when the next may go out.

    The `anonymous` group (login, public keys) is counted by KSeF per address, not per taxpayer:
    windows made with the same `anonymous` list share it.
    """

    def __init__(self, now: Callable[[], datetime], anonymous: list[float] | None = None) -> None:
        self._now = now
        self._times: dict[str, list[float]] = {"anonymous": [] if anonymous is None else anonymous}
        self._blocked_until: dict[str, float] = {}
        self.limits: Mapping[str, tuple[int, int, int]] = PRODUCTION_LIMITS

    def delay_s(self, group: str) -> float:
        """Return the seconds until a request of `group` fits all three windows."""
        now, times = self._now().timestamp(), self._recent(group)
        free_at = [now, self._blocked_until.get(group, now)]
        for window_s, limit in zip(WINDOWS_S, self._limit(group), strict=True):
            if 0 <= limit <= len(times):
                free_at.append((times[-limit] if limit else now) + window_s + WINDOW_MARGIN_S)
        return max(free_at) - now

    def spend(self, group: str) -> None:
        """Count a request that was answered, or failed, just now."""
        times = self._times.setdefault(group, [])
        times[:] = [*self._recent(group), self._now().timestamp()]

    def block(self, group: str, seconds: float) -> None:
        """Let no request of `group` out for `seconds`, as a 429 demands."""
        self._blocked_until[group] = self._now().timestamp() + seconds

    def remaining_count(self, group: str) -> int | None:
        """Return how many requests the hour's window still takes; None when unlimited."""
        hourly = self.hourly_limit(group)
        return None if hourly < 0 else max(hourly - len(self._recent(group)), 0)

    def hourly_limit(self, group: str) -> int:
        """Return how many requests of `group` KSeF takes an hour; -1 is no limit."""
        return self._limit(group)[2]

    def request_times(self, group: str) -> list[datetime]:
        """Return when the requests of the last hour were made (UTC), oldest first."""
        return [datetime.fromtimestamp(time, UTC) for time in self._recent(group)]

    def restore(self, group: str, times: Iterable[datetime]) -> None:
        """Take over what earlier runs spent, so that their last hour counts in this one."""
        recent = self._times.setdefault(group, [])
        recent[:] = sorted([*recent, *(time.timestamp() for time in times)])

    def _limit(self, group: str) -> tuple[int, int, int]:
        return self.limits.get(group) or PRODUCTION_LIMITS.get(group) or self.limits["other"]

    def _recent(self, group: str) -> list[float]:
        """Return the last hour's times; a copy, for the progress display asks from its thread."""
        times = self._times.get(group, [])
        horizon = self._now().timestamp() - WINDOWS_S[-1] - WINDOW_MARGIN_S
        return times[bisect_right(times, horizon) :]


class PacedTransport(httpx.BaseTransport):
    """Hold each request back until its group's windows have room; count what it cost."""

    def __init__(self, inner: httpx.BaseTransport, windows: SlidingWindows, box: TimeBox) -> None:
        self._inner = inner
        self.windows = windows
        self.box = box
        self.spending: dict[str, Spending] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        group = request.extensions["group"]
        self.admit(group)
        spent = self.spending[group]
        spent.request_count += 1
        try:
            response = self._inner.handle_request(request)
            response.read()
        finally:
            self.windows.spend(group)
        spent.received_bytes += len(response.content)
        return response

    def admit(self, group: str) -> None:
        """Wait until the windows of `group` have room."""
        spent = self.spending.setdefault(group, Spending())
        self.box.check()
        if (wait_s := self.windows.delay_s(group)) > 0:
            if wait_s > LONG_WAIT_S:
                log.info("waiting %.0f s for KSeF's %s limit", wait_s, group)
            self.box.sleep(wait_s)
            spent.waited_s += wait_s

    def close(self) -> None:
        self._inner.close()
