"""The notebooks as one HTML file that needs nothing else: no server, no network, no Python."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from kseflow.errors import ConfigurationError, WarehouseError

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOKS = ("failure_trends", "package_truncation")
TEMPLATE = "report.html.jinja"
CELL_TIMEOUT_S = 600
CHART = "application/vnd.plotly.v1+json"

SCOPE_SQL = """
select
    (select max(as_of) from marts.as_of) as as_of,
    list(distinct context_id order by context_id) as taxpayers,
    list(distinct day order by day) filter (where is_used) as days
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
    is_notebook: bool


def write_report(
    database: Path,
    out: Path,
    *,
    nips: Sequence[str] = (),
    first: date | None = None,
    last: date | None = None,
) -> Path:
    """Run the notebooks on the published `database` and write them to `out`, in one step.

    It tells of the taxpayers `nips` (all when none are named) and the Warsaw days `first` to
    `last`, both included. Returns `out`. Raises `WarehouseError` when there are no marts to read
    or the file cannot be written, `ConfigurationError` for a taxpayer that is not in them, for
    days in the wrong order, and when the packages that notebooks need are not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader
        from plotly.offline import get_plotlyjs

        from kseflow.notebook import connect, days_text
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{error}: install kseflow[notebooks] to write reports") from None

    with connect(database, nips, first, last) as marts:  # says what is wrong before kernels start
        as_of, taxpayers, days = marts.execute(SCOPE_SQL).fetchall()[0]
    parameters = {
        "database": str(database.resolve()),
        "taxpayers": list(nips),
        "first": first and first.isoformat(),
        "last": last and last.isoformat(),
    }
    headings: list[Heading] = []
    notebooks = [list(_blocks(notebook, headings)) for notebook in run_notebooks(parameters)]
    templates = Environment(loader=FileSystemLoader(notebooks_folder()), autoescape=True)
    page = templates.get_template(TEMPLATE).render(
        notebooks=notebooks,
        headings=headings,
        as_of=as_of and f"{as_of:%Y-%m-%d %H:%M %Z}",
        taxpayers=taxpayers or [],
        days=days and days_text(days),
        plotly=get_plotlyjs(),
        version=version("kseflow"),
    )
    new = out.with_name(f".{out.name}.new")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(page, encoding="utf-8")
        new.replace(out)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise WarehouseError(f"{out} cannot be written: {error.strerror}") from error
    return out


def notebooks_folder() -> Path:
    """Return the folder of the notebooks: inside the installed package, or the checkout's."""
    installed = Path(__file__).parent / "notebooks"
    return installed if installed.exists() else Path(__file__).parents[2] / "notebooks"


def run_notebooks(parameters: dict[str, Any]) -> "list[NotebookNode]":
    """Run all notebooks, each in a kernel of its own, and return them with their outputs."""
    with TemporaryDirectory(prefix="kseflow-") as folder, ThreadPoolExecutor() as pool:
        return list(pool.map(partial(_run, parameters=parameters, folder=folder), NOTEBOOKS))


def _run(name: str, parameters: dict[str, Any], folder: str) -> "NotebookNode":
    """Run one notebook with `parameters` set after its own; the kernel's files go to `folder`."""
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(notebooks_folder() / f"{name}.ipynb", as_version=4)
    tagged = [n for n, cell in enumerate(notebook.cells) if "parameters" in _tags(cell)]
    given = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    notebook.cells.insert(tagged[0] + 1, nbformat.v4.new_code_cell(given))
    kernel = AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # this Python, whatever is installed
        connection_file=f"{folder}/{name}.json",
        transport="ipc" if os.name == "posix" else "tcp",  # nobody else on the machine listens in
    )
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT_S, km=kernel)
    environment = os.environ | {"PLOTLY_RENDERER": "plotly_mimetype", "IPYTHONDIR": folder}
    try:
        return asyncio.run(client.async_execute(env=environment, cwd=folder, cleanup_kc=True))
    except CellExecutionError as error:
        raise WarehouseError(
            f"the notebook {name} failed: {error.ename}: {error.evalue}\n"
            "Was the database published by this version of kseflow? kseflow build does it anew."
        ) from error


def _tags(cell: "NotebookNode") -> list[str]:
    return list(cell.metadata.get("tags", []))


def _blocks(notebook: "NotebookNode", headings: list[Heading]) -> Iterator[dict[str, Any]]:
    """Yield what a reader sees of a notebook, never code: HTML, or a chart for plotly.js.

    Adds the headings that the table of contents should have to `headings`.
    """
    for cell in notebook.cells:
        shown = [{"text/markdown": cell.source}] if cell.cell_type == "markdown" else []
        for data in shown or [output.get("data", {}) for output in cell.outputs]:
            if CHART in data:
                yield {"chart": {name: data[CHART][name] for name in ("data", "layout")}}
            elif "text/markdown" in data:
                yield {"html": _html(data["text/markdown"], headings)}
            elif "text/html" in data:
                yield {"html": data["text/html"]}


def _html(markdown: str, headings: list[Heading]) -> str:
    """Render Markdown with its headings one level lower, below the page's own."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False})
    tokens = parser.parse(markdown)
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.tag in ("h1", "h2"):
            headings.append(Heading(f"part-{len(headings) + 1}", inline.content, token.tag == "h1"))
            token.attrSet("id", headings[-1].anchor)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1]) + 1}"
    return str(parser.renderer.render(tokens, parser.options, {}))
