"""Serve an emulator until it is stopped, for any KSeF client in another process."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from ksef_emulator.api.exports.settings import ExportSettings
from ksef_emulator.clock import Clock, RunningClock, VirtualClock
from ksef_emulator.emulator import Emulator
from ksef_emulator.server import serve
from ksef_emulator.world.world import World

HISTORY = timedelta(days=21)


def emulate(
    *,
    port: int = 0,
    seed: int = 7,
    taxpayers: int = 2,
    at: datetime | None = None,
    speed: float = 1.0,
    limits: Literal["production", "off"] = "production",
    latency_ms: float = 0.0,
    before: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Print one line of JSON and serve until SIGINT or SIGTERM.

    The line has base_url, now, and for each taxpayer the NIP, the KSeF token and the
    certificate files, which are removed at the end. `before` is given the same before it is
    printed. `at` defaults to now; `speed` is emulated
    seconds a second, 0 a clock that moves only by POST /emulator/clock: exports are done at once
    then. Each answer is sent `latency_ms` real milliseconds late.
    """
    start = at or RunningClock().now()
    since = datetime.combine((start - HISTORY).astimezone(UTC), time(), UTC)
    world = World(seed=seed, taxpayers=taxpayers, since=since)
    clock: Clock = RunningClock(start, speed) if speed else VirtualClock(start)
    exports = ExportSettings(duration_s=None if speed else 0)
    app = Emulator(world, clock, limits, exports=exports)
    served = serve(app, port, latency_s=latency_ms / 1000, keeps_connections=True)
    with _stop_signal() as stop, TemporaryDirectory() as folder, served as base_url:
        introduction = _introduction(app, base_url, Path(folder))
        if before is not None:
            before(introduction)
        print(json.dumps(introduction, default=str), flush=True)
        stop.wait()


def _introduction(app: Emulator, base_url: str, folder: Path) -> dict[str, Any]:
    files = app.certificate_files(folder)
    taxpayers = [
        {
            "nip": taxpayer.context_id,
            "name": taxpayer.name,
            "token": taxpayer.token,
            "certificates": [asdict(f) for f in files[taxpayer.context_id]],
        }
        for taxpayer in app.world.taxpayers
    ]
    return {"base_url": base_url, "now": app.clock.now().isoformat(), "taxpayers": taxpayers}


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event for as long as the context lasts."""
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in signals]
    try:
        yield stop
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
