"""Compare the OpenAPI document that KSeF serves with the one that this release was written for.

contract.json beside this file holds the latter's version, and by endpoint the fields that we send
and read; `make generate` writes it from tests/data/ksef-openapi.json.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from kseflow.api.answers import Bound, accepted, json_of
from kseflow.clock import Clock
from kseflow.errors import ContractViolation, KsefError
from kseflow.watch.doctor.asking import asked
from kseflow.watch.finding import Finding, ok, warning

DOCUMENT = "/docs/v2/openapi.json"  # on the API's host; przeglad-kluczowych-zmian-ksef-api-2-0.md
WRITTEN_FOR = Path(__file__).with_name("contract.json")
ENDPOINTS = (
    "POST /auth/challenge",
    "POST /auth/ksef-token",
    "POST /auth/xades-signature",
    "GET /auth/{referenceNumber}",
    "POST /auth/token/redeem",
    "POST /auth/token/refresh",
    "GET /security/public-key-certificates",
    "GET /rate-limits",
    "GET /sessions",
    "GET /sessions/{referenceNumber}",
    "GET /sessions/{referenceNumber}/invoices",
    "GET /sessions/{referenceNumber}/invoices/failed",
    "GET /sessions/{referenceNumber}/invoices/{invoiceReferenceNumber}",
    "GET /sessions/{referenceNumber}/upo/{upoReferenceNumber}",
    "GET /sessions/{referenceNumber}/invoices/ksef/{ksefNumber}/upo",
    "GET /sessions/{referenceNumber}/invoices/{invoiceReferenceNumber}/upo",
    "POST /invoices/exports",
    "GET /invoices/exports/{referenceNumber}",
)
VERSION = re.compile(r"Wersja API:\W*(\d+(?:\.\d+)+)")
PLAIN = re.compile(r"[\w.,()|?/{} \[\]:-]{1,200}")
PATIENCE_S = 30.0
SIZE = Bound(10_000_000, "fourteen times the document of 2.7.0")
STEPS = 50_000  # schemas read for all endpoints; the contract has a thousand
NAMED = 8  # changes told of each kind

Fields = dict[str, dict[str, str]]


def written_for() -> dict[str, Any]:
    """Return `{version, endpoints: {endpoint: {field: kind}}}` of this release."""
    found: dict[str, Any] = orjson.loads(WRITTEN_FOR.read_bytes())
    return found


def contract_of(document: Any) -> dict[str, Any]:
    """Reduce an OpenAPI document to its version and the fields of our endpoints.

    Parameters stand as `?name`, fields that we send as `>name`; a kind that ends in `?` may be
    null or left out. Raises `ContractViolation` for what is no such document.
    """
    try:
        found = VERSION.search(document["info"]["description"])
        version = found[1] if found else str(document["info"]["version"])
        reader = _Reader(document)
        endpoints: Fields = {}
        for endpoint in ENDPOINTS:
            method, path = endpoint.split()
            operation = document["paths"].get(path, {}).get(method.lower())
            if operation is not None:
                endpoints[endpoint] = dict(reader.fields_of(operation))
        return {"version": version, "endpoints": endpoints}
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as problem:
        told = f"the OpenAPI document is garbled ({type(problem).__name__})"
        raise ContractViolation(told) from None


class _Reader:
    """Read the fields of operations, in no more steps than a contract takes."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._steps = 0

    def fields_of(self, operation: Any) -> Iterator[tuple[str, str]]:
        """Yield an operation's parameters, and the fields of what is sent and answered."""
        for parameter in map(self._resolved, operation.get("parameters", ())):
            schema = self._resolved(parameter["schema"])
            yield f"?{parameter['name']}", _kind(schema, parameter.get("required", False))
        yield from self._leaves(_schema(operation.get("requestBody", {})), ">", True)
        for status, answer in operation["responses"].items():
            if status.startswith("2"):
                yield from self._leaves(_schema(self._resolved(answer)), "", True)

    def _leaves(self, schema: Any, name: str, is_required: bool) -> Iterator[tuple[str, str]]:
        """Yield the fields below a schema with their kinds."""
        schema = self._resolved(schema)
        is_root = name in ("", ">")
        if not is_root:
            yield name, _kind(schema, is_required)
        if "items" in schema:
            yield from self._leaves(schema["items"], f"{name}[]", True)
        required = schema.get("required", ())
        for part, inner in schema.get("properties", {}).items():
            below = f"{name}{part}" if is_root else f"{name}.{part}"
            yield from self._leaves(inner, below, part in required)

    def _resolved(self, schema: Any) -> dict[str, Any]:
        """Follow references and put the parts of `allOf` together."""
        self._steps += 1
        if self._steps > STEPS:
            raise ContractViolation("the OpenAPI document has no end")
        found: dict[str, Any] = {**schema}
        if reference := found.pop("$ref", None):
            target = self._document
            for step in reference.removeprefix("#/").split("/"):
                target = target[step]
            found = self._resolved(target) | found
        for part in found.pop("allOf", ()):
            found = self._resolved(part) | found
        return found


