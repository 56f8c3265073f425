"""What a build consists of, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from dbt.artifacts.schemas.run import RunResult
    from dbt.contracts.graph.nodes import GenericTestNode

LAYERS = ["seeds", "staging", "intermediate", "marts"]  # the folders


@dataclass(frozen=True)
class Step:
    """A model, a seed or a test of a build; `node` and `status` are as dbt names them."""

    node: str
    name: str
    status: str
    seconds: float
    message: str | None = None
    sql: str | None = None

    @classmethod
    def of_dbt(cls, result: "RunResult") -> Self:
        node: Any = result.node
        return cls(
            node.unique_id,
            f"{node.resource_type} {node.name}",
            str(result.status),
            result.execution_time,
            result.message,
            getattr(node, "compiled_code", None),
        )

    @classmethod
    def of_promise(
        cls, node: "GenericTestNode", seconds: float, count: int = 0, *, error: str | None = None
    ) -> Self:
        """Tell what became of a promise that `count` rows break, or that could not be asked."""
        broken = "warn" if node.config.severity.lower() == "warn" else "fail"
        results = f"{count} result{'s' if count != 1 else ''}"
        return cls(
            node.unique_id,
            f"test {node.name}",
            "error" if error else broken if count else "pass",
            seconds,
            error or f"Got {results}, configured to {broken} if != 0",
            node.compiled_code,
        )


def layer(node: "GenericTestNode") -> int:
    """Return how far from the raw tables the model is of which something is promised."""
    return min(LAYERS.index(part) for part in Path(node.original_file_path).parts if part in LAYERS)


def failed(steps: Sequence[Step]) -> list[Step]:
    """Return those that stop a build; a warning does not."""
    return [step for step in steps if step.status in ("error", "fail")]
