"""An emulator of Poland's KSeF API 2.0: a seeded world behind real HTTP.

>>> app = Emulator(World(seed=7), VirtualClock(start), limits="production")
>>> with serve(app) as base_url: ...
"""

try:
    from ksef_emulator.api.exports.settings import ExportSettings
    from ksef_emulator.clock import RunningClock, VirtualClock
    from ksef_emulator.command import emulate
    from ksef_emulator.emulator import Emulator
    from ksef_emulator.faults import Fault
    from ksef_emulator.quirks import Quirks
    from ksef_emulator.server import serve
    from ksef_emulator.world.backlog import Backlog
    from ksef_emulator.world.oddities import Oddities
    from ksef_emulator.world.resubmissions import Resubmission
    from ksef_emulator.world.world import World
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] != "werkzeug":
        raise
    message = "the emulator needs werkzeug: pip install 'kseflow[emulator]'"
    raise ImportError(message, name="werkzeug") from None

__all__ = [
    "Backlog",
    "Emulator",
    "ExportSettings",
    "Fault",
    "Oddities",
    "Quirks",
    "Resubmission",
    "RunningClock",
    "VirtualClock",
    "World",
    "emulate",
    "serve",
]
