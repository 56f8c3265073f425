"""KSeF's OpenAPI document, cut down to what the emulator serves: `python -m tools.contract FILE`.

FILE is the whole document, open-api.json of CIRFMF/ksef-api. Written are the contract that the
tests hold the emulator to, and the list of all operations with which the emulator names those
that it does not serve.
"""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ksef_emulator import Emulator, VirtualClock, World
from ksef_emulator.api.contract import numbered

ROOT = Path(__file__).parents[1]
TRIMMED = ROOT / "tests" / "data" / "ksef-openapi.json"
OPERATIONS = ROOT / "pipelines" / "ksef_emulator" / "api" / "operations.json"

# No answer refers to it: rows of _metadata.json in packages are such objects.
ALSO_KEPT = ("InvoiceMetadata",)

# What KSeF requires since and the newest document that can be had (2.7.0) does not say.
# Source: CIRFMF/ksef-api api-changelog.md and #863, models generated from 2.9.0 by ksef2 1.1.0
NEW_GROUPS = {  # 2.8.0
    "onlineSessionClose": "Limity dla zamykania sesji interaktywnych.",
    "batchSessionClose": "Limity dla zamykania sesji wsadowych.",
    "anonymous": "Limity dla anonimowych operacji API (nieuwierzytelnionych).",
    "global": "Limity globalne dla wszystkich operacji API (per adres IP).",
}
NEW_CURRENCIES = {"CNH", "SLE", "VED", "XTS", "ZWG"}  # 2.8.1
MOVED = (  # 2.7.1
    ("/collective-identifiers/{collectiveIdentifierNumber}/invoices", "get"),
    ("/collective-identifiers/invoices", "post"),
)

Json = dict[str, Any]


def amended(document: Json) -> Json:
    """Return a document with what newer versions require; one that has it stays as it is."""
    amended: Json = json.loads(json.dumps(document))
    schemas, paths = amended["components"]["schemas"], amended["paths"]
    groups = schemas["EffectiveApiRateLimits"]
    for group, description in NEW_GROUPS.items():
        groups["properties"].setdefault(
            group, {**groups["properties"]["other"], "description": description}
        )
        _require(groups, group)
    package = schemas["InvoicePackage"]  # 2.7.1
    package["properties"].setdefault(
        "compressionType", {"$ref": "#/components/schemas/CompressionType"}
    )
    _require(package, "compressionType")
    forbidden = schemas["ForbiddenProblemDetails"]  # 2.8.1
    forbidden["required"] = [name for name in forbidden["required"] if name != "timestamp"]
    currencies = schemas["CurrencyCode"]
    currencies["enum"] = sorted(NEW_CURRENCIES.union(currencies["enum"]))
    (old_path, old_method), (new_path, new_method) = MOVED
    if old_path in paths:
        paths[new_path] = {new_method: paths.pop(old_path)[old_method]}
    return amended


def trimmed(document: Json, served: set[tuple[str, str]]) -> Json:
    """Return a document with the served operations only, and the components they refer to.

    `served` are methods and paths, the parts that vary numbered.
    """
    paths = {
        path: kept
        for path, operations in document["paths"].items()
        if (kept := {m: o for m, o in operations.items() if (m.upper(), numbered(path)) in served})
    }
    named = {("schemas", name) for name in ALSO_KEPT}
    waiting: list[object] = [paths, *(_component(document, *name) for name in named)]
    while waiting:
        for name in set(_references(waiting.pop())) - named:
            named.add(name)
            waiting.append(_component(document, *name))
    components = {
        kind: {n: c for n, c in those.items() if (kind, n) in named or kind == "securitySchemes"}
        for kind, those in document["components"].items()
    }
    whole = {name: document[name] for name in ("openapi", "info", "servers")}
    return {**whole, "paths": paths, "components": {k: c for k, c in components.items() if c}}


def operations(document: Json) -> list[tuple[str, str, str]]:
    """Return method, path and the first line of the summary of each operation."""
    return [
        (method.upper(), path, operation["summary"].partition("\n")[0])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def served() -> set[tuple[str, str]]:
    """Return what the emulator serves of KSeF's API."""
    app = Emulator(World(seed=1), VirtualClock(datetime(2026, 9, 22, tzinfo=UTC)))
    return {(route.method, numbered(route.path.removeprefix("/v2"))) for route in app.routes}


def text_of(document: Json) -> str:
    """Write a document as it is kept."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def listed(those: list[tuple[str, str, str]]) -> str:
    """Write operations as they are kept, one a line."""
    lines = ",\n".join(json.dumps(operation, ensure_ascii=False) for operation in those)
    return f"[\n{lines}\n]\n"


def _require(schema: Json, name: str) -> None:
    schema["required"] = sorted({*schema["required"], name})


def _component(document: Json, kind: str, name: str) -> object:
    return document["components"][kind][name]


def _references(part: object) -> Iterator[tuple[str, str]]:
    """Yield kind and name of each component that a part of a document refers to."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            _, kind, name = part["$ref"].rsplit("/", 2)
            yield kind, name
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def main(path: str) -> None:
    """Write both files anew from the whole document."""
    document = amended(json.loads(Path(path).read_text(encoding="utf-8")))
    TRIMMED.write_text(text_of(trimmed(document, served())), encoding="utf-8")
    OPERATIONS.write_text(listed(operations(document)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
