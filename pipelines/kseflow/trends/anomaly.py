"""One row of what is told: its columns, once, for the mart and for Python."""

from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, get_args, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa


@dataclass(frozen=True)
class Anomaly:
    """One thing said of one taxpayer, or of all together where `context_id` is None.

    Counts are of decided invoices in closed sessions. Values are failure rates (0 to 1), or with
    kind `slower_acceptance` seconds; low and high are their 95 % interval, sessions being the
    clusters. `reasons`, `taxpayers` and `sessions` are JSON arrays of objects, largest part first.
    """

    context_type: str | None
    context_id: str | None
    anomaly_number: int
    kind: str
    verdict: str
    since_day: date | None
    until_day: date | None
    first_day: date
    last_day: date
    before_first_day: date | None
    before_last_day: date | None
    before_failed_count: int | None
    before_decided_count: int | None
    before_session_count: int | None
    before_value: float | None
    before_low: float | None
    before_high: float | None
    after_first_day: date | None
    after_last_day: date | None
    after_failed_count: int | None
    after_decided_count: int | None
    after_session_count: int | None
    after_value: float | None
    after_low: float | None
    after_high: float | None
    is_drift: bool
    left_out_session_count: int
    from_counters_share: float | None
    p_value: float | None
    category: str | None
    normalised_message: str | None
    reasons: str
    taxpayers: str
    sessions: str
    sentence: str


def as_table(rows: "Iterable[Anomaly]") -> "pa.Table":
    """Return rows as an Arrow table with the same columns."""
    import pyarrow as pa

    types = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        date: pa.date32(),
        bool: pa.bool_(),
    }
    hints = get_type_hints(Anomaly)
    kinds = {name: (get_args(hint) or (hint,))[0] for name, hint in hints.items()}
    schema = pa.schema([(name, types[kind]) for name, kind in kinds.items()])
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=schema)
