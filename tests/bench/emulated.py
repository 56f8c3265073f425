"""An emulated KSeF in this process, on simulated time, and loads from it without sockets."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ksef_emulator import Emulator, Quirks, RunningClock, VirtualClock, World, serve
from kseflow.api.client import KsefClient, make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.context import Context
from kseflow.loading.run import load_clients
from kseflow.loading.summary import LoadSummary
from kseflow.options import Options
from tests.simulation import Wire

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

AT = datetime(2026, 11, 17, 13, tzinfo=UTC)
BASE_URL = "http://127.0.0.1:9/v2"  # where nothing listens
LATENCY_S = 0.1

Login = tuple[str, str]  # NIP and token


class TimedEmulator(Emulator):
    """An emulator that knows what it sent, and its CPU seconds, which are none of kseflow's."""

    cpu_s = sent_mb = 0.0

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        begun = time.thread_time()
        try:
            answer = list(super().__call__(environ, start_response))
            self.sent_mb += sum(map(len, answer)) / 1e6
            return answer
        finally:
            self.cpu_s += time.thread_time() - begun


@dataclass
class Emulated:
    """A world at KSeF whose pages are as long as asked, so that requests can be foretold."""

    world: World
    at: datetime = AT
    limits: Any = "off"
    latency_s: float = 0.0
    clock: VirtualClock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = VirtualClock(self.at)
        quirks = Quirks(short_pages=False)
        self.app = TimedEmulator(self.world, self.clock, self.limits, quirks=quirks)
        self.wire = Wire(self.app, self.latency_s)

    @property
    def logins(self) -> list[TokenCredentials]:
        return [
            TokenCredentials(Context("Nip", who.context_id), who.token)
            for who in self.world.taxpayers
        ]

    def clients(self, box: TimeBox) -> list[KsefClient]:
        return make_clients(BASE_URL, self.logins, box, transport=self.wire)

    def move_to(self, moment: datetime) -> None:
        """Let time pass until a moment."""
        self.clock.sleep((moment - self.clock.now()).total_seconds())

    def load(self, database: Path, max_time_s: float | None = None, **options: Any) -> LoadSummary:
        """Load once, without exports; what was asked before is forgotten."""
        self.app.requests.clear()
        box = TimeBox(SimulatedClock(self.clock), max_time_s)
        asked = Options(exports_per_hour=0, **options)
        return load_clients(self.clients(box), database, box, asked)

    def asked(self) -> Counter[str]:
        """Return how many requests were made by group, those that logging in takes under one."""
        return asked_of(self.app)

    def refused_count(self) -> int:
        """Return how many requests were answered 429."""
        return sum(request.status == 429 for request in self.app.requests)


LOGIN = {"anonymous", "other", "unlimited"}


def asked_of(app: Emulator) -> Counter[str]:
    """Return how many requests an emulator remembers by group, "login" for all of a login."""
    found = (request.group for request in app.requests)
    return Counter("login" if group in LOGIN else group for group in found)


@contextmanager
def emulator_process(make: Callable[[datetime], World]) -> Iterator[tuple[str, list[Login]]]:
    """Serve a world in a process of its own, on real time and without limits.

    `make` makes it for now. Gives the base URL, and NIP and token of each taxpayer.
    """
    here, there = multiprocessing.Pipe()
    emulator = multiprocessing.get_context("spawn").Process(target=_serve, args=(make, there))
    emulator.start()
    try:
        yield here.recv()
    finally:
        here.send("end")
        emulator.join()


def _serve(make: Callable[[datetime], World], told: Connection) -> None:
    clock = RunningClock()
    world = make(clock.now())
    app = Emulator(world, clock, "off", quirks=Quirks(short_pages=False))
    with serve(app, keeps_connections=True) as base_url:
        told.send((base_url, [(who.context_id, who.token) for who in world.taxpayers]))
        told.recv()
