"""What is made of what: seeds, models and their tests, as dbt reads them from the SQL."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from kseflow.files import private_files
from kseflow.marts.fingerprint import project_folder

RELATIONS = ("model", "seed", "source")


@dataclass(frozen=True)
class Node:
    """A relation (`path` is schema and name), a test of `parents[0]`, or the report."""

    kind: str
    name: str
    path: tuple[str, ...]
    parents: tuple[str, ...]
    description: str


def lineage(cache: Path) -> dict[str, Node]:
    """Return dbt's nodes by their unique identifier; kept in the folder `cache`, for seconds."""
    project = project_folder()
    files = sorted(path for path in project.rglob("*.*") if "target" not in path.parts)
    digest = sha256(b"".join(path.read_bytes() for path in files if path.is_file())).hexdigest()
    kept = cache / f"lineage-{digest[:16]}.json"
    if not kept.exists():
        with private_files():
            cache.mkdir(parents=True, exist_ok=True)
            nodes = _parsed(project, digest)
            kept.write_bytes(orjson.dumps({name: asdict(node) for name, node in nodes.items()}))
    found: dict[str, dict[str, Any]] = orjson.loads(kept.read_bytes())
    return {
        name: Node(**node | {"path": tuple(node["path"]), "parents": tuple(node["parents"])})
        for name, node in found.items()
    }


@lru_cache(maxsize=1)
def _parsed(project: Path, digest: str) -> dict[str, Node]:
    """Have dbt read the project, whose files have this digest."""
    from dbt.cli.main import dbtRunner

    with TemporaryDirectory() as work:
        arguments = [f"--project-dir={project}", f"--profiles-dir={project}", "--no-write-json"]
        arguments += [f"--target-path={work}", f"--log-path={work}", "--log-level=none"]
        outcome = dbtRunner().invoke(["parse", "--quiet", *arguments])
    if outcome.exception is not None:
        raise outcome.exception
    return dict(_nodes(outcome.result))


def _nodes(manifest: Any) -> Iterator[tuple[str, Node]]:
    for name, node in {**manifest.nodes, **manifest.sources, **manifest.exposures}.items():
        kind = str(node.resource_type)
        if kind == "unit_test":
            continue
        path = (node.schema, node.name) if kind in RELATIONS else ()
        parents = tuple(node.depends_on_nodes) if kind != "source" else ()
        if attached := getattr(node, "attached_node", None):
            parents = (attached, *(parent for parent in parents if parent != attached))
        yield name, Node(kind, node.name, path, parents, node.description or "")
