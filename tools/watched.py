"""What the doctor compares KSeF's OpenAPI document with, from the copy that the tests use."""

import json
from pathlib import Path

from kseflow.watch.doctor.contract import WRITTEN_FOR, contract_of


def watched(root: Path) -> dict[str, str]:
    """Return the text of the doctor's contract.json, by its path below `root`."""
    document = json.loads((root / "tests/data/ksef-openapi.json").read_text(encoding="utf-8"))
    text = json.dumps(contract_of(document), indent=1, ensure_ascii=False)
    home = Path(*WRITTEN_FOR.parts[WRITTEN_FOR.parts.index("pipelines") :])
    return {str(home): f"{text}\n"}
