"""What the notebooks share: the marts, how numbers are written, and how charts look.

Everything is shown through IPython's `display`, so the same cells serve Jupyter and the report.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from html import escape
from math import sqrt
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import duckdb
import pandas as pd
import plotly.graph_objects as go
from IPython.display import HTML, Markdown, display

from kseflow.errors import ConfigurationError, WarehouseError

INK, GREY, GRID = "#1f2933", "#b6c0ca", "#e3e8ed"
ACCENT, ACCENT_LIGHT = "#1d5b8f", "#a8c5de"
FAULT, FAULT_LIGHT = "#c2410c", "#f3b797"
# Told apart by lightness, so also in print and by the colour-blind; the last is for the rest.
RANKED = ("#7c2d0a", "#c2410c", "#e57f45", "#f0ad84", "#f8d8c4", GREY)
BLUES = ((0.0, "#eef4f9"), (1.0, ACCENT))
ORANGES = ((0.0, "#fdf0e8"), (1.0, FAULT))

DAY = pd.Timedelta(days=1)

LOOK = go.layout.Template(
    layout={
        "font": {
            "family": "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
            "size": 13,
            "color": INK,
        },
        "colorway": [ACCENT, FAULT, GREY, ACCENT_LIGHT, FAULT_LIGHT],
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 8, "r": 12, "b": 8},
        "hoverlabel": {"bgcolor": "white", "bordercolor": GRID, "font": {"color": INK}},
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "hoverdistance": 100,
        "bargap": 0.25,
        "barcornerradius": 2,
        "dragmode": False,
        "legend": {
            "orientation": "h",
            "x": 0,
            "yref": "container",
            "y": 1,
            "yanchor": "top",
            "traceorder": "normal",
        },
        "xaxis": {
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
            "linecolor": GRID,
            "ticks": "outside",
            "tickcolor": GRID,
            "hoverformat": "%a %-d %b %Y",
        },
        "yaxis": {
            "automargin": True,
            "gridcolor": GRID,
            "zeroline": False,
            "rangemode": "tozero",
            "nticks": 6,
        },
    }
)


def connect(
    database: str | Path,
    taxpayers: Sequence[str] = (),
    first: date | str | None = None,
    last: date | str | None = None,
) -> duckdb.DuckDBPyConnection:
    """Open the published marts for reading, in Warsaw time.

    In SQL, `chosen(context_id, day)` tells whether a row is of the taxpayers (all when none are
    named) and days (both included) that were asked for. Loads write another file and publishing
    replaces this one, so that reading neither waits for a load nor hinders it.
    Raises `WarehouseError` when there are no marts to read, `ConfigurationError` for a taxpayer
    that is not in them or days that are none.
    """
    days = [_day(first) or date.min, _day(last) or date.max]
    if days[0] > days[1]:
        raise ConfigurationError(f"the first day, {days[0]}, is after the last, {days[1]}")
    marts, known = _opened(Path(database))
    marts.execute("set timezone = 'Europe/Warsaw'")
    if unknown := sorted(set(taxpayers) - set(known)):
        raise ConfigurationError(
            f"no taxpayer {', '.join(unknown)} in {database}; it has "
            + (", ".join(known[:20]) if known else "none yet: run kseflow load --build")
        )
    # The names are known ones, so they need no escaping.
    named = ", ".join(f"'{name}'" for name in taxpayers or known) or "''"
    marts.execute(
        "create temp macro chosen(taxpayer, day) as "
        f"taxpayer in ({named}) and day between date '{days[0]}' and date '{days[1]}'"
    )
    return marts


TAXPAYERS_SQL = """
select context_id from marts.sessions
union select context_id from marts.daily_outcomes
union select context_id from marts.packages
order by context_id
"""


def _opened(database: Path) -> tuple[duckdb.DuckDBPyConnection, list[str]]:
    """Open the file; return the connection and the taxpayers there."""
    if not database.exists():
        raise WarehouseError(f"{database}: no such file; run kseflow load --build first")
    try:
        marts = duckdb.connect(str(database), read_only=True)
        return marts, [row[0] for row in marts.execute(TAXPAYERS_SQL).fetchall()]
    except duckdb.CatalogException:
        raise WarehouseError(f"{database} has no marts, or old ones; run kseflow build") from None
    except duckdb.Error as error:
        from kseflow.warehouse import is_locked  # brings dlt, which a notebook can do without

        if is_locked(error):
            raise WarehouseError(
                f"{database} is open for writing in another program; close that, or open it there "
                "for reading only (duckdb -readonly). Loads write another file and never lock it."
            ) from None
        raise WarehouseError(f"{database} cannot be read: {error}") from None


def _day(day: date | str | None) -> date | None:
    try:
        return date.fromisoformat(str(day)) if day else None
    except ValueError:
        raise ConfigurationError(f"{day!r} is no day; write 2026-11-20") from None


class Rate(NamedTuple):
    """A share with what it rests on; never averaged, only made anew of summed counts."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        """0 to 1; not a number when there is nothing to divide by."""
        return self.part / self.whole if self.whole else float("nan")

    def __str__(self) -> str:
        return percent(self.value)

    @property
    def counts(self) -> str:
        """What it rests on: 4 of 1,204."""
        return f"{self.part:,} of {self.whole:,}"

    @property
    def counted(self) -> str:
        """The share and its counts: 0.3% (4 of 1,204)."""
        return f"{self} ({self.counts})"


def distance(before: Rate, after: Rate) -> float:
    """Return how many standard errors `after` is above `before`; beyond 2 it is hardly chance."""
    if not before.whole or not after.whole:
        return 0.0
    share = (before.part + after.part) / (before.whole + after.whole)
    error = sqrt(share * (1 - share) * (1 / before.whole + 1 / after.whole))
    return (after.value - before.value) / error if error else 0.0


def verdict(before: Rate, after: Rate) -> str:
    """Tell whether a failure rate got worse, better or neither: by a tenth, and not by chance."""
    if not before.whole or not after.whole:
        return "unknown"
    is_large = abs(after.value - before.value) > 0.1 * before.value
    if not is_large or abs(distance(before, after)) < 2:
        return "unchanged"
    return "worse" if after.value > before.value else "better"


def turning_point(daily: pd.DataFrame, part: str, whole: str) -> int | None:
    """Return the row at which the rates before and after differ most clearly; None for no rows."""
    parts, wholes = daily[part].cumsum(), daily[whole].cumsum()

    def clearness(row: int) -> float:
        before = Rate(parts.iloc[row - 1], wholes.iloc[row - 1])
        rest = Rate(parts.iloc[-1] - before.part, wholes.iloc[-1] - before.whole)
        return abs(distance(before, rest))

    return max(range(1, len(daily)), key=clearness, default=None)


def percent(share: float) -> str:
    """Write a share of 0 to 1; a dash for none."""
    if pd.isna(share):
        return "–"
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: 1 invoice, 1,204 invoices."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Write seconds in the unit a person would use; a dash for none."""
    if pd.isna(seconds):
        return "–"
    for unit, length in {"days": 86400, "h": 3600, "min": 60}.items():
        if seconds >= 2 * length:
            return f"{seconds / length:.1f}\N{NO-BREAK SPACE}{unit}"
    return f"{seconds:.0f}\N{NO-BREAK SPACE}s"


