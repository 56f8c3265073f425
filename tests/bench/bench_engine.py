"""How long loads of many taxpayers take when KSeF has nothing new, and what they cost.

python tests/bench/bench_engine.py socket 500      # an emulator process that delays its answers
python tests/bench/bench_engine.py simulated 5000  # virtual time, without sockets

Prints for the first load and the one after it: seconds, requests by group, answers 429, the most
requests in flight, CPU seconds, and the peak of memory in MB; and what the same requests would
take one after the other.
"""

import json
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ksef_emulator import Emulator, RunningClock, VirtualClock, World, serve
from kseflow.api.client import make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import Clock, SimulatedClock, SystemClock, TimeBox
from kseflow.context import Context
from kseflow.loading.run import load_clients
from kseflow.options import Options

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.simulation import Wire

LATENCY_S = 0.1
AT = datetime(2026, 11, 17, 13, tzinfo=UTC)


def load_twice(
    clock: Clock, base_url: str, logins: list[TokenCredentials], wire: Wire | None = None
) -> None:
    """Load a new database twice and print what that took."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first load", "nothing new"):
            box = TimeBox(clock, 3000)
            clients = make_clients(base_url, logins, box, transport=wire)
            cpu_s = time.process_time()
            summary = load_clients(
                clients, Path(folder) / "k-load.duckdb", box, Options(exports_per_hour=0)
            )
            took_s = (summary.ended_at - summary.started_at).total_seconds()
            count = sum(summary.request_counts.values())
            throttled = sum(s.throttled_count for c in clients for s in c.spending.values())
            told: dict[str, Any] = {
                "load": name,
                "taxpayers": len(logins),
                "seconds": round(took_s, 1),
                "one after the other": round(count * LATENCY_S),
                "requests": summary.request_counts,
                "429": throttled,
                "failed": len(summary.failed_taxpayers),
                "cpu_s": round(time.process_time() - cpu_s, 1),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
            if wire is not None:
                told["most in flight"] = wire.most_in_flight_count
            print(json.dumps(told), flush=True)


def small_world(taxpayers: int, since: datetime) -> World:
    return World(seed=3, taxpayers=taxpayers, since=since, sessions_per_day=3, largest_session=5)


def emulate(taxpayers: int, told: Connection) -> None:
    """Serve a small world with late answers, in a process of its own, until told to end."""
    clock = RunningClock()
    world = small_world(taxpayers, clock.now() - timedelta(days=2))
    app = Emulator(world, clock, "production")
    with serve(app, latency_s=LATENCY_S, keeps_connections=True) as base_url:
        told.send((base_url, [(who.context_id, who.token) for who in world.taxpayers]))
        told.recv()


def over_a_socket(taxpayers: int) -> None:
    here, there = Pipe()
    emulator = get_context("spawn").Process(target=emulate, args=(taxpayers, there))
    emulator.start()
    base_url, who = here.recv()
    logins = [TokenCredentials(Context("Nip", nip), token) for nip, token in who]
    try:
        load_twice(SystemClock(), base_url, logins)
    finally:
        here.send("end")
        emulator.join()


def simulated(taxpayers: int) -> None:
    world = small_world(taxpayers, AT - timedelta(days=2))
    clock = VirtualClock(AT)
    logins = [
        TokenCredentials(Context("Nip", who.context_id), who.token) for who in world.taxpayers
    ]
    wire = Wire(Emulator(world, clock, "production"), LATENCY_S)
    load_twice(SimulatedClock(clock), "http://127.0.0.1/v2", logins, wire)


if __name__ == "__main__":
    {"socket": over_a_socket, "simulated": simulated}[sys.argv[1]](int(sys.argv[2]))
