"""`python -m tools.contract`, which cuts KSeF's document down to what the emulator serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ksef_emulator.api.contract import numbered, operations
from tools import contract

KEPT = contract.TRIMMED.read_text(encoding="utf-8")


def whole_document() -> dict[str, Any]:
    """The kept document as the ministry's might be: older, with more paths and components."""
    document: dict[str, Any] = json.loads(KEPT)
    paths, schemas = document["paths"], document["components"]["schemas"]
    more = {"summary": "More\n\nof it", "responses": {"$ref": "#/components/schemas/More"}}
    paths["/sessions"]["post"] = more
    paths["/more"] = {"get": more}
    schemas["More"] = {"allOf": [{"$ref": "#/components/schemas/YetMore"}]}
    schemas["YetMore"] = {"type": "string"}
    document["tags"] = ["more"]
    for group in contract.NEW_GROUPS:
        del schemas["EffectiveApiRateLimits"]["properties"][group]
        schemas["EffectiveApiRateLimits"]["required"].remove(group)
    del schemas["InvoicePackage"]["properties"]["compressionType"]
    schemas["InvoicePackage"]["required"].remove("compressionType")
    return document


def test_cutting_down_what_is_cut_down_changes_nothing() -> None:
    again = contract.trimmed(contract.amended(json.loads(KEPT)), contract.served())
    assert contract.text_of(again) == KEPT


def test_a_whole_document_is_cut_down_to_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "open-api.json"
    document.write_text(json.dumps(whole_document()), encoding="utf-8")
    monkeypatch.setattr(contract, "TRIMMED", tmp_path / "trimmed.json")
    monkeypatch.setattr(contract, "OPERATIONS", tmp_path / "operations.json")
    contract.main(str(document))
    kept = json.loads((tmp_path / "trimmed.json").read_text(encoding="utf-8"))
    assert kept == json.loads(KEPT)
    listed = json.loads((tmp_path / "operations.json").read_text(encoding="utf-8"))
    assert ["GET", "/more", "More"] in listed


def test_every_operation_of_the_contract_is_listed_and_served() -> None:
    document = json.loads(KEPT)
    of_contract = contract.operations(document)
    assert set(of_contract) <= set(operations())
    kept = {(m, numbered(path)) for m, path, _ in of_contract}
    v2 = {(m, p) for m, p in contract.served() if not p.startswith(("/emulator", "/storage"))}
    assert kept == v2


def test_the_contract_asks_for_what_ksef_requires_since_the_newest_document() -> None:
    schemas = json.loads(KEPT)["components"]["schemas"]
    assert len(schemas["EffectiveApiRateLimits"]["required"]) == 17
    assert "compressionType" in schemas["InvoicePackage"]["required"]
    assert "timestamp" not in schemas["ForbiddenProblemDetails"]["required"]
