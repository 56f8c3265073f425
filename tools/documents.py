"""Tables in the Markdown documents, from the declarations that they describe.

A line `<!-- table: NAME -->` and an empty line stand before each; NAME is a key of `SHOWN`.
"""

import csv
import re
from collections.abc import Callable, Iterator
from math import isinf
from pathlib import Path

import yaml

from kseflow.options import OPTIONS
from kseflow.raw.tables import TABLES
from kseflow.watch.questions import CHECKS, Check

SQL = Path(__file__).parents[1] / "sql"
MARKED_TABLE = re.compile(r"(<!-- table: (?P<name>[a-z ]+) -->\n\n)(?:\|.*\n)*")
# What a reader types: commands and options of kseflow, and tables with their columns.
TYPED = re.compile(r"kseflow (?:load|build|doctor)\b|--[a-z-]+|\bmarts\.\w+|\b[a-z]+(?:_[a-z]+)+\b")

Rows = Iterator[tuple[str, ...]]


def checks() -> Rows:
    """Yield what `kseflow check` looks for."""
    yield "check", "finds, for each taxpayer", "warning", "critical", "what to do"
    for check in CHECKS:
        bounds = (_bound(check, value) for value in (check.warning, check.critical))
        yield f"`{check.name}`", check.finds, *bounds, TYPED.sub(r"`\g<0>`", check.remedy)


def options() -> Rows:
    """Yield what a load can be asked, on the command line and in configuration files."""
    yield "option", "in `[sources.ksef]`", "what it does", "default"
    for option in OPTIONS:
        value = "|".join(option.choices) if not option.is_many else "TYPE"
        asked = f"`{option.flag} {option.metavar or value or 'N'}`"
        key = f"`{option.name}`" if option.is_in_files else ""
        yield asked, key, option.help, option.default_text


def raw_tables() -> Rows:
    """Yield the tables that loads write, with the endpoint each comes from."""
    yield "table", "one row per", "key beside the taxpayer", "from"
    for table in TABLES:
        told, _, origin = table.description.removeprefix("One row per ").partition(". ")
        key = (f"`{name}`" for name in table.key if not name.startswith("context_"))
        yield f"`{table.name}`", told, ", ".join(key), origin


def marts() -> Rows:
    """Yield the marts, each with the first sentence of its description."""
    yield "mart", "one row per"
    for file in sorted((SQL / "models" / "marts").glob("*.yml")):
        for model in yaml.safe_load(file.read_text()).get("models", ()):
            told = re.sub(r"^One row(?: per|:) ", "", model["description"].split(". ")[0])
            yield f"`{model['name']}`", told.rstrip(".")


def status_codes() -> Rows:
    """Yield KSeF's status codes that somebody has to act on, from the seeds."""
    yield "status of", "code", "meaning", "who acts", "what to do"
    categories = {row["category"]: row for row in seed("failure_categories")}
    for row in seed("session_statuses"):
        yield from _status(f"{row['session_type']} session", row, row)
    for row in seed("invoice_statuses"):
        yield from _status("invoice", row, categories.get(row["category"]))
    for row in seed("export_statuses"):
        yield from _status("export", row, row)


def seed(name: str, **wanted: str) -> list[dict[str, str]]:
    """Return the rows of a seed that have the wanted values, every value as text."""
    with (SQL / "seeds" / f"{name}.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if wanted.items() <= row.items()]


SHOWN: dict[str, Callable[[], Rows]] = {
    "checks": checks,
    "marts": marts,
    "options": options,
    "raw tables": raw_tables,
    "status codes": status_codes,
}


def documents(root: Path) -> dict[str, str]:
    """Return the text of each document that holds a marked table, by its path below `root`.

    Raises `KeyError` naming a table that nobody declares.
    """
    files = [*root.glob("*.md"), *root.glob("sql/*.md"), *root.glob("docs/*.md")]
    texts = {str(file.relative_to(root)): file.read_text() for file in sorted(files)}
    return {
        path: MARKED_TABLE.sub(lambda found: found[1] + _markdown(SHOWN[found["name"]]()), text)
        for path, text in texts.items()
        if MARKED_TABLE.search(text)
    }


def _markdown(rows: Rows) -> str:
    header, *body = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    lines = [header, ["---"] * len(header), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- ", "|---")


def _bound(check: Check, value: float) -> str:
    if isinf(value):
        return "off"
    return f"{value * 100:g} %" if check.is_rate else f"{value:,g}"


def _status(kind: str, row: dict[str, str], action: dict[str, str] | None) -> Rows:
    if action and action["who_acts"] != "nobody":
        yield kind, row["status_code"], row["meaning_en"], action["who_acts"], action["what_to_do"]
