"""An emulator of Poland's KSeF API 2.0: a seeded world behind real HTTP.

>>> app = Emulator(World(seed=7), VirtualClock(start), limits="production")
>>> with serve(app) as base_url: ...
"""

from ksef_emulator.app import Emulator, Quirks
from ksef_emulator.backlog import Backlog
from ksef_emulator.clock import RunningClock, VirtualClock
from ksef_emulator.command import emulate
from ksef_emulator.export_settings import ExportSettings
from ksef_emulator.faults import Fault
from ksef_emulator.oddities import Oddities
from ksef_emulator.resubmissions import Resubmission
from ksef_emulator.server import serve
from ksef_emulator.world import World

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
