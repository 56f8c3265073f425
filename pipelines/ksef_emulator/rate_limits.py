"""Routes that show and change a context's rate limits."""

from __future__ import annotations

from werkzeug.wrappers import Response

from ksef_emulator.answers import BadRequest, json_answer
from ksef_emulator.calls import Call
from ksef_emulator.limits import PRODUCTION, Values


def show(call: Call) -> Response:
    """Answer GET /rate-limits."""
    return json_answer(call.emulator.limits.effective(call.context_id))


def override(call: Call) -> Response:
    """Answer POST /testdata/rate-limits."""
    wanted = call.json().get("rateLimits")
    if not isinstance(wanted, dict):
        raise BadRequest(21405, "'Rate Limits' must not be empty.")
    values = {group: _values(group, wanted.get(group)) for group in PRODUCTION}
    call.emulator.limits.override(call.context_id, values)
    return Response(status=200)


def reset(call: Call) -> Response:
    """Answer DELETE /testdata/rate-limits."""
    call.emulator.limits.override(call.context_id, None)
    return Response(status=200)


def set_production(call: Call) -> Response:
    """Answer POST /testdata/rate-limits/production."""
    call.emulator.limits.override(call.context_id, PRODUCTION)
    return Response(status=200)


def _values(group: str, value: object) -> Values:
    names = ("perSecond", "perMinute", "perHour")
    if isinstance(value, dict):
        values = {name: value.get(name) for name in names}
        valid = {n: v for n, v in values.items() if type(v) is int and -(2**31) <= v < 2**31}
        if len(valid) == len(names):
            return valid
    raise BadRequest(21405, f"The value '{value}' is not valid for RateLimits.{group}.")
