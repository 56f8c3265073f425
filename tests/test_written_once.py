"""What is written once is written everywhere else by `make generate`, or demanded here by name."""

import json
import re
from difflib import unified_diff
from pathlib import Path

import pytest

from kseflow.constants import ACCEPTED_STATUS_CODE, OPEN_STATUS_CODES, PENDING_STATUS_CODES
from tools.documents import SHOWN, documents, seed
from tools.generated import generated, left_over

ROOT = Path(__file__).parents[1]
CONTRACT = json.loads((ROOT / "tests" / "data" / "ksef-openapi.json").read_text())["components"]
GENERATED = generated(ROOT)

CODE = re.compile(r"^\| (\d{3}) \| (.*?)\s*\|", re.MULTILINE)
OF_LOGINS = "AuthenticationOperationStatusResponse"  # an exception, never a row


def described(schema: str) -> str:
    """Return what the contract says of a status, with the table of its codes."""
    return str(CONTRACT["schemas"][schema]["properties"]["status"]["description"])


BATCH, ONLINE = described("SessionStatusResponse").split("Sesja interaktywna:")
STATUSES = {
    "invoice": (seed("invoice_statuses"), described("SessionInvoiceStatusResponse")),
    "Batch session": (seed("session_statuses", session_type="Batch"), BATCH),
    "Online session": (seed("session_statuses", session_type="Online"), ONLINE),
    "export": (seed("export_statuses"), described("InvoiceExportStatusResponse")),
}
NOT_IN_THE_CONTRACT = {"export": {410}}  # HTTP 410, which loads store as the export's status


@pytest.mark.parametrize("path", GENERATED)
def test_a_generated_file_is_what_its_declarations_say(path: str) -> None:
    file = ROOT / path
    stands = file.read_text() if file.exists() else ""
    lines = unified_diff(
        stands.splitlines(), GENERATED[path].splitlines(), path, "declared", lineterm="", n=0
    )
    if difference := list(lines):
        pytest.fail("\n".join(["run `make generate`:", *difference]), pytrace=False)


def test_no_staging_file_stays_of_a_table_that_is_gone() -> None:
    assert left_over(ROOT) == [], "run `make generate`"


def test_every_table_is_shown_in_a_document() -> None:
    text = "".join(documents(ROOT).values())
    assert [name for name in SHOWN if f"<!-- table: {name} -->" not in text] == []


def test_a_marker_that_names_no_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("<!-- table: moons -->\n\n| moon |\n")
    with pytest.raises(KeyError, match="moons"):
        documents(tmp_path)


def test_a_table_is_written_anew_and_what_stands_around_it_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A\n<!-- table: checks -->\n\n| moon |\nText\n| mine |\n")
    (told,) = documents(tmp_path).values()
    assert told.startswith("# A\n<!-- table: checks -->\n\n| check | finds, for each taxpayer |")
    assert told.endswith("|\nText\n| mine |\n")
    assert "moon" not in told


@pytest.mark.parametrize("kind", STATUSES)
def test_every_status_code_of_the_contract_has_its_row_with_ksefs_words(kind: str) -> None:
    rows, text = STATUSES[kind]
    contract = {int(code): words for code, words in CODE.findall(text)}
    told = {int(row["status_code"]): row["description_pl"] for row in rows}
    assert contract.keys() - told.keys() == set(), f"{kind} codes without a row in sql/seeds"
    assert told.keys() - contract.keys() == NOT_IN_THE_CONTRACT.get(kind, set())
    assert {code: told[code] for code in contract} == contract


def test_every_failed_status_code_names_who_acts_and_what_to_do() -> None:
    actions = {row["category"]: row for row in seed("failure_categories")}
    without = [
        f"{kind} {row['status_code']}"
        for kind, (rows, _) in STATUSES.items()
        for row in rows
        if row["outcome"] not in ("accepted", "complete", "pending")
        for action in [actions.get(row["category"], {}) if "category" in row else row]
        if not (action.get("who_acts") and action.get("what_to_do"))
    ]
    assert without == []


def test_no_table_of_codes_in_the_contract_is_overlooked() -> None:
    with_codes = {
        name
        for name, schema in CONTRACT["schemas"].items()
        for part in schema.get("properties", {}).values()
        if CODE.search(part.get("description", ""))
    }
    assert with_codes == {
        "SessionInvoiceStatusResponse",
        "InvoiceExportStatusResponse",
        "SessionStatusResponse",
        OF_LOGINS,
    }


def test_the_codes_that_python_names_mean_what_the_seeds_say() -> None:
    invoices, sessions = seed("invoice_statuses"), seed("session_statuses")
    codes = {
        outcome: {int(row["status_code"]) for row in invoices if row["outcome"] == outcome}
        for outcome in ("pending", "accepted")
    }
    assert codes == {"pending": set(PENDING_STATUS_CODES), "accepted": {ACCEPTED_STATUS_CODE}}
    open_codes = {int(row["status_code"]) for row in sessions if row["outcome"] == "pending"}
    assert open_codes == set(OPEN_STATUS_CODES)
