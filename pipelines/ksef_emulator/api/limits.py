"""Rate limits: three sliding windows per (context, client address, group).

Source: GET /rate-limits, POST and DELETE /testdata/rate-limits, limity-api.md
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from werkzeug.wrappers import Response

from ksef_emulator.api.answers import json_answer
from ksef_emulator.api.calls import Call, Route
from ksef_emulator.api.errors import BadRequest, TooManyRequests
from ksef_emulator.api.jwt import ACCESS

Values = dict[str, int]
"""perSecond, perMinute and perHour; -1 is no limit."""


def _values(per_second: int, per_minute: int, per_hour: int) -> Values:
    return {"perSecond": per_second, "perMinute": per_minute, "perHour": per_hour}


PRODUCTION = {
    "onlineSession": _values(10, 30, 120),
    "onlineSessionClose": _values(20, 60, 240),
    "batchSession": _values(10, 20, 60),
    "batchSessionClose": _values(20, 40, 120),
    "invoiceSend": _values(10, 30, 180),
    "invoiceStatus": _values(30, 120, 1200),
    "sessionList": _values(5, 10, 60),
    "sessionInvoiceList": _values(10, 20, 200),
    "sessionMisc": _values(10, 120, 1200),
    "invoiceMetadata": _values(8, 16, 20),
    "invoiceExport": _values(8, 16, 20),
    "invoiceExportStatus": _values(10, 60, 600),
    "invoiceDownload": _values(8, 16, 64),
    "collectiveIdentifier": _values(20, 120, 240),
    "other": _values(10, 30, 120),
    "anonymous": _values(60, -1, -1),
    "global": _values(-1, -1, -1),
}
PER_ADDRESS = ("anonymous", "global")
"""Routes without a login, and all operations: counted for an address, whoever asks."""

FIXED = ("onlineSessionClose", "batchSessionClose", *PER_ADDRESS)
"""Groups that no context may override."""

OFF = dict.fromkeys(PRODUCTION, _values(-1, -1, -1))

WINDOWS = (("perSecond", 1, "sekundę"), ("perMinute", 60, "minutę"), ("perHour", 3600, "godzinę"))
LONGEST_PENALTY_S = 3600


@dataclass
class _Counter:
    """What one (context, address, group) did: accepted requests and the block it is under."""

    accepted: deque[float] = field(default_factory=deque)
    blocked_until: float = 0.0
    blocked_by: tuple[int, str] = (0, "")
    strikes: int = 0


class Limits:
    """Count requests and refuse those beyond the limits.

    Refused requests do not count unless `refused_count`, but each one sent before its Retry-After
    has passed doubles the penalty added to the block.
    """

    def __init__(
        self,
        limits: Literal["production", "off"] | Mapping[str, Values],
        *,
        refused_count: bool = False,
    ) -> None:
        self._refused_count = refused_count
        if isinstance(limits, str):
            self._default = {"production": PRODUCTION, "off": OFF}[limits]
        else:
            self._default = {**PRODUCTION, **limits}
        self._overrides: dict[str, dict[str, Values]] = {}
        self._counters: defaultdict[tuple[str, str, str], _Counter] = defaultdict(_Counter)

    def effective(self, context_id: str) -> dict[str, Values]:
        """Return the values that hold for a context now."""
        return {**self._default, **self._overrides.get(context_id, {})}

    def override(self, context_id: str, values: dict[str, Values] | None) -> None:
        """Set a context's values, or with None let the defaults hold again."""
        if values is None:
            self._overrides.pop(context_id, None)
        else:
            self._overrides[context_id] = values

    def count(self, context_id: str, address: str, group: str, *, at: datetime) -> None:
        """Count one request in its group, and before in that of all operations.

        `group` may be "other:<route>": such routes share the values but not the counter. Raises
        TooManyRequests.
        """
        for counted in ("global", group):
            whose = "" if counted in PER_ADDRESS else context_id
            name = counted.partition(":")[0]
            values = self._overrides.get(whose, {}).get(name) or self._default[name]
            if any(limit >= 0 for limit in values.values()):
                self._count((whose, address, counted), values, at.timestamp())

    def _count(self, key: tuple[str, str, str], values: Values, now: float) -> None:
        counter = self._counters[key]
        wait_s, limit, word = _breach(counter, values, now)
        if now < counter.blocked_until:
            counter.strikes += 1
            penalty_s = min(30 * 2**counter.strikes, LONGEST_PENALTY_S)
            wait_s = max(wait_s, counter.blocked_until - now) + penalty_s
            limit, word = counter.blocked_by
        if wait_s:
            self._block(counter, now, wait_s, (limit, word))
        counter.strikes = 0
        counter.accepted.append(now)

    def _block(
        self, counter: _Counter, now: float, wait_s: float, breached: tuple[int, str]
    ) -> None:
        if self._refused_count:
            counter.accepted.append(now)
        # KSeF rounds down (#788), so a caller waits Retry-After and one second more.
        retry_after_s = max(1, int(wait_s))
        counter.blocked_until = now + retry_after_s
        counter.blocked_by = breached
        raise TooManyRequests(*breached, retry_after_s)


def _breach(counter: _Counter, values: Values, now: float) -> tuple[float, int, str]:
    """Return the longest wait of the full windows in seconds, 0 if all have room."""
    accepted = counter.accepted
    while accepted and accepted[0] <= now - 3600:
        accepted.popleft()
    waits = [(0.0, 0, "")]
    for name, span_s, word in WINDOWS:
        limit = values[name]
        if 0 < limit <= len(accepted):
            waits.append((accepted[-limit] + span_s - now, limit, word))
        elif limit == 0:
            waits.append((span_s, limit, word))
    return max(waits)


@dataclass(frozen=True)
class LimitRoutes:
    """Show and change a context's rate limits."""

    limits: Limits

    def routes(self) -> tuple[Route, ...]:
        path, test = "/v2/rate-limits", "/v2/testdata/rate-limits"
        return (
            Route("GET", path, self.show, "other:show", ACCESS),
            Route("POST", test, self.override, "other:set", ACCESS),
            Route("DELETE", test, self.reset, "other:reset", ACCESS),
            Route("POST", f"{test}/production", self.set_production, "other:production", ACCESS),
        )

    def show(self, call: Call) -> Response:
        """Answer GET /rate-limits."""
        return json_answer(self.limits.effective(call.context_id))

    def override(self, call: Call) -> Response:
        """Answer POST /testdata/rate-limits."""
        wanted = call.json().get("rateLimits")
        if not isinstance(wanted, dict):
            raise BadRequest(21405, "'Rate Limits' must not be empty.")
        values = {
            group: _read_values(group, wanted.get(group))
            for group in PRODUCTION
            if group not in FIXED
        }
        self.limits.override(call.context_id, values)
        return Response(status=200)

    def reset(self, call: Call) -> Response:
        """Answer DELETE /testdata/rate-limits."""
        self.limits.override(call.context_id, None)
        return Response(status=200)

    def set_production(self, call: Call) -> Response:
        """Answer POST /testdata/rate-limits/production."""
        values = {group: limit for group, limit in PRODUCTION.items() if group not in FIXED}
        self.limits.override(call.context_id, values)
        return Response(status=200)


def _read_values(group: str, value: object) -> Values:
    names = [name for name, _, _ in WINDOWS]
    if isinstance(value, dict):
        values = {name: value.get(name) for name in names}
        valid = {n: v for n, v in values.items() if type(v) is int and -(2**31) <= v < 2**31}
        if len(valid) == len(names):
            return valid
    raise BadRequest(21405, f"The value '{value}' is not valid for RateLimits.{group}.")
