"""What the report tells, in its order; the notebooks tell parts of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kseflow.pages.amounts import amounts
from kseflow.pages.answers import did_they_get_in, is_the_copy_complete, what_to_do_today
from kseflow.pages.blocks import Section
from kseflow.pages.changes import better_or_worse, what_changed
from kseflow.pages.completeness import completeness
from kseflow.pages.marts import Marts
from kseflow.pages.outcomes import by_hour, over_time
from kseflow.pages.pace import backlog, behind, build_times, widest_windows
from kseflow.pages.packages import nearness, truncation
from kseflow.pages.packages_in_short import packages_in_short
from kseflow.pages.reasons import reasons
from kseflow.pages.repairs import put_right, to_act_on, whole_sessions
from kseflow.pages.taxpayers import compared
from kseflow.pages.waiting import time_to_acceptance
from kseflow.pages.windows import catching_up, gaps, unbuilt


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
