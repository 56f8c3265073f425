"""Routes outside KSeF's contract, for those who drive an emulator from another process."""

from __future__ import annotations

from werkzeug.wrappers import Response

from ksef_emulator.answers import json_answer
from ksef_emulator.calls import Call
from ksef_emulator.clock import VirtualClock


def show(call: Call) -> Response:
    """Answer GET /emulator: the time and whose data there are."""
    nips = [taxpayer.context_id for taxpayer in call.emulator.world.taxpayers]
    return json_answer({"now": call.at.isoformat(), "taxpayers": nips})


def advance(call: Call) -> Response:
    """Answer POST /emulator/clock {"advance_s": seconds}; 409 on a clock that runs by itself."""
    clock = call.emulator.clock
    if not isinstance(clock, VirtualClock):
        return json_answer({"error": "this clock runs by itself"}, 409)
    seconds = call.json().get("advance_s")
    if not isinstance(seconds, int | float) or seconds < 0:
        return json_answer({"error": "advance_s must be a number of seconds, not negative"}, 400)
    clock.sleep(seconds)
    return json_answer({"now": clock.now().isoformat()})
