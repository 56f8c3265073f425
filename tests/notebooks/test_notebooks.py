"""The notebooks as they are kept: short, stripped, and readers of the marts alone."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kseflow.html_report import NOTEBOOKS, notebooks_folder


@pytest.fixture(params=NOTEBOOKS)
def cells(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    path = notebooks_folder() / f"{request.param}.ipynb"
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def code_of(cells: list[dict[str, Any]]) -> list[str]:
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_every_notebook_is_in_the_report() -> None:
    assert {path.stem for path in notebooks_folder().glob("*.ipynb")} == set(NOTEBOOKS)


def test_no_output_is_kept(cells: list[dict[str, Any]]) -> None:
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


def test_there_are_at_most_ten_code_cells(cells: list[dict[str, Any]]) -> None:
    assert len(code_of(cells)) <= 10


def test_one_cell_has_the_parameters(cells: list[dict[str, Any]]) -> None:
    (tagged,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    names = {line.partition(" = ")[0] for line in tagged["source"]}
    assert names == {"database", "taxpayers", "first", "last"}


def test_only_marts_are_read_and_always_the_chosen_rows(cells: list[dict[str, Any]]) -> None:
    queries = re.findall(r'marts\.sql\("""(.*?)"""\)', "\n".join(code_of(cells)), re.DOTALL)
    assert queries
    for query in queries:
        sources = re.findall(r"\b(?:from|join)\s+([\w.]+)", query)
        assert sources
        assert all(source.startswith("marts.") for source in sources), query
        assert "chosen(context_id, " in query


def test_rates_are_never_averaged(cells: list[dict[str, Any]]) -> None:
    assert not re.search(r"\b(avg|mean)\(|_rate\w*\)", " ".join(code_of(cells)).replace("nb.", ""))


def test_no_machine_path_is_in_them() -> None:
    for path in Path(notebooks_folder()).iterdir():
        if path.suffix in (".ipynb", ".jinja"):
            assert not re.search(r"/(home|root|tmp|Users)/", path.read_text(encoding="utf-8"))
