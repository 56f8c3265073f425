"""What KSeF says, real strings and variants, and what the marts make of it: see reasons.yml."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from tests.sql.test_build import run_dbt

TABLE: dict[str, list[Any]] = yaml.safe_load(Path(__file__).with_name("reasons.yml").read_text())
ANY_CODE = 450


def every_text() -> Iterator[tuple[int, str | None]]:
    yield from ((case["code"], case["text"]) for case in TABLE["invoices"])
    for group in (*TABLE["equal"], *TABLE["different"]):
        yield from ((ANY_CODE, text) for text in group)


@pytest.fixture(scope="module")
def reasons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The seeds and `failure_messages` as dbt builds them, of every text in the table."""
    work = tmp_path_factory.mktemp("reasons")
    database = work / "reasons.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("create schema intermediate")
        connection.execute(
            "create table intermediate.listed_details (status_code integer, detail varchar)"
        )
        connection.executemany(
            "insert into intermediate.listed_details values (?, ?)", list(every_text())
        )
    seeds = ["failure_patterns", "failure_categories", "invoice_statuses", "session_statuses"]
    done = run_dbt(
        "build", "--select", "failure_messages", *seeds, "--resource-types", "seed", "model",
        work=work, database=database,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    with duckdb.connect(str(database), read_only=True) as connection:
        yield connection


def normalised(reasons: duckdb.DuckDBPyConnection, text: str) -> str:
    (found,) = reasons.execute(
        "select normalised_message from intermediate.failure_messages "
        "where status_code = ? and message = ?",
        [ANY_CODE, text],
    ).fetchall()
    return str(found[0])


@pytest.mark.parametrize(
    "case", TABLE["invoices"], ids=lambda case: f"{case['code']} {case['text']}"
)
def test_a_reason_is_of_the_right_category_and_told_to_the_right_person(
    reasons: duckdb.DuckDBPyConnection, case: dict[str, Any]
) -> None:
    (found,) = reasons.execute(
        "select category, who_acts, xml_element, xml_rule, normalised_message "
        "from intermediate.failure_messages left join seeds.failure_categories using (category) "
        "where status_code = ? and message is not distinct from ?",
        [case["code"], case["text"]],
    ).fetchall()
    expected = (case["category"], case["who_acts"], case.get("element"))
    assert found[:3] == expected
    assert found[3] == case.get("rule", found[3])
    assert found[4] == case.get("says", found[4])


@pytest.mark.parametrize(
    "case", TABLE["sessions"], ids=lambda c: f"{c['session_type']} {c['code']}"
)
def test_a_failed_session_says_who_acts_and_whether_its_invoices_have_rows(
    reasons: duckdb.DuckDBPyConnection, case: dict[str, Any]
) -> None:
    found = reasons.execute(
        "select who_acts, has_invoice_rows from seeds.session_statuses "
        "where session_type = ? and status_code = ?",
        [case["session_type"], case["code"]],
    ).fetchall()
    assert found == [(case["who_acts"], case["has_invoice_rows"])]


@pytest.mark.parametrize("group", TABLE["equal"], ids=lambda group: group[0])
def test_equal_mistakes_become_equal_texts(
    reasons: duckdb.DuckDBPyConnection, group: list[str]
) -> None:
    assert len({normalised(reasons, text) for text in group}) == 1, [
        normalised(reasons, text) for text in group
    ]


@pytest.mark.parametrize("group", TABLE["different"], ids=lambda group: group[0])
def test_different_mistakes_stay_different(
    reasons: duckdb.DuckDBPyConnection, group: list[str]
) -> None:
    texts = [normalised(reasons, text) for text in group]
    assert len(set(texts)) == len(group), texts


def test_the_table_holds_every_real_string_and_sixty_variants() -> None:
    cases = [*TABLE["invoices"], *TABLE["sessions"]]
    assert {case["seen"] for case in cases if "seen" in case} == set(range(1, 30))
    assert sum("seen" not in case for case in TABLE["invoices"]) >= 60


def test_every_category_and_every_pattern_has_a_case(
    reasons: duckdb.DuckDBPyConnection,
) -> None:
    told = {case["category"] for case in TABLE["invoices"]} | {"not_read_yet"}
    categories = reasons.sql("select category from seeds.failure_categories").fetchall()
    assert {category for (category,) in categories} == told
    unused = reasons.sql(
        "select priority, pattern from seeds.failure_patterns as patterns "
        "where not exists (select 1 from intermediate.failure_messages as messages "
        "  where messages.status_code = patterns.status_code "
        "  and regexp_matches(messages.normalised_message, patterns.pattern))"
    ).fetchall()
    assert unused == []
