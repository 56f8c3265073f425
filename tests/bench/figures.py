"""Figures of one run, each beside its baselines: told as a table and as JSON."""

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from rich.table import Table


class Scale(Enum):
    """How much is measured: in a minute, in ten, or for as long as it takes."""

    QUICK = "quick"
    DEFAULT = "default"
    WHOLE = "whole"

    def of(self, quick: Any, default: Any, whole: Any = None) -> Any:
        """Return the choice for this scale; the whole is the default's unless said."""
        if self is Scale.QUICK:
            return quick
        return default if self is Scale.DEFAULT or whole is None else whole


@dataclass(frozen=True)
class Bound:
    """What a ratio to a baseline should be."""

    baseline: str
    least: float = 0.0
    most: float = float("inf")

    def __str__(self) -> str:
        return f"≤ {self.most:g}" if self.most < float("inf") else f"≥ {self.least:g}"


@dataclass(frozen=True)
class Figure:
    """What was measured of kseflow, and the same of its baselines in the same run and unit.

    `is_count` says that it is the same whenever it is counted again, on any machine.
    """

    what: str
    value: float
    unit: str
    against: Mapping[str, float] = field(default_factory=dict)
    bounds: tuple[Bound, ...] = ()
    is_count: bool = False

    @property
    def ratios(self) -> dict[str, float]:
        """The value over each baseline that is not nothing."""
        return {name: self.value / other for name, other in self.against.items() if other}

    @property
    def slips(self) -> list[Bound]:
        """The bounds that are not kept; nothing over nothing keeps any."""
        ratios = self.ratios
        return [
            bound
            for bound in self.bounds
            if not bound.least <= ratios.get(bound.baseline, 1.0) <= bound.most
            or (bound.baseline not in ratios and self.value > 0)
        ]

    def as_json(self) -> dict[str, Any]:
        ratios = self.ratios
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "is_count": self.is_count,
            "baselines": {
                name: {"value": value, "ratio": ratios.get(name)}
                for name, value in self.against.items()
            },
            "targets": [f"{bound} × {bound.baseline}" for bound in self.bounds],
            "slips": [f"{bound} × {bound.baseline}" for bound in self.slips],
        }


def table(parts: Mapping[str, list[Figure]]) -> Table:
    """Return all figures as one table of at most 100 columns."""
    told = Table(width=100, title="kseflow beside its baselines, measured in this run")
    told.add_column("what", ratio=3)
    told.add_column("kseflow", justify="right", ratio=2)
    told.add_column("baseline: its figure (ratio)", ratio=4)
    told.add_column("target", ratio=1)
    for title, figures in parts.items():
        if not figures:
            continue
        told.add_section()
        told.add_row(f"[bold]{title}")
        for figure in figures:
            told.add_row(*_cells(figure))
    return told


def _cells(figure: Figure) -> Iterator[str]:
    yield figure.what
    yield f"{number(figure.value)} {figure.unit}"
    ratios = figure.ratios
    yield "\n".join(
        f"{name}: {number(value)}" + (f" ({ratios[name]:.3g} x)" if name in ratios else "")
        for name, value in figure.against.items()
    )
    slips = figure.slips
    yield "\n".join(f"[red]{b} missed[/]" if b in slips else f"{b}" for b in figure.bounds)


def number(value: float) -> str:
    """Write a number with three digits at least, and no more than say something."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
    }
