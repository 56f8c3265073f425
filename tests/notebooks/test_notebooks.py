"""The notebooks as they are kept: short, stripped, and the same sections as the report."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import nbformat
import pytest

from kseflow import pages
from tests.notebooks.browser import Browser

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LOOKS = {"looked", "later_log"}  # what was seen since the file was published; see marts/look.py
WHOLE_FILE = {
    "AS_OF_DAY_SQL",
    "COPY_SQL",
    "TAXPAYERS_OF_THE_FILE_SQL",
}  # queries that no taxpayer or day narrows


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(request.param.read_text(encoding="utf-8"))["cells"]
    return found


def code_of(cells: list[dict[str, Any]]) -> list[str]:
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def queries() -> Iterator[tuple[str, str]]:
    """Every SQL constant of the sections, by its name."""
    for module in walk_packages(pages.__path__, "kseflow.pages."):
        for name, value in vars(import_module(module.name)).items():
            if name.endswith("_SQL"):
                yield name, value


def test_the_notebooks_tell_what_the_report_tells() -> None:
    told = [
        name
        for path in NOTEBOOKS
        for cell in code_of(json.loads(path.read_text(encoding="utf-8"))["cells"])
        for name in re.findall(r"pages\.(\w+)", cell)
        if name not in ("open_marts", "tell")
    ]
    assert all(callable(getattr(pages, name)) for name in told)
    assert sorted(told) == sorted(
        section.__name__ for part in pages.PARTS for section in part.sections
    )


def test_no_output_is_kept(cells: list[dict[str, Any]]) -> None:
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


def test_there_are_at_most_ten_code_cells_of_a_few_lines(cells: list[dict[str, Any]]) -> None:
    assert len(code_of(cells)) <= 10
    assert max(code.count("\n") + 1 for code in code_of(cells)) <= 4


def test_one_cell_has_the_parameters(cells: list[dict[str, Any]]) -> None:
    (tagged,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    names = {line.partition(" = ")[0] for line in tagged["source"]}
    assert names == {"database", "taxpayers", "first", "last"}


def test_only_marts_are_read_and_always_the_chosen_rows() -> None:
    found = dict(queries())
    assert len(found) > 10
    for name, query in found.items():
        inside = set(re.findall(r"(\w+) as \(\n", query))  # common table expressions
        sources = set(re.findall(r"\b(?:from|join)\s+([a-z][\w.]*)", query)) - inside
        assert sources, name
        if name not in WHOLE_FILE:
            assert all(s.startswith("marts.") or s in LOOKS for s in sources), name
            assert re.search(r"\bchosen(_month|_taxpayer)?\(", query), name


def test_rates_are_never_averaged() -> None:
    for name, query in queries():
        assert not re.search(r"\bavg\(|_rate\w*\)", query), name
    for path in Path(pages.__file__).parent.rglob("*.py"):
        assert not re.search(r"\.mean\(", path.read_text(encoding="utf-8")), path.name


def test_no_machine_path_is_in_them() -> None:
    for path in NOTEBOOKS:
        assert not re.search(r"/(home|root|tmp|Users)/", path.read_text(encoding="utf-8"))


def test_nbconvert_draws_the_charts_without_a_network(
    browser: Browser, database: Path, tmp_path: Path
) -> None:
    notebook = nbformat.read(FOLDER / "failure_trends.ipynb", as_version=4)
    keep = ("open_marts", "over_time", "reasons")
    notebook.cells = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        or "parameters" in cell.metadata.get("tags", [])
        or any(word in cell.source for word in keep)
    ]
    for cell in notebook.cells:
        cell.source = cell.source.replace("../kseflow-demo/ksef.duckdb", str(database))
    nbformat.write(notebook, tmp_path / "charts.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--execute", "charts.ipynb"]
    environment = {k: v for k, v in os.environ.items() if k != "PLOTLY_RENDERER"}
    subprocess.run(
        command, cwd=tmp_path, env=environment | {"IPYTHONDIR": str(tmp_path)}, check=True
    )
    browser.open(tmp_path / "charts.html")
    charts = "[...document.querySelectorAll('.js-plotly-plot')]"
    assert browser.evaluate(f"{charts}.length") == 2
    assert browser.evaluate(f"{charts}.every(c => c.querySelector('path.point, .points path'))")
    assert (tmp_path / "charts.html").stat().st_size < 8_000_000  # plotly.js once
