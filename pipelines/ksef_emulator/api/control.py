"""Routes outside KSeF's contract, for those who drive an emulator from another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from werkzeug.wrappers import Response

from ksef_emulator.api.answers import json_answer
from ksef_emulator.api.calls import UNLIMITED, Call, Route
from ksef_emulator.clock import Clock, VirtualClock
from ksef_emulator.world.taxpayers import Taxpayer


@dataclass(frozen=True)
class ControlRoutes:
    """Show what is emulated, and move its clock."""

    taxpayers: Sequence[Taxpayer]
    clock: Clock

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/emulator", self.show, UNLIMITED),
            Route("POST", "/emulator/clock", self.advance, UNLIMITED),
        )

    def show(self, call: Call) -> Response:
        """Answer GET /emulator: the time and whose data there are."""
        nips = [taxpayer.context_id for taxpayer in self.taxpayers]
        return json_answer({"now": call.at.isoformat(), "taxpayers": nips})

    def advance(self, call: Call) -> Response:
        """Answer POST /emulator/clock {"advance_s": seconds}; 409 on a clock that runs."""
        if not isinstance(self.clock, VirtualClock):
            return json_answer({"error": "this clock runs by itself"}, 409)
        seconds = call.json().get("advance_s")
        if not isinstance(seconds, int | float) or seconds < 0:
            message = "advance_s must be a number of seconds, not negative"
            return json_answer({"error": message}, 400)
        self.clock.sleep(seconds)
        return json_answer({"now": self.clock.now().isoformat()})
