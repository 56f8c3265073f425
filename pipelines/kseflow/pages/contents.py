"""What the report tells, in its order; the notebooks tell parts of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kseflow.pages.chosen import Marts
from kseflow.pages.section import Section
from kseflow.pages.sections.amounts import amounts
from kseflow.pages.sections.at_a_glance import (
    did_they_get_in,
    is_the_copy_complete,
    what_to_do_today,
)
from kseflow.pages.sections.changes import better_or_worse, what_changed
from kseflow.pages.sections.comparison import compared
from kseflow.pages.sections.completeness import completeness
from kseflow.pages.sections.gaps import catching_up, gaps, unbuilt
from kseflow.pages.sections.nearness import nearness
from kseflow.pages.sections.outcomes import by_hour, over_time
from kseflow.pages.sections.pace import backlog, behind, build_times, widest_windows
from kseflow.pages.sections.packages_in_short import packages_in_short
from kseflow.pages.sections.reasons import reasons
from kseflow.pages.sections.repairs import put_right, to_act_on, whole_sessions
from kseflow.pages.sections.truncation import truncation
from kseflow.pages.sections.waiting import time_to_acceptance


@dataclass(frozen=True)
class Part:
    """A chapter of the report."""

    title: str
    intro: str
    sections: Sequence[Callable[[Marts], Section]]


class Sections(tuple[Section, ...]):
    """Sections that Jupyter shows one below the other."""

    def _ipython_display_(self) -> None:
        for section in self:
            section._ipython_display_()


def tell(marts: Marts, *sections: Callable[[Marts], Section]) -> Sections:
    """Make sections of the marts, to be shown as the last line of a notebook's cell."""
    return Sections(section(marts) for section in sections)


PARTS = (
    Part(
        "The answer",
        "",
        [did_they_get_in, is_the_copy_complete, what_to_do_today, better_or_worse],
    ),
    Part(
        "Failures",
        "Which invoices KSeF refused, why, and what became of them.",
        [
            to_act_on,
            whole_sessions,
            over_time,
            what_changed,
            reasons,
            put_right,
            time_to_acceptance,
            by_hour,
            compared,
        ],
    ),
    Part(
        "Our copy",
        "Whether what is stored here is all that KSeF has, and what it is worth.",
        [completeness, amounts],
    ),
    Part(
        "Export packages",
        "How often packages (paczki) are truncated, how near to it the others are, how far exports "
        "are behind, and whether anything is missing between them.",
        [
            packages_in_short,
            truncation,
            nearness,
            widest_windows,
            build_times,
            behind,
            backlog,
            gaps,
            catching_up,
            unbuilt,
        ],
    ),
)
