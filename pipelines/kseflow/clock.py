"""Time as an input: the only place that reads the clock, waits, or makes an event loop."""

import asyncio
import math
import selectors
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Protocol, Self, TypeVar

from kseflow.constants import WARSAW
from kseflow.errors import OutOfTime

Result = TypeVar("Result")


class Loop(Protocol):
    """An event loop that others may wait for: `run` returns what a coroutine returns."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: Any, error: Any, trace: Any, /) -> None: ...
    def run(self, coro: Coroutine[Any, Any, Result], /) -> Result: ...


class Clock(Protocol):
    """What the code needs of time: a moment (aware, UTC), and loops whose time is the same."""

    def now(self) -> datetime: ...
    def loop(self) -> Loop: ...


class SystemClock:
    """The machine's own clock; its loops go on in a thread while nobody waits for them."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def loop(self) -> Loop:
        return _LoopThread()


class _LoopThread:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kseflow", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def run(self, coro: Coroutine[Any, Any, Result], /) -> Result:
        return asyncio.run_coroutine_threadsafe(coro, self._loop).result()

    def __exit__(self, kind: Any, error: Any, trace: Any, /) -> None:
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    await asyncio.get_running_loop().shutdown_default_executor()


class Steppable(Protocol):
    """A clock that stands still until somebody sleeps on it, as an emulator's does."""

    def now(self) -> datetime: ...
    def sleep(self, seconds: float) -> None: ...


class SimulatedClock:
    """Let a steppable clock pass while everything waits: days of loads in seconds.

    Its loops run only while somebody waits for them, in that one's thread, and so do the
    threads that they would start: the same things happen in the same order each time. While a
    real socket is waited for, the clock stands.
    """

    def __init__(self, clock: Steppable) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    def loop(self) -> Loop:
        return asyncio.Runner(loop_factory=lambda: _SimulatedLoop(self._clock))


class _SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Steppable) -> None:
        self._steppable, self._began_at = clock, clock.now()
        self._timers = count()
        super().__init__(_SimulatedSelector(clock))

    def time(self) -> float:
        # Not since 1970: asyncio's resolution of a nanosecond would be lost in such a number.
        return (self._steppable.now() - self._began_at).total_seconds()

    def call_at(  # type: ignore[override]
        self, when: float, *args: Any, **kwargs: Any
    ) -> asyncio.TimerHandle:
        # What is due at one moment goes in the order it was asked for, however often a socket
        # was read in between; the clock moves by whole microseconds, so nothing comes later.
        later = next(self._timers) % 90_000 * 1e-11
        return super().call_at(when + later, *args, **kwargs)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> asyncio.Future[Any]:
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


class _SimulatedSelector(selectors.DefaultSelector):
    """Step the clock instead of waiting, unless a socket beside the loop's own is waited for."""

    def __init__(self, clock: Steppable) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout > 0:
            if len(self.get_map()) > 1:
                timeout = None
            else:
                # Rounded up to what a datetime holds: a timer must find its moment come.
                self._clock.sleep(math.ceil(timeout * 1e6) / 1e6)
                timeout = 0
        return super().select(timeout)


def moment_text(moment: datetime) -> str:
    """Write a moment as a person in Poland reads it, with its zone."""
    return moment.astimezone(WARSAW).strftime("%Y-%m-%d %H:%M %Z")


class TimeBox:
    """A clock with an end: what would pass it, or a stop, raises `OutOfTime` at once."""

    def __init__(self, clock: Clock, max_time_s: float | None = None) -> None:
        self.clock = clock
        self.started_at = clock.now()
        self.ends_at = None if max_time_s is None else self.started_at + timedelta(0, max_time_s)
        self.is_stopped = False
        self._waits: set[tuple[asyncio.AbstractEventLoop, asyncio.Timeout]] = set()

    def now(self) -> datetime:
        return self.clock.now()

    def loop(self) -> Loop:
        return self.clock.loop()

    def stop(self) -> None:
        """End all waits and requests with `OutOfTime`, and let no other begin; any thread may."""
        self.is_stopped = True
        for loop, wait in list(self._waits):
            loop.call_soon_threadsafe(_end, loop, wait)

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

    async def sleep(self, seconds: float) -> None:
        """Wait; raises `OutOfTime` at once when the box would end before."""
        self.check(seconds)
        async with self.within(None):
            await asyncio.sleep(seconds)

    @asynccontextmanager
    async def within(self, seconds: float | None) -> AsyncIterator[None]:
        """End what is done inside with `TimeoutError` after so many seconds (None: never).

        With `OutOfTime` when the box ends before, or is stopped.
        """
        self.check()
        left_s = None if self.ends_at is None else (self.ends_at - self.now()).total_seconds()
        is_last = left_s is not None and (seconds is None or left_s < seconds)
        wait = None
        try:
            async with asyncio.timeout(left_s if is_last else seconds) as timeout:
                wait = asyncio.get_running_loop(), timeout
                self._waits.add(wait)
                yield
        except TimeoutError:
            self.check()
            if is_last:
                raise OutOfTime("the time box has ended; the next load goes on from here") from None
            raise
        finally:
            if wait is not None:
                self._waits.discard(wait)


def _end(loop: asyncio.AbstractEventLoop, wait: asyncio.Timeout) -> None:
    if not wait.expired():
        try:
            wait.reschedule(loop.time())
        except RuntimeError:  # it has ended meanwhile
            return