def day_text(day: date) -> str:
    """Write a day: 17 Nov 2026."""
    return f"{day.day} {day:%b %Y}"


def days_text(days: Sequence[date]) -> str:
    """Write the days from the first to the last of `days`: 9 Nov to 17 Nov 2026."""
    first, last = day_text(days[0]), day_text(days[-1])
    return last if first == last else f"{first.removesuffix(last[-5:])} to {last}"


def label(name: str, text: str = "") -> str:
    """Fit words into a chart, two lines of a phone at most, the name bold, and no markup of it."""
    lines = wrap(f"{name} {text}", 44, max_lines=2, placeholder=" …")
    written = "<br>".join(escape(line, quote=False) for line in lines)
    return written.replace(escape(name, quote=False), f"<b>{escape(name, quote=False)}</b>", 1)


def say(*sentences: str) -> None:
    """Show Markdown; several sentences become a list."""
    display(Markdown("\n".join(f"- {s}" for s in sentences) if sentences[1:] else sentences[0]))


def show(
    figure: go.Figure,
    claim: str,
    note: str = "",
    *,
    height: int = 360,
    days: pd.Series | None = None,
) -> None:
    """Show a chart under what it says, and a note that tells how to read it.

    `days` are those of its x axis, which gets at least a week, so that one day has a decent bar.
    """
    say(f"### {claim}\n\n{note}")
    figure.update_annotations(x=0, xanchor="left", font_size=13)  # panels' titles, bars' names
    legends = [trace for trace in figure.data if trace.name and trace.showlegend is not False]
    room = 8 + 24 * (len(legends) > 1) + 24 * bool(figure.layout.annotations)
    figure.update_layout(template=LOOK, height=height, margin_t=room, showlegend=len(legends) > 1)
    if days is not None:
        begin = min(days.min(), days.max() - 6 * DAY)
        figure.update_xaxes(range=[begin - DAY / 2, days.max() + DAY / 2])
        figure.update_traces(width=0.75 * DAY.total_seconds() * 1000, selector={"type": "bar"})
    display(figure)


