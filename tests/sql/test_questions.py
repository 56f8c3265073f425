"""The questions of the README are answered by the SQL below them."""

import re
from pathlib import Path

import duckdb
import pytest

from kseflow.marts.fingerprint import project_folder

PAGE = Path(__file__).parents[2].joinpath("README.md").read_text("utf-8")
QUESTIONS = re.findall(r"^\*\*(.+?)\*\*[^\n]*\n```sql\n(.+?)```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_holds_ten_questions_at_least() -> None:
    assert len(QUESTIONS) >= 10


@pytest.mark.parametrize(("question", "sql"), QUESTIONS, ids=[q for q, _ in QUESTIONS])
def test_its_sql_answers(question: str, sql: str, marts: duckdb.DuckDBPyConnection) -> None:
    assert marts.execute(sql).fetchall() != []


def test_shares_of_the_reasons_sum_to_one(marts: duckdb.DuckDBPyConnection) -> None:
    (sql,) = (sql for question, sql in QUESTIONS if question.startswith("Why"))
    total = sum(row[5] for row in marts.execute(sql).fetchall())
    assert total == pytest.approx(1)


def test_variables_and_tests_that_the_page_names_exist() -> None:
    project = (project_folder() / "dbt_project.yml").read_text()
    for name in (
        "file_name_reach_days",
        "invoice_number_reach_days",
        "late_close_hours",
        "stuck_hours",
    ):
        assert name in PAGE
        assert name in project
    assert list((project_folder() / "models" / "marts").glob("*_definitions.yml"))
