"""A small world, an emulator in process, and a login as any client would do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from ksef_emulator import Emulator, ExportSettings, VirtualClock, World
from tests.emulator.exporting import Exporter
from tests.emulator.logging_in import NOW, SINCE, Headers, bearer, finish_login, start_token_login


@pytest.fixture(scope="session")
def world() -> World:
    return World(seed=7, since=SINCE, largest_session=300)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def app(world: World, clock: VirtualClock) -> Emulator:
    return Emulator(world, clock, limits="off")


@pytest.fixture
def connect() -> Iterator[Callable[[Emulator], httpx.Client]]:
    clients: list[httpx.Client] = []

    def connected(app: Emulator) -> httpx.Client:
        transport = httpx.WSGITransport(app)
        clients.append(httpx.Client(base_url="http://ksef.test/v2", transport=transport))
        return clients[-1]

    yield connected
    for client in clients:
        client.close()


@pytest.fixture
def client(app: Emulator, connect: Callable[[Emulator], httpx.Client]) -> httpx.Client:
    return connect(app)


@pytest.fixture
def login(client: httpx.Client) -> Callable[[str, str], Headers]:
    def logged_in(token: str, nip: str) -> Headers:
        tokens = finish_login(client, start_token_login(client, token, nip))
        return bearer(tokens["accessToken"]["token"])

    return logged_in


@pytest.fixture
def headers(login: Callable[[str, str], Headers], world: World) -> Headers:
    """Headers of the first taxpayer, who sees all sessions."""
    taxpayer = world.taxpayers[0]
    return login(taxpayer.token, taxpayer.context_id)


@pytest.fixture
def make(
    world: World, clock: VirtualClock, connect: Callable[[Emulator], httpx.Client], headers: Headers
) -> Callable[..., Exporter]:
    """Make an exporter at an emulator of its own, with the given settings and options."""

    def made(exports: ExportSettings | None = None, **options: Any) -> Exporter:
        app = Emulator(world, clock, **{"limits": "off", "exports": exports, **options})
        return Exporter(connect(app), headers, clock)

    return made


@pytest.fixture
def exporter(make: Callable[..., Exporter]) -> Exporter:
    return make()
