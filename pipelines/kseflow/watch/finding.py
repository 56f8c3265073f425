"""What `kseflow check` and `kseflow doctor` find, in one form for people and machines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import inf, isfinite
from typing import Any

from kseflow.context import NO_TAXPAYER, Context


class State(IntEnum):
    """A finding's state, and the exit code that monitoring plugins have for it."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True)
class Measure:
    """What was measured, None where there was too little to judge, and the thresholds.

    `form` shows a value or a threshold; infinite thresholds are off.
    """

    value: float | None
    warning: float
    critical: float
    form: str
    is_low_bad: bool

    @property
    def badness(self) -> float:
        """What sorts measures of one kind; those not judged come first."""
        if self.value is None:
            return -inf
        return -self.value if self.is_low_bad else self.value

    def as_json(self) -> dict[str, float | None]:
        """Return plain values; a threshold that is off is null."""
        limits = {"warning": self.warning, "critical": self.critical}
        off = {name: limit if isfinite(limit) else None for name, limit in limits.items()}
        return {"value": self.value, **off}


@dataclass(frozen=True)
class Finding:
    """One answer, of one taxpayer or of all (None), with what to do about it where it is not OK."""

    state: State
    topic: str
    message: str
    remedy: str | None = None
    taxpayer: Context | None = None
    measure: Measure | None = None

    @property
    def text(self) -> str:
        """The message, and the remedy where there is one."""
        return f"{self.message}. {self.remedy}." if self.remedy else self.message

    def as_json(self) -> dict[str, Any]:
        """Return plain values; what was measured and its thresholds only where something was."""
        return {
            "state": self.state.name,
            "topic": self.topic,
            **(self.taxpayer.as_json() if self.taxpayer else NO_TAXPAYER),
            **(self.measure.as_json() if self.measure else {}),
            "message": self.message,
            "remedy": self.remedy,
        }


def ok(topic: str, message: str, taxpayer: Context | None = None) -> Finding:
    return Finding(State.OK, topic, message, None, taxpayer)


def warning(topic: str, message: str, remedy: str, taxpayer: Context | None = None) -> Finding:
    return Finding(State.WARNING, topic, message, remedy, taxpayer)


def critical(topic: str, message: str, remedy: str, taxpayer: Context | None = None) -> Finding:
    return Finding(State.CRITICAL, topic, message, remedy, taxpayer)


def worst(findings: Sequence[Finding]) -> State:
    """Return the worst state; nothing found is OK."""
    return max((finding.state for finding in findings), default=State.OK)


def counts_text(findings: Sequence[Finding]) -> str:
    """Write how many findings there are of each state that is not OK; empty when all are."""
    counts = Counter(finding.state for finding in findings if finding.state is not State.OK)
    return ", ".join(f"{counts[state]} {state.name.lower()}" for state in sorted(counts)[::-1])


def document(
    summary: str, findings: Sequence[Finding], state: State, **more: Any
) -> dict[str, Any]:
    """Return what `--json` prints of a check or an examination."""
    told = [finding.as_json() for finding in findings]
    return {"state": state.name, "summary": summary, **more, "findings": told}
