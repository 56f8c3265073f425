"""Time as an input: the only place that reads the clock or sleeps."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from kseflow.errors import OutOfTime


class Clock(Protocol):
    """What the code needs of time: a moment (aware, UTC) and a wait (seconds)."""

    def now(self) -> datetime: ...
    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class TimeBox:
    """A clock with an end: a wait that would pass it, or a stop, raises `OutOfTime` at once.

    Waiting is done in steps of at most a second, so that `stop` (Ctrl-C) is noticed.
    """

    def __init__(self, clock: Clock, max_time_s: float | None = None) -> None:
        self.clock = clock
        self.started_at = clock.now()
        self.ends_at = None if max_time_s is None else self.started_at + timedelta(0, max_time_s)
        self.is_stopped = False

    def now(self) -> datetime:
        return self.clock.now()

    def stop(self) -> None:
        """Let the next wait or check raise `OutOfTime`."""
        self.is_stopped = True

    def check(self, wait_s: float = 0.0) -> None:
        """Raise `OutOfTime` when stopped, or when `wait_s` seconds from now is past the end."""
        if self.is_stopped:
            raise OutOfTime("stopped by request; run the load again to go on from here")
        if self.ends_at is not None and self.now() + timedelta(0, wait_s) > self.ends_at:
            raise OutOfTime(
                f"the next request may go out in {wait_s:.0f} s, after the time box ends "
                f"at {self.ends_at:%H:%M:%S} UTC; the next load goes on from here",
                wait_s=wait_s,
            )

    def sleep(self, seconds: float) -> None:
        self.check(seconds)
        wakes_at = self.now() + timedelta(0, seconds)
        while (left_s := (wakes_at - self.now()).total_seconds()) > 0:
            self.clock.sleep(min(left_s, 1.0))
            self.check()
