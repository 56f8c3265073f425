"""What the report and the notebooks tell, section by section.

A section is a function of the open marts: it asks them, judges, and returns words, tables and
charts. The report and the notebooks show the same sections.

    marts = open_marts("ksef.duckdb", first="2026-11-01")
    tell(marts, did_they_get_in, over_time)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kseflow.pages.chosen import Marts as Marts
    from kseflow.pages.opening import open_marts as open_marts
    from kseflow.pages.section import Section as Section

_SECTIONS = [
    "did_they_get_in", "is_the_copy_complete", "what_to_do_today", "better_or_worse", "to_act_on",
    "whole_sessions", "over_time", "what_changed", "reasons", "put_right", "time_to_acceptance",
    "by_hour", "compared", "completeness", "amounts", "packages_in_short", "truncation", "nearness",
    "widest_windows", "build_times", "behind", "backlog", "gaps", "catching_up", "unbuilt",
]  # fmt: skip
_HOMES = dict.fromkeys([*_SECTIONS, "PARTS", "Part", "Sections", "tell"], "contents")
_HOMES |= {"Marts": "chosen", "Section": "section", "open_marts": "opening"}


def __getattr__(name: str) -> Any:
    """Import on first use: what sections need is installed with kseflow[notebooks] alone."""
    if name not in _HOMES:
        raise AttributeError(f"module 'kseflow.pages' has no attribute {name!r}")
    return getattr(import_module(f"kseflow.pages.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
