"""What the report and the notebooks tell, section by section.

A section is a function of the open marts: it asks them, judges, and returns words, tables and
charts. The report and the notebooks show the same sections.

    marts = open_marts("ksef.duckdb", first="2026-11-01")
    tell(marts, did_they_get_in, over_time)
"""

from kseflow.pages.amounts import amounts
from kseflow.pages.answers import did_they_get_in, is_the_copy_complete, what_to_do_today
from kseflow.pages.blocks import Section
from kseflow.pages.changes import better_or_worse, what_changed
from kseflow.pages.completeness import completeness
from kseflow.pages.contents import PARTS, Part, Sections, tell
from kseflow.pages.marts import Marts, open_marts
from kseflow.pages.outcomes import by_hour, over_time
from kseflow.pages.pace import backlog, behind, build_times, widest_windows
from kseflow.pages.packages import nearness, truncation
from kseflow.pages.packages_in_short import packages_in_short
from kseflow.pages.reasons import reasons
from kseflow.pages.repairs import put_right, to_act_on, whole_sessions
from kseflow.pages.taxpayers import compared
from kseflow.pages.waiting import time_to_acceptance
from kseflow.pages.windows import catching_up, gaps, unbuilt

__all__ = [
    "PARTS",
    "Marts",
    "Part",
    "Section",
    "Sections",
    "amounts",
    "backlog",
    "behind",
    "better_or_worse",
    "build_times",
    "by_hour",
    "catching_up",
    "compared",
    "completeness",
    "did_they_get_in",
    "gaps",
    "is_the_copy_complete",
    "nearness",
    "open_marts",
    "over_time",
    "packages_in_short",
    "put_right",
    "reasons",
    "tell",
    "time_to_acceptance",
    "to_act_on",
    "truncation",
    "unbuilt",
    "what_changed",
    "what_to_do_today",
    "whole_sessions",
    "widest_windows",
]
