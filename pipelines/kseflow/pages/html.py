"""The report: all sections as one HTML file that needs nothing else: no server, no network."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kseflow.database import reading_marts
from kseflow.errors import ConfigurationError, WarehouseError
from kseflow.files import file_problem, private_files, put_in_place

if TYPE_CHECKING:
    from kseflow.pages.chosen import Marts
    from kseflow.pages.contents import Part

TEMPLATE = "report.html.jinja"
PART = 2  # level of its heading, below the page's own

SCOPE_SQL = """
select
    (select as_of from looked) as as_of,
    coalesce(list(distinct context_id order by context_id), []) as taxpayers,
    min(day) filter (where is_used) as first_day,
    max(day) filter (where is_used) as last_day
from (
    select context_id, day, submitted_count > 0 as is_used from marts.daily_outcomes
    union all select context_id, day, true from marts.package_truncation
)
where chosen(context_id, day)
"""


class Heading(NamedTuple):
    """A line of the table of contents."""

    anchor: str
    text: str
    is_part: bool


def write_report(
    database: Path = Path("ksef.duckdb"),
    out: Path = Path("report.html"),
    *,
    nips: Sequence[str] = (),
    first: date | None = None,
    last: date | None = None,
    now: datetime | None = None,
) -> Path:
    """Write what the marts of the published `database` tell to `out`, in one step.

    It tells of the taxpayers `nips` (all when none are named) and the Warsaw days `first` to
    `last`, both included; the copy's age is counted to `now`, the system's time unless given.
    Returns `out`. Raises `WarehouseError` when there are no marts to read, when they are another
    version's, or when the file cannot be written; `ConfigurationError` for a taxpayer that is not
    in them, for days in the wrong order, and when the packages it needs are not installed.
    """
    if out.is_dir():
        raise WarehouseError(f"{out} cannot be written: it is a folder; name a file")
    try:
        import jinja2  # noqa: F401
        import markdown_it  # noqa: F401

        from kseflow.pages.contents import PARTS
        from kseflow.pages.opening import open_marts
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{error}: install kseflow[notebooks] to write reports") from None
    with reading_marts(database), open_marts(database, nips, first, last, now=now) as marts:
        page = render(marts, PARTS)
    _write(out, page)
    return out


def render(marts: "Marts", parts: Sequence["Part"]) -> str:
    """Render the page: the parts with their sections, and the contents."""
    from jinja2 import Environment, FileSystemLoader
    from pandas import NaT
    from plotly.offline import get_plotlyjs

    from kseflow.pages.look import style
    from kseflow.words import days_text

    scope = marts.one(SCOPE_SQL)
    headings: list[Heading] = []
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    return templates.get_template(TEMPLATE).render(
        parts=[list(_blocks(marts, part, headings)) for part in parts],
        headings=headings,
        as_of=scope.as_of is not NaT and f"{scope.as_of:%Y-%m-%d %H:%M %Z}",
        written=f"{marts.now:%Y-%m-%d %H:%M %Z}",
        taxpayers=[marts.name(who) for who in scope.taxpayers],
        days=scope.first_day is not NaT and days_text([scope.first_day, scope.last_day]),
        plotly=get_plotlyjs(),
        style=style(),
        version=version("kseflow"),
    )


def _blocks(marts: "Marts", part: "Part", headings: list[Heading]) -> Iterator[dict[str, Any]]:
    """Yield what a reader sees of a part: HTML, and charts for plotly.js.

    Adds the headings that the table of contents should have to `headings`.
    """
    from kseflow.pages.render import heading, paragraph

    def anchor(text: str, *, is_part: bool = False) -> str:
        headings.append(Heading(f"part-{len(headings) + 1}", text, is_part))
        return headings[-1].anchor

    title = heading(part.title, PART, anchor(part.title, is_part=True))
    yield {"html": title + paragraph(part.intro)}
    for tell in part.sections:
        section = tell(marts)
        for above, figure in section.rendered(PART + 1, anchor(section.title)):
            drawn = figure.to_json() if figure else ""
            # A script element ends at the first </script>, whatever stands around it.
            yield {"html": above, "chart": drawn.replace("<", r"\u003c")}


def _write(out: Path, page: str) -> None:
    new = out.with_name(f".{out.name}.new")
    try:
        with private_files():
            out.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(page, encoding="utf-8")
            put_in_place(new, out)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise WarehouseError(f"{out} cannot be written: {file_problem(error)}") from error
