"""kseflow beside its baselines: one table, and one JSON file.

python -m tests.bench                    all eight parts, under ten minutes on two cores
python -m tests.bench --quick            the ratios that must not slip, under a minute
python -m tests.bench --whole growth     that part, for as long as it takes
"""

import argparse
import json
import logging
import sys
import time
from importlib import import_module
from pathlib import Path

from rich.console import Console

from tests.bench.figures import Figure, Scale, machine, table

PARTS = {
    "requests": "requests_by_group",
    "budget": "budget_use",
    "taxpayers": "many_taxpayers",
    "load": "load_path",
    "nothing": "nothing_to_do",
    "growth": "growth",
    "packages": "packages",
    "worklist": "worklist",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", dest="scale", action="store_const", const=Scale.QUICK)
    sizes.add_argument("--whole", dest="scale", action="store_const", const=Scale.WHOLE)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - PARTS.keys():
        parser.error(f"no part {min(unknown)!r}; there are {', '.join(PARTS)}")
    logging.getLogger("kseflow").setLevel(logging.CRITICAL)
    run(asked.parts or list(PARTS), asked.scale or Scale.DEFAULT, asked.json)


def run(names: list[str], scale: Scale, file: Path | None) -> None:
    """Measure parts, and tell each figure as soon as it is known."""
    parts: dict[str, list[Figure]] = {}
    took: dict[str, float] = {}
    begun_on = machine()
    for name in names:
        part = import_module(f"tests.bench.{PARTS[name]}")
        begun = time.perf_counter()
        figures = parts[part.TITLE] = []
        for figure in part.figures(scale):
            print(f"{name}: {figure.what}: {figure.value:g} {figure.unit}", file=sys.stderr)
            figures.append(figure)
        took[name] = round(time.perf_counter() - begun, 1)
    Console(width=100).print(table(parts))
    print(f"seconds by part: {took}, in all {sum(took.values()):.0f}; {begun_on}")
    if file is not None:
        told = {
            "scale": scale.value,
            "machine": begun_on,
            "seconds": took,
            "parts": {
                title: [figure.as_json() for figure in figures] for title, figures in parts.items()
            },
        }
        file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
