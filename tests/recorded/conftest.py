"""The real client over recorded exchanges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

import pytest

from ksef_emulator import VirtualClock
from kseflow.api.client import KsefClient, make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.context import Context
from tests.recorded.replay import HOST, PREFIX, Exchange, Replay, moment_of
from tests.simulation import Asking, asking

LOGIN = TokenCredentials(Context("Nip", "7980332920"), "20260116-EC-0000000000-0000000000-00|x")
Replayed = Callable[..., tuple[Asking, Replay]]


def clients_of(replay: Replay, *recordings: Iterable[Exchange]) -> tuple[list[KsefClient], TimeBox]:
    """Return a client of what was recorded, at the time of its login."""
    first = next(exchange for found in recordings for exchange in found)
    prefix = PREFIX if first["path"].startswith(PREFIX) else ""
    at = moment_of(exchange for found in recordings for exchange in found)
    box = TimeBox(SimulatedClock(VirtualClock(at)))
    return make_clients(f"{HOST}{prefix}/v2", [LOGIN], box, transport=replay), box


@pytest.fixture
def replayed() -> Iterator[Replayed]:
    """Make a client whose requests are answered as recorded; what is noted goes first."""
    with ExitStack() as stack:

        def replayed(recording: list[Exchange], *noted: list[Exchange]) -> tuple[Asking, Replay]:
            replay = Replay(*noted, recording)
            (client,), _ = clients_of(replay, recording)
            return stack.enter_context(asking(client)), replay

        yield replayed
