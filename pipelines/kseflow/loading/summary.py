"""What a load did, for those who print it or schedule the next one."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from kseflow.context import Context


@dataclass(frozen=True)
class LoadSummary:
    """What one run did: the log of each lane, and sums; times are UTC."""

    run_id: str
    database: Path  # the name of another destination
    started_at: datetime
    ended_at: datetime
    logs: list[dict[str, Any]]
    request_counts: dict[str, int]
    waited_s: float
    failed_taxpayers: list[Context]
    is_stopped: bool
    warehouse: Callable[[], AbstractContextManager[Any]]  # opens what was loaded

    @property
    def is_in_vain(self) -> bool:
        """Whether nothing was done for anybody: none got further than the login, or got a row."""
        undone = ("failed", "out of time")
        done = [
            log
            for log in self.logs
            if (log["outcome"] not in undone and log["resource"] != "login") or log["row_count"]
        ]
        return not done and any(log["outcome"] in undone for log in self.logs)

    def as_json(self) -> dict[str, Any]:
        """Return plain values and moments."""
        logs = [
            log["taxpayer"].as_json() | {k: v for k, v in log.items() if k != "taxpayer"}
            for log in self.logs
        ]
        failed = [taxpayer.as_json() for taxpayer in self.failed_taxpayers]
        told = vars(self) | {"logs": logs, "failed_taxpayers": failed}
        del told["warehouse"]
        return told
