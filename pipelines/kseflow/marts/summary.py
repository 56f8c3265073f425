"""What one build did."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kseflow.marts.publish import LeftOut, Published
from kseflow.marts.steps import Step


@dataclass(frozen=True)
class BuildSummary:
    """What one build did: dbt's nodes by status, warnings as text, taxpayers left out.

    `database` is a DuckDB file, or the name of the dlt destination that was built in.
    There are no nodes when what is published was of the same data and models already.
    """

    database: Path | str
    seconds: float
    node_counts: dict[str, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list, repr=False)
    warnings: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    is_published: bool = False
    published: Published | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain values and moments."""
        left_out = [taxpayer.as_json() for taxpayer in self.left_out]
        published = self.published and vars(self.published)
        told = {name: value for name, value in vars(self).items() if name != "steps"}
        return told | {"left_out": left_out, "published": published}