def _schema(holder: Any) -> Any:
    """Return the schema of a body that is JSON, else of one that is none."""
    return holder.get("content", {}).get("application/json", {}).get("schema", {})


def _kind(schema: Mapping[str, Any], is_required: bool) -> str:
    """Write a schema's type in short: `string(date-time)`, `string(Online|Batch)?`."""
    told = schema.get("format") or "|".join(map(str, schema.get("enum", ())))
    may_lack = schema.get("nullable") or not is_required
    return f"{schema.get('type', 'any')}{f'({told})' if told else ''}{'?' if may_lack else ''}"


def examine_contract(base_url: str, clock: Clock) -> Finding:
    """Compare what KSeF serves now with what this release was written for."""
    try:
        served = contract_of(_served(base_url, clock))
    except KsefError as problem:
        return ok("api version", f"not compared: {problem}")
    own = written_for()
    version = served["version"] if PLAIN.fullmatch(served["version"]) else "of an odd version"
    told = f"KSeF serves API {version}, this release was written for {own['version']}"
    changes = list(_changes(own["endpoints"], served["endpoints"]))
    if not changes:
        return ok("api version", f"{told}; the fields that it uses are the same")
    remedy = "Look for a newer kseflow; new fields are kept in the column unrecognised till then"
    return warning("api version", f"{told}; {'; '.join(changes)}", remedy)


def _served(base_url: str, clock: Clock) -> Any:
    """Fetch the document from the API's host."""
    parts = urlsplit(base_url)
    url = f"{parts.scheme}://{parts.netloc}{DOCUMENT}"
    try:
        answer = asked(base_url, url, clock, bound=SIZE, patience_s=PATIENCE_S)
    except (httpx.RequestError, TimeoutError) as problem:
        raise ContractViolation(f"GET {DOCUMENT}: {type(problem).__name__}") from None
    return json_of(accepted(answer))


def _changes(own: Fields, served: Fields) -> Iterator[str]:
    """Say which endpoints and fields are new, changed or gone."""
    pairs = [(e, own[e], served[e]) for e in own if e in served]
    yield from _named("endpoint gone", [e for e in own if e not in served])
    new = [f"{e}: {f}" for e, before, now in pairs for f in now if f not in before]
    yield from _named("new", new)
    gone = [f"{e}: {f}" for e, before, now in pairs for f in before if f not in now]
    yield from _named("gone", gone)
    changed = [
        f"{e}: {f}, {before[f]} is {now[f]}"
        for e, before, now in pairs
        for f in before
        if f in now and now[f] != before[f]
    ]
    yield from _named("changed", changed)


def _named(kind: str, names: list[str]) -> Iterator[str]:
    if names:
        shown = [name if _is_plain(name) else "one with an odd name" for name in names[:NAMED]]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield f"{kind}: {', '.join(shown)}{more}"


def _is_plain(name: str) -> bool:
    return PLAIN.fullmatch(name.replace(">", "").replace("?", "")) is not None
