"""Since when a list of sessions asks for changes: by its cursor, open sessions and due sweeps."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from kseflow.constants import KSEF_BEGINS, LOOKBACK, MOST_SKEW, SWEEPS
from kseflow.loading.cursor import Cursor, moment

SESSION_TYPES = ("Online", "Batch")
ONE_SECOND = timedelta(seconds=1)


def listed_from(
    cursor: Cursor,
    since: datetime | None,
    oldest_open: datetime | None,
    sweeps: Sequence[timedelta],
    reach: Callable[[timedelta], datetime],
) -> datetime:
    """Return since when changes are listed: a sweep goes back as far as it can afford (`reach`)."""
    bounds = [oldest_open and oldest_open - ONE_SECOND]
    if sweeps:
        bounds.append(reach(max(sweeps)))
    return modified_from(cursor, since, *bounds)


def modified_from(cursor: Cursor, since: datetime | None, *bounds: datetime | None) -> datetime:
    """Return the lower bound of the next listing (UTC): further back than all before, if asked."""
    begin = since or KSEF_BEGINS
    if "reaches_back_to" not in cursor or begin < moment(cursor["reaches_back_to"]):
        return begin
    moments = [moment(cursor["cursor"]) - LOOKBACK, since, *bounds]
    return min(each for each in moments if each is not None)


def due_sweeps(cursor: Cursor, now: datetime) -> list[timedelta]:
    """Return how far the sweeps look back that are due."""
    swept = cursor.get("swept", {})
    return [
        reach
        for reach, every in SWEEPS
        if str(reach) not in swept or not now - every < moment(swept[str(reach)]) <= now + MOST_SKEW
    ]
