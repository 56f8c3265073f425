"""All operations of KSeF's API: those that the emulator does not serve answer 501 by name.

Source: open-api.json, from which `python -m tools.contract` writes operations.json
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache, partial
from importlib.resources import files

from werkzeug.wrappers import Response

from ksef_emulator.api.calls import UNLIMITED, Call, Route
from ksef_emulator.api.errors import NotServed


@cache
def operations() -> list[tuple[str, str, str]]:
    """Return method, path (without /v2) and summary of each operation."""
    text = files("ksef_emulator.api").joinpath("operations.json").read_text(encoding="utf-8")
    return [(method, path, summary) for method, path, summary in json.loads(text)]


def not_served(routes: Iterable[Route]) -> list[Route]:
    """Return a route for each operation that none of the given ones serves."""
    served = {(route.method, numbered(route.path)) for route in routes}
    return [
        Route(method, where, partial(_refuse, method, path, summary), UNLIMITED)
        for method, path, summary in operations()
        if (method, where := numbered(f"/v2{path}")) not in served
    ]


def numbered(path: str) -> str:
    """Number the parts of a path that vary, for which contract and routes have other names."""
    parts = re.split(r"[{<][^}>]*[}>]", path)
    return parts[0] + "".join(f"<part{n}>{text}" for n, text in enumerate(parts[1:]))


def _refuse(method: str, path: str, summary: str, call: Call, **parts: str) -> Response:
    raise NotServed(method, path, summary)
