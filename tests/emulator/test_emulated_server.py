from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic
from typing import Literal

import httpx
import pytest

from ksef_emulator import Emulator, Fault, RunningClock, VirtualClock, World, serve
from tests.emulator.logging_in import NOW


def test_the_emulator_answers_on_a_real_socket_and_stops_promptly(app: Emulator) -> None:
    with serve(app) as base_url:
        assert base_url.endswith("/v2")
        assert httpx.post(f"{base_url}/auth/challenge").status_code == 200
        began = monotonic()
    assert monotonic() - began < 0.5
    with pytest.raises(httpx.ConnectError):
        httpx.post(f"{base_url}/auth/challenge")


def test_many_requests_at_once_are_all_answered(app: Emulator) -> None:
    with serve(app) as base_url, ThreadPoolExecutor(8) as pool:
        url = f"{base_url}/auth/challenge"
        answers = list(pool.map(lambda _: httpx.post(url).json()["challenge"], range(40)))
    assert len(set(answers)) == 40
    assert len(app.requests) == 40


def connection_to(base_url: str) -> HTTPConnection:
    return HTTPConnection(base_url.removeprefix("http://").removesuffix("/v2"), timeout=30)


def ask(connection: HTTPConnection, path: str = "/v2/auth/challenge", body: str = "{}") -> int:
    connection.request("POST", path, body)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_a_connection_is_kept_for_the_next_request_even_after_a_body_nobody_read(
    app: Emulator,
) -> None:
    with serve(app, keeps_connections=True) as base_url:
        connection = connection_to(base_url)
        connection.connect()
        first = connection.sock
        statuses = [ask(connection, path) for path in ("/v2/auth/challenge", "/v2/nowhere") * 2]
        assert statuses == [200, 404, 200, 404]
        assert connection.sock is first
    # The end of the server is the end of its connections, so no thread waits for more.
    assert first.recv(1) == b""
    connection.close()


def test_a_client_that_hangs_up_is_no_news(
    app: Emulator, capfd: pytest.CaptureFixture[str]
) -> None:
    with serve(app, latency_s=0.1) as base_url:
        connection = connection_to(base_url)
        connection.request("POST", "/v2/auth/challenge")
        assert connection.sock
        reset_on_close = struct.pack("ii", 1, 0)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_on_close)
        connection.close()
        # Asked later, so answered later.
        assert httpx.post(f"{base_url}/auth/challenge").status_code == 200
    assert capfd.readouterr().err == ""


def test_late_answers_are_late_together_not_one_after_the_other(app: Emulator) -> None:
    with (
        serve(app, latency_s=0.2, keeps_connections=True) as base_url,
        ThreadPoolExecutor(100) as pool,
    ):
        connections = [connection_to(base_url) for _ in range(100)]
        for _ in range(2):  # on new connections, on kept ones
            began = monotonic()
            assert set(pool.map(ask, connections)) == {200}
            # One after the other they would take 20 s; an idle machine needs 0.25 s.
            assert 0.2 <= monotonic() - began < 5
        for connection in connections:
            connection.close()
    assert len(app.requests) == 200


def test_a_slow_answer_holds_up_nobody_else(world: World) -> None:
    faults = [Fault("slow", path="/v2/rate-limits", delay_s=3600)]
    app = Emulator(world, RunningClock(NOW, speed=1200), faults=faults)
    with serve(app) as base_url, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(httpx.get, f"{base_url}/rate-limits", timeout=60)
        assert httpx.post(f"{base_url}/auth/challenge").status_code == 200
        assert not slow.done()
        assert slow.result().status_code == 401


@pytest.mark.parametrize("kind", ["dropped", "truncated"])
def test_broken_connections_break_the_request_on_a_socket(
    world: World, clock: VirtualClock, kind: Literal["dropped", "truncated"]
) -> None:
    app = Emulator(world, clock, faults=[Fault(kind)])
    with serve(app) as base_url:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(f"{base_url}/auth/challenge", timeout=5)
        assert httpx.post(f"{base_url}/auth/challenge").status_code == 200


def test_a_virtual_clock_moves_on_request_and_a_running_one_refuses(
    app: Emulator, world: World
) -> None:
    with serve(app) as base_url:
        root = base_url.removesuffix("/v2")
        moved = httpx.post(f"{root}/emulator/clock", json={"advance_s": 90}).json()
        assert datetime.fromisoformat(moved["now"]) == NOW + timedelta(seconds=90)
        shown = httpx.get(f"{root}/emulator").json()
        assert shown["now"] == moved["now"]
        assert shown["taxpayers"] == [taxpayer.context_id for taxpayer in world.taxpayers]
        wrong = httpx.post(f"{root}/emulator/clock", json={"advance_s": "soon"})
        assert wrong.status_code == 400
    with serve(Emulator(world, RunningClock(NOW))) as base_url:
        root = base_url.removesuffix("/v2")
        assert httpx.post(f"{root}/emulator/clock", json={"advance_s": 1}).status_code == 409


def test_a_running_clock_goes_at_its_speed_from_its_start() -> None:
    clock = RunningClock(NOW, speed=10_000)
    clock.sleep(100)
    assert NOW + timedelta(seconds=100) <= clock.now() < NOW + timedelta(hours=10)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """The emulator as its own process, standing still at NOW."""
    arguments = ["--speed", "0", "--at", NOW.isoformat(), "--taxpayers", "1", "--seed", "9"]
    arguments += ["--latency-ms", "50"]
    started = subprocess.Popen(
        [sys.executable, "-m", "ksef_emulator", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    yield started
    started.kill()
    started.wait()
    assert started.stdout
    started.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_process_introduces_itself_in_one_line_and_ends_cleanly(
    process: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert process.stdout
    said = json.loads(process.stdout.readline())
    taxpayer = World(seed=9).taxpayers[0]
    assert datetime.fromisoformat(said["now"]) == NOW
    assert [(t["nip"], t["token"]) for t in said["taxpayers"]] == [
        (taxpayer.context_id, taxpayer.token)
    ]
    certificates = said["taxpayers"][0]["certificates"]
    assert {files["kind"] for files in certificates} == {"rsa", "ec", "pkcs12"}
    assert all(Path(files["key"]).exists() and files["password"] for files in certificates)
    began = monotonic()
    assert httpx.post(f"{said['base_url']}/auth/challenge").status_code == 200
    assert monotonic() - began >= 0.05
    process.send_signal(number)
    assert process.wait(timeout=10) == 0
    assert process.stdout.read() == ""
    assert not any(Path(files["key"]).exists() for files in certificates)
