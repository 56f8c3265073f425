"""What an answer of KSeF looks like, whatever it says: its keys, types and formats of texts."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
FORMATS = {
    "moment in ticks, offset": rf"{TIME}\.\d{{1,7}}\+\d\d:\d\d",
    "moment in ticks, Z": rf"{TIME}\.\d{{1,7}}Z",
    "moment in seconds, offset": rf"{TIME}\+\d\d:\d\d",
    "moment in seconds, Z": rf"{TIME}Z",
    "HTTP date": r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
    "KSeF number": r"\d{10}-\d{8}-[0-9A-F]{12}-[0-9A-F]{2}",
    "UUID": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "trace": r"00-[0-9a-f]{32}-[0-9a-f]{16}-00",
    "SHA-256": r"[A-Za-z0-9+/]{43}=",
    "certificate": r"MII[A-Za-z0-9+/]{200,}=*",
    "NIP": r"\d{10}",
    "VAT number": r"VATPL-\d{10}",
    "digits": r"\d+",
}
REFERENCE = re.compile(
    r"(\d{8})-([A-Z]{2}|[a-z]{2})-[0-9A-Fa-f]{10}-[0-9A-Fa-f]{10}-[0-9A-Fa-f]{2}"
)
NAME = re.compile(r"[A-Z]+[a-z][A-Za-z]*")
KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")


def shape(value: Any) -> Any:
    """Return a value with the format of each text in its place; a list has the set of its items'.

    Claims of tokens and JSON within texts are read as well; single names (`ContextToken`) stay.
    """
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, list):
        kinds = {json.dumps(_of_item(item), sort_keys=True) for item in value}
        return [json.loads(kind) for kind in sorted(kinds)]
    return _format(value) if isinstance(value, str) else type(value).__name__


def _of_item(item: Any) -> Any:
    """Return the shape of a list's item; which names of a list it holds is no matter of shape."""
    return "a name" if isinstance(item, str) and NAME.fullmatch(item) else shape(item)


def _format(text: str) -> Any:
    for name, form in FORMATS.items():
        if re.fullmatch(form, text):
            return name
    if found := REFERENCE.fullmatch(text):
        return f"reference {found[2]}"
    if re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", text) and text.startswith("ey"):
        header, claims, _ = text.split(".")
        return {"token": [shape(_decoded(header)), shape(_decoded(claims))]}
    if text.startswith(("{", "[")):
        return {"JSON": shape(json.loads(text))}
    if text.startswith(("http://", "https://")):
        return _link(text)
    if NAME.fullmatch(text):
        return text
    return "a-word" if KEBAB.fullmatch(text) else "text"


def _decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def _link(link: str) -> Any:
    """Return the formats of a link's path and parameters, on whichever host."""
    parts = urlsplit(link)
    steps = [re.sub(r"\d\d", "NN", s, count=1) if len(s) == 2 else s for s in parts.path.split("/")]
    path = "/".join(_step(step) for step in steps)
    parameters = {name: _parameter(value) for name, value in parse_qsl(parts.query)}
    return {"path": path, "parameters": parameters}


def _parameter(value: str) -> Any:
    """Return a parameter's format; short ones, and versions, are told as they are."""
    return value if len(value) < 3 or re.fullmatch(r"\d{4}-\d\d-\d\d", value) else shape(value)


def _step(step: str) -> str:
    """Return a step of a path with the formats of the numbers in it."""
    step = re.sub(r"\d{10}-\d{8}-[0-9A-Fa-f]{12}-[0-9A-Fa-f]{2}", "<KSeF number>", step)
    return REFERENCE.sub(lambda found: f"<reference {found[2]}>", step)


def differences(recorded: Any, other: Any, where: str = "") -> Iterator[str]:
    """Yield what differs between two shapes, each with its path."""
    if isinstance(recorded, dict) and isinstance(other, dict):
        for key in recorded.keys() | other.keys():
            path = f"{where}.{key}" if where else key
            if key not in other:
                yield f"{path}: recorded as {recorded[key]!r}, not emulated"
            elif key not in recorded:
                yield f"{path}: emulated as {other[key]!r}, not recorded"
            else:
                yield from differences(recorded[key], other[key], path)
    elif isinstance(recorded, list) and isinstance(other, list):
        # An empty list says nothing of its items.
        for one in recorded if other else ():
            found = [list(differences(one, another, f"{where}[]")) for another in other]
            yield from min(found, key=len)
    elif recorded != other:
        yield f"{where}: recorded as {recorded!r}, emulated as {other!r}"
