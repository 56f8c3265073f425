"""What KSeF leaves open or shows seldom, and what senders do seldom: chosen for a whole world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

CountedFailures = Literal["never", "unread", "mixed", "always"]


@dataclass(frozen=True)
class Oddities:
    """How often the seldom happens; rates are 0 to 1, 0 turns an oddity off.

    `counted_failures` is about sessions that failed as a whole: which of them count invoices
    that no list ever shows (#212). "never" leaves their counters at zero; with "unread" 405,
    430 and 435 count in about half of the cases, with "mixed" 420 counts the 10,001 of its text as
    well; with "always" these do each time, and so do 500 and batches that were sent too late (440).
    `unlisted_445` lets sessions without a valid invoice (445) show no rows either.

    `bare_duplicate_rate` is the share of 440 without extensions: only the text names the original,
    as in older answers. `several_details_rate` is the share of 450 with two to four details.

    `technical_correction_rate`: of the rejected offline invoices that are put right and sent
    again, how many go as technical corrections, with the hash of the rejected file.
    `unmatched_correction_rate`: of the invoices accepted in online sessions, how many name a hash
    that matches no file (#404).
    """

    counted_failures: CountedFailures = "mixed"
    unlisted_445: bool = False
    bare_duplicate_rate: float = 0.08
    several_details_rate: float = 0.25
    technical_correction_rate: float = 0.6
    unmatched_correction_rate: float = 0.003

    def __post_init__(self) -> None:
        if self.counted_failures not in get_args(CountedFailures):
            raise ValueError(f"counted_failures is none of {get_args(CountedFailures)}")


ORDINARY = Oddities()
"""A bit of everything, as an ordinary world has it."""


def happens(rate: float, noise: bytes) -> bool:
    """Decide by two random bytes; a rate of 0 never happens, 1 always does."""
    return int.from_bytes(noise[:2], "big") < rate * 0x10000
