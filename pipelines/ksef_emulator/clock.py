"""Time as an input: the emulator asks one of these clocks and never the machine."""

from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

TICKS_PER_S = 10_000_000
"""KSeF's dates have 7 decimals, so moments are whole ticks of 100 ns since 1970 (UTC)."""

HOUR = 3600 * TICKS_PER_S
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WARSAW = ZoneInfo("Europe/Warsaw")


def to_ticks(moment: datetime) -> int:
    """Convert an aware datetime to ticks."""
    return (moment - EPOCH) // timedelta(microseconds=1) * 10


def to_datetime(ticks: int) -> datetime:
    """Convert ticks to an aware UTC datetime; the seventh decimal is cut off."""
    return EPOCH + timedelta(microseconds=ticks // 10)


def iso_ticks(ticks: int) -> str:
    """Write a moment as KSeF does: up to 7 decimals, without zeros at their end, and +00:00.

    A whole second has all seven: it is an emulated clock that stands on it, never KSeF's.
    Source: recorded challenges and permanentStorageDates with 6 decimals among those with 7
    """
    seconds, fraction = divmod(ticks, TICKS_PER_S)
    decimals = f"{fraction:07d}"
    return f"{_iso_second(seconds)}.{decimals.rstrip('0') or decimals}+00:00"


def iso_micros(ticks: int) -> str:
    """Write a moment cut to 6 decimals, as permanentStorageDate in _metadata.json is."""
    seconds, fraction = divmod(ticks, TICKS_PER_S)
    return f"{_iso_second(seconds)}.{fraction // 10:06d}+00:00"


def iso_seconds(ticks: int) -> str:
    """Write a moment cut to whole seconds, as dateUpdated is."""
    return f"{_iso_second(ticks // TICKS_PER_S)}+00:00"


@lru_cache(1 << 14)
def _iso_second(seconds: int) -> str:
    # Invoices of a session share their seconds, and formatting is what costs.
    return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"


def warsaw_date(ticks: int) -> date:
    """Return the Polish day of a moment; days begin and end at whole hours of UTC."""
    return _warsaw_date(ticks // HOUR)


@lru_cache(1 << 12)
def _warsaw_date(hour: int) -> date:
    return to_datetime(hour * HOUR).astimezone(WARSAW).date()


class Clock(Protocol):
    """What the emulator needs to know about time."""

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


class VirtualClock:
    """Stand still until somebody sleeps on it: frozen when nobody does, stepped when one does."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def sleep(self, seconds: float) -> None:
        """Advance at once by so many seconds; a negative number moves nothing."""
        with self._lock:
            self._now += timedelta(seconds=max(0.0, seconds))


class RunningClock:
    """Run from `start` (default: now) at `speed` emulated seconds a real second."""

    def __init__(self, start: datetime | None = None, speed: float = 1.0) -> None:
        self._start = start.astimezone(UTC) if start else datetime.now(UTC)
        self._speed = speed
        self._began = time.monotonic()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=(time.monotonic() - self._began) * self._speed)

    def sleep(self, seconds: float) -> None:
        """Wait so many emulated seconds."""
        time.sleep(max(0.0, seconds) / self._speed)
