"""What KSeF leaves open or shows seldom, and what senders do seldom: chosen for a whole world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

LONGEST_LATENESS_S = 36_000
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

    One invoice in eight gets its outcome up to `late_outcome_s` late, when its session may be long
    over; till then it has `late_code`, 150 or one that the contract does not know. `late_updates`
    says whether the outcome then moves the session's dateUpdated. With `large_invoice_bytes` one
    file in 64 is at least so large, and hardly compresses.
    """

    counted_failures: CountedFailures = "mixed"
    unlisted_445: bool = False
    bare_duplicate_rate: float = 0.08
    several_details_rate: float = 0.25
    technical_correction_rate: float = 0.6
    unmatched_correction_rate: float = 0.003
    late_outcome_s: float = 0.0
    late_code: int = 150
    late_updates: bool = True
    large_invoice_bytes: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.late_outcome_s <= LONGEST_LATENESS_S:
            raise ValueError(f"late_outcome_s is 0 to {LONGEST_LATENESS_S}")
        if self.counted_failures not in get_args(CountedFailures):
            raise ValueError(f"counted_failures is none of {get_args(CountedFailures)}")


ORDINARY = Oddities()
"""A bit of everything, as an ordinary world has it."""


def happens(rate: float, noise: bytes) -> bool:
    """Decide by two random bytes; a rate of 0 never happens, 1 always does."""
    return int.from_bytes(noise[:2], "big") < rate * 0x10000
