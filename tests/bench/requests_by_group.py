"""Part 1: requests by group, beside the fewest that tell everything and what one writes today.

The floor of a load: one request a session type and 1,000 sessions that changed, and one a changed
session and 1,000 of its invoices (of an open session: of its failures). A session without such
invoices costs none. Logging in is told apart.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import httpx

from ksef_emulator import Backlog, World, serve
from kseflow.constants import OPEN_STATUS_CODES, PAGE_SIZE
from tests.bench import rest_api
from tests.bench.emulated import AT, Emulated, asked_of
from tests.bench.figures import Bound, Figure, Scale
from tests.emulator.logging_in import finish_login, start_token_login

TITLE = "1. Requests, logins not counted"
LOGIN_COUNT = 7  # keys, challenge, token, status twice, redeem, limits
DAYS = 33
HOUR = timedelta(hours=1)
LOADS = ("first load", "a tenth changed", "nothing changed")


@dataclass(frozen=True)
class Shape:
    """What one taxpayer sent, and the moments of three loads of it."""

    name: str
    world: Callable[[], World]
    moments: tuple[datetime, datetime, datetime]


def alike(
    kind: Literal["Online", "Batch"], sessions: int, size: int, rejection_rate: float = 0.0
) -> Shape:
    """Return so many alike sessions, and a tenth as many that come after the first load."""
    count = sessions + max(1, sessions // 10)
    since = AT - timedelta(DAYS)
    step = timedelta(DAYS) / count
    backlog = Backlog(kind, count, size, rejection_rate, DAYS)
    name = f"{sessions:,}{' batch' if kind == 'Batch' else ''} × {size:,}"
    if rejection_rate:
        name += f", {rejection_rate:.0%} failed"
    return Shape(
        name,
        lambda: World(seed=7, taxpayers=1, since=since, backlog=backlog),
        (since + sessions * step - step / 2, AT + HOUR, AT + 2 * HOUR),
    )


MONTH = Shape(
    "a mixed month",
    lambda: World(seed=7, taxpayers=1, since=AT - timedelta(DAYS)),
    (AT - timedelta(days=3), AT, AT + HOUR),
)
SHAPES = (
    alike("Online", 100, 3),
    alike("Online", 1000, 3),
    alike("Online", 100, 25),
    alike("Batch", 10, 1000),
    alike("Batch", 1, 10_000),
    alike("Online", 1000, 3, 0.02),
    MONTH,
)
QUICK = (SHAPES[0], alike("Online", 100, 3, 0.02), SHAPES[3])


def figures(scale: Scale) -> Iterator[Figure]:
    """Count requests of three loads of each shape, ours and others'."""
    for shape in scale.of(QUICK, SHAPES):
        ours, floors = counted(shape), list(floor(shape))
        page_sizes = scale.of((), (1000, None))
        others = {
            f"rest_api by {size or 10:,}": list(counted_today(shape, size)) for size in page_sizes
        }
        for number, load in enumerate(LOADS):
            theirs = {name: float(counts[number].total()) for name, counts in others.items()}
            most = 1.5 if shape is MONTH else 1.0
            yield Figure(
                f"{shape.name}: {load}",
                without_login(ours[number]).total(),
                "requests",
                {"floor": float(floors[number].total()), **theirs},
                (Bound("floor", most=most),),
                is_count=True,
            )


def without_login(count: Counter[str]) -> Counter[str]:
    """Return requests by group without those of logging in."""
    return Counter({group: n for group, n in count.items() if group != "login"})


def counted(shape: Shape) -> list[Counter[str]]:
    """Return requests by group of each of our loads."""
    ksef = Emulated(shape.world(), shape.moments[0])
    found = []
    with TemporaryDirectory() as folder:
        for moment in shape.moments:
            ksef.move_to(moment)
            ksef.load(Path(folder) / "ksef-load.duckdb")
            found.append(ksef.asked())
    return found


def floor(shape: Shape) -> Iterator[Counter[str]]:
    """Yield the fewest requests by group for each load, as the head of this file tells."""
    world = shape.world()
    (who,) = world.taxpayers
    before: dict[str, Any] = {}
    for moment in shape.moments:
        now = {item["referenceNumber"]: item for item in world.sessions(who.context_id, moment)}
        changed = [item for name, item in now.items() if before.get(name) != item]
        kinds = Counter(item["sessionType"] for item in changed)
        yield +Counter(
            sessionList=sum(max(1, pages(kinds[kind])) for kind in ("Online", "Batch")),
            sessionInvoiceList=sum(pages(_listed_count(item)) for item in changed),
        )
        before = now


def _listed_count(item: dict[str, Any]) -> int:
    is_open = item["status"]["code"] in OPEN_STATUS_CODES
    return int(item["failedInvoiceCount" if is_open else "totalInvoiceCount"])


def pages(rows: int) -> int:
    """Return how many requests so many rows take."""
    return math.ceil(rows / PAGE_SIZE)


def counted_today(shape: Shape, page_size: int | None) -> Iterator[Counter[str]]:
    """Yield requests by group of each load with dlt's `rest_api`, over HTTP, login given."""
    ksef = Emulated(shape.world(), shape.moments[0])
    (who,) = ksef.world.taxpayers
    with (
        TemporaryDirectory() as folder,
        serve(ksef.app, keeps_connections=True) as base_url,
        httpx.Client(base_url=base_url) as client,
    ):
        pipeline = rest_api.pipeline(Path(folder))
        for moment in shape.moments:
            ksef.move_to(moment)
            tokens = finish_login(client, start_token_login(client, who.token, who.context_id))
            ksef.app.requests.clear()
            access = tokens["accessToken"]["token"]
            pipeline.extract(rest_api.source(base_url, access, page_size))
            yield asked_of(ksef.app)
