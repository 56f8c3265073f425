"""Sessions that failed as a whole: what they count of the invoices that nobody lists.

Nobody outside has seen what KSeF does, so both are possible, and a world chooses.
"""

from __future__ import annotations

from dataclasses import replace

from ksef_emulator.identifiers import digest
from ksef_emulator.world.drafts import Draft
from ksef_emulator.world.oddities import Oddities
from ksef_emulator.world.texts import TOO_LATE, TOO_MANY_COUNT

UNREAD_CODES = frozenset({405, 430, 435})
"""Codes of batches whose archive could not be read, so that no invoice was looked at."""


def with_oddities(draft: Draft, oddities: Oddities) -> Draft:
    """Give a draft its world's oddities; it loses its rows where they go unlisted."""
    if draft.code == 445 and oddities.unlisted_445:
        return _without_rows(draft, oddities)
    if draft.code == 500 and oddities.counted_failures == "always":
        return _without_rows(draft, oddities)
    return replace(draft, oddities=oddities, unlisted_count=_unlisted_count(draft, oddities))


def _without_rows(draft: Draft, oddities: Oddities) -> Draft:
    count = draft.own_count
    return replace(draft, oddities=oddities, own_count=0, rejections={}, unlisted_count=count)


def _unlisted_count(draft: Draft, oddities: Oddities) -> int:
    """Count the invoices that a batch without rows is known to have held."""
    if draft.session_type == "Online" or oddities.counted_failures == "never":
        return 0
    if draft.code == 420:
        return 0 if oddities.counted_failures == "unread" else TOO_MANY_COUNT
    if draft.code not in UNREAD_CODES and TOO_LATE not in draft.details:
        return 0
    noise = digest(draft.reference_number, "unlisted")
    is_seldom = oddities.counted_failures != "always"
    if is_seldom and (draft.code not in UNREAD_CODES or noise[2] >= 128):
        return 0
    return 2 + int.from_bytes(noise[:2], "big") % 400