def ranked(
    names: Sequence[str],
    values: Sequence[float],
    texts: Sequence[str],
    colours: Sequence[str] | str = FAULT,
) -> go.Figure:
    """Make bars, the first on top, each under its name, so that a phone has room for long ones."""
    rows = [-row for row in range(len(names))]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=rows,
            orientation="h",
            width=0.2,
            marker_color=colours,
            text=texts,
            textposition="outside",
            textfont_size=12,
            constraintext="none",
            cliponaxis=False,
            hovertemplate="%{text}<extra></extra>",
        )
    )
    for row, name in zip(rows, names, strict=True):
        figure.add_annotation(
            text=name, x=0, y=row + 0.13, yanchor="bottom", align="left", showarrow=False
        )
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(visible=False, range=[0, 1.4 * max(values) or 1])
    figure.update_yaxes(visible=False, range=[0.5 - len(names), 0.75])
    return figure


def cards(numbers: Mapping[str, tuple[str, str]]) -> None:
    """Show the most important numbers, each with its name and what it rests on."""
    made = (
        f'<div class="card"><div>{escape(name)}</div><strong>{escape(number)}</strong>'
        f"<div>{escape(rest)}</div></div>"
        for name, (number, rest) in numbers.items()
    )
    style = "display: flex; flex-wrap: wrap; gap: 12px"  # in Jupyter as well
    display(HTML(f'<div class="cards" style="{style}">{"".join(made)}</div>'))


def table(frame: pd.DataFrame) -> None:
    """Show rows; each cell carries its column's name, for phones, which show a row as a card."""
    numeric = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame]
    head = "".join(f"<th>{escape(name)}</th>" for name in frame)
    body = "".join(
        f"<tr>{''.join(_cells(frame.columns, row, numeric))}</tr>"
        for row in frame.itertuples(index=False)
    )
    display(HTML(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"))


def _cells(names: Iterable[str], row: Iterable[object], numeric: Iterable[bool]) -> Iterable[str]:
    for name, value, is_number in zip(names, row, numeric, strict=True):
        text = f"{value:,}" if is_number else "–" if pd.isna(value) else str(value)
        kind = "number" if is_number else "short" if len(text) < 22 else "long"
        yield f'<td data-label="{escape(name)}" class="{kind}">{escape(text)}</td>'
