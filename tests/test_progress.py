"""What a person at a terminal sees while a load runs."""

import io
import logging
from collections.abc import Callable
from typing import Any

import httpx
from rich.console import Console

from kseflow.api.client import make_clients
from kseflow.loading.extraction import Extraction
from kseflow.loading.taxpayer import load_share
from kseflow.loading.warehouse import Warehouse
from kseflow.options import Options
from kseflow.progress import Narrator, narrated
from kseflow.raw.tables import TABLES
from tests.conftest import Stage


def frames(made: Stage, **shape: Any) -> list[str]:
    """Render the display before each request of an extraction."""
    with made.served() as base_url:
        narrator, shown = Narrator("logging in"), list[str]()

        class Watched(httpx.AsyncHTTPTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                console = Console(file=(screen := io.StringIO()), width=200)
                console.print(narrator)
                shown.append(screen.getvalue())
                return await super().handle_async_request(request)

        box = made.box()
        clients = make_clients(base_url, made.logins(), box, transport=Watched())
        extraction = Extraction(clients, box, Options(**shape), load_share)
        narrator.watch(extraction)
        tables = frozenset(table.name for table in TABLES)
        extraction.begin(Warehouse(lambda sql: None, str), lambda name: {}, tables)
        while not extraction.is_done:
            extraction.take()
    return shown


def test_each_lane_says_for_whom_what_how_far_and_what_the_hour_still_takes(
    stage: Callable[..., Stage],
) -> None:
    made = stage(taxpayers=1, days=3, limits="production", sessions_per_day=30)
    (context,) = made.contexts
    told = "".join(frames(made, exports_from=made.world.since))
    for text in (
        str(context),
        "listing Online sessions",
        "reading invoices",
        "exporting as Subject1",
        "requests left this hour",
        "waits until",
        "for sessionInvoiceList",
    ):
        assert text in told, text


def test_a_hundred_lanes_fit_on_a_screen(stage: Callable[..., Stage]) -> None:
    made = stage(taxpayers=15, days=1, sessions_per_day=2, largest_session=3)
    shown = frames(made, exports_per_hour=0)
    assert max(frame.count("\n") for frame in shown) <= 14
    assert any("more" in frame for frame in shown)


def test_a_terminal_gets_the_live_display_and_a_file_gets_lines(
    stage: Callable[..., Stage],
) -> None:
    shown, written = io.StringIO(), io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=120)
    with narrated(terminal, what="logging in"):
        pass
    assert "logging in" in shown.getvalue()
    lines = Console(file=written)
    with narrated(lines, what="logging in"):
        pass
    assert written.getvalue() == ""


def test_what_is_told_once_is_not_told_again_by_others_handlers() -> None:
    others = logging.StreamHandler(told := io.StringIO())
    logging.getLogger().addHandler(others)
    try:
        with narrated(Console(file=(written := io.StringIO()))):
            logging.getLogger("kseflow.marts.build").info("building the marts")
    finally:
        logging.getLogger().removeHandler(others)
    assert "building the marts" in written.getvalue()
    assert told.getvalue() == ""
