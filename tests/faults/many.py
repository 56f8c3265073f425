"""Load many taxpayers at once, a tenth of whom fail in ten different ways; print what became.

`python -m tests.faults.many 500` prints JSON: who failed in which way, whose sessions are not
whole, answers 429, and the peak of this process's memory in MB.
"""

import json
import sys
import zlib
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import httpx

from ksef_emulator import Emulator, VirtualClock, World
from kseflow.api.client import make_clients
from kseflow.api.credentials import TokenCredentials
from kseflow.clock import SimulatedClock, TimeBox
from kseflow.context import Context
from kseflow.loading.run import load_clients
from kseflow.options import Options
from tests.bench.measured import used
from tests.simulation import Wire

AT = datetime(2026, 11, 17, 13, tzinfo=UTC)
JSON = "application/json"
Answer = Callable[[httpx.Request], httpx.Response | None]


def _on(path_end: str, status: int, content: bytes = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def answered(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith(path_end):
            return None
        # As a stream that nobody has read yet: httpx would unpack it at once.
        return httpx.Response(status, headers=named, stream=httpx.ByteStream(content))

    return answered


def _dropped(request: httpx.Request) -> httpx.Response | None:
    raise httpx.ReadError("the connection was reset")


def _bomb(megabytes: int) -> bytes:
    """Return blanks in gzip, which takes a thousandth of them."""
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(b" " * 1_000_000) for _ in range(megabytes)]
    return b"".join([*packed, packer.flush()])


# What goes wrong for one taxpayer, by the requests that carry its token; None: all is well.
FAULTS: dict[str, Answer] = {
    "token": lambda request: None,  # it is revoked
    "down": _on("/sessions", 503),
    "page": _on("/sessions", 200, b"<html>wait</html>", content_type="text/html"),
    "forbidden": _on("/sessions", 403, b'{"detail": "no", "reasonCode": "missing-permissions"}'),
    "refused": _on("/sessions", 400, b'{"exception": {"exceptionDetailList": []}}'),
    "no list": _on("/sessions", 200, b'{"sessions": 7}', content_type=JSON),
    "no json": _on("/sessions", 200, b"{", content_type=JSON),
    "odd limits": _on("/rate-limits", 200, b"[]", content_type=JSON),
    "bomb": _on("/sessions", 200, _bomb(300), content_type=JSON, content_encoding="gzip"),
    "dropped": _dropped,
}


class Trouble(Wire):
    """The wire to an emulator that answers some taxpayers wrongly."""

    def __init__(self, app: Emulator, ways: dict[str, str]) -> None:
        super().__init__(app, latency_s=0.1)
        self._ways = ways

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        way = self._ways.get(_context_of(request))
        answer = FAULTS[way](request) if way else None
        return answer or await super().handle_async_request(request)


def _context_of(request: httpx.Request) -> str:
    """Return the taxpayer that an access token is of."""
    payload = request.headers.get("Authorization", "..").split(".")[1]
    claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)) or b"{}")
    return str(claims.get("civ", "")) if claims.get("typ") == "ContextToken" else ""


def run(count: int) -> dict[str, object]:
    """Load once, and compare what each taxpayer has with its world."""
    world = World(
        seed=3, taxpayers=count, since=AT - timedelta(days=2), sessions_per_day=3, largest_session=5
    )
    clock = VirtualClock(AT)
    app = Emulator(world, clock, "production")
    ids = [who.context_id for who in world.taxpayers]
    ways = {ids[n]: list(FAULTS)[n // 10 % 10] for n in range(0, count, 10)}
    logins = [
        TokenCredentials(
            Context("Nip", who.context_id),
            who.revoked_token if ways.get(who.context_id) == "token" else who.token,
        )
        for who in world.taxpayers
    ]
    box = TimeBox(SimulatedClock(clock), 3000)
    clients = make_clients("http://127.0.0.1/v2", logins, box, transport=Trouble(app, ways))
    with TemporaryDirectory() as folder:
        database = Path(folder) / "ksef-load.duckdb"
        summary = load_clients(clients, database, box, Options(exports_per_hour=0))
        with duckdb.connect(str(database), read_only=True) as connection:
            rows = connection.execute("select context_id, reference_number from ksef_raw.sessions")
            stored = set(rows.fetchall())
    failed = {context.id for context in summary.failed_taxpayers}
    messages = {
        log["taxpayer"].id: log["message"] for log in summary.logs if log["outcome"] == "failed"
    }
    return {
        "failed": {way: sum(ways[i] == way for i in failed & ways.keys()) for way in FAULTS},
        "failed for no reason": sorted(failed - ways.keys()),
        "messages": {ways[i]: text for i, text in messages.items() if i in ways},
        "not whole": [
            i
            for i in ids
            if i not in ways
            and not {(i, item["referenceNumber"]) for item in world.sessions(i, AT)} <= stored
        ],
        "throttled": sum(s.throttled_count for c in clients for s in c.spending.values()),
        "peak_mb": int(used()[1]),
    }


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1])), ensure_ascii=False, indent=1))
