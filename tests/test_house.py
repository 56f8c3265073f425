"""The house: arrows between modules run down only, in no circle, and no chain of them is long.

Every import counts: those at the top of a module, in functions, and those for types only.
"""

import ast
from collections.abc import Collection
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

import kseflow

PACKAGE = Path(kseflow.__file__).parent
CHAIN = 9  # modules, from a command to the farthest

# From the top down; a module imports from its own layer and from those below.
LAYERS = (
    {"cli"},
    {"commands", "dagster"},
    {"demo", "deploy", "progress", "terminal"},
    {"columns", "console"},
    {"watch", "marts", "pages"},
    {"trends"},
    {"loading"},
    {"logins"},
    {"raw", "api"},
    {"context", "database", "options", "settings", "shard", "words"},
    {"clock", "constants", "errors", "files"},
)


def layer(module: str) -> int:
    room = module.split(".")[1]
    return next(number for number, rooms in enumerate(LAYERS) if room in rooms)


@cache
def graph() -> dict[str, set[str]]:
    """Return, by module of the package, which of its modules it imports."""
    files = {}
    for path in PACKAGE.rglob("*.py"):
        parts = ("kseflow", *path.relative_to(PACKAGE).with_suffix("").parts)
        files[".".join(parts).removesuffix(".__init__")] = path
    return {
        module: set(imports(module, path, files.keys())) - {module}
        for module, path in files.items()
    }


def imports(module: str, path: Path, known: Collection[str]) -> list[str]:
    """Return the modules among `known` that a file imports."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            home = resolve_name("." * node.level + (node.module or ""), package)
            submodules = [f"{home}.{name.name}" for name in node.names]
            found += [name if name in known else home for name in submodules]
    return [name for name in found if name in known]


# The package itself is the door: it names what others import, and nothing inside imports it.
def rooms() -> dict[str, set[str]]:
    return {module: others for module, others in graph().items() if module != "kseflow"}


def test_nothing_inside_imports_the_door() -> None:
    assert [module for module, others in rooms().items() if "kseflow" in others] == []


def test_no_circle() -> None:
    try:
        list(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        pytest.fail(" > ".join(error.args[1]))


def test_arrows_run_down_only() -> None:
    up = [
        f"{module} > {other}"
        for module, others in rooms().items()
        for other in others
        if layer(other) < layer(module)
    ]
    assert up == []


def test_no_chain_of_imports_is_long() -> None:
    order = TopologicalSorter(graph()).static_order()
    longest: dict[str, tuple[str, ...]] = {}
    for module in order:
        below = [longest[other] for other in graph()[module]]
        longest[module] = (module, *max(below, key=len, default=()))
    chain = max(longest.values(), key=len)
    assert len(chain) <= CHAIN, " > ".join(chain)


def test_only_one_module_connects_to_duckdb() -> None:
    callers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "duckdb.connect"
    }
    assert callers == {"database.py"}


def test_no_function_is_longer_than_50_lines() -> None:
    long = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= 50
    ]
    assert long == []


def test_no_module_is_named_as_a_door() -> None:
    names = {path.stem for path in PACKAGE.iterdir()}
    assert names.isdisjoint({"load", "build", "report", "check"})
