"""Every model and test, compiled for warehouses that no test can start.

A parser lets pass what the warehouse itself refuses. So all that is written is compared with lists
of what each documents: functions, types, and the constructs that it lacks.
"""

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel

from kseflow.marts.fingerprint import project_folder
from kseflow.marts.rounds import invoked
from tests.sql.dialects import PREFIXES, compiled

if TYPE_CHECKING:
    from tests.sql.conftest import Built

Parsed = tuple[Any, list[str]]  # dbt's manifest, and where dbt finds and puts its files

# What SQL writes before a bracket that opens no function's arguments.
WORDS = (
    "and as by decimal exists filter from group in join not on or over select then union using "
    "varchar when where with"
)
NAMES = "days texts"  # of tables with their columns: `as texts (text, number)`
COMMON = (
    "abs cast ceil coalesce count greatest lag least left length lower max min nullif row_number "
    "substr sum trim regexp_replace"
)
# Beyond these, as each warehouse documents them.
FUNCTIONS = {
    "postgres": "array_agg date_trunc extract generate_series hashtextextended jsonb_array_length "
    "jsonb_array_elements_text jsonb_path_query_first jsonb_typeof percentile_cont regexp_match "
    "timezone translate",
    "redshift": "date_trunc datediff fnv_hash json_array_length json_extract_array_element_text "
    "json_extract_path_text percentile_cont regexp_instr regexp_substr rpad "
    "substring timezone translate",
    "spark": "add_months convert_timezone current_timezone date_add date_trunc explode from_json "
    "get_json_object json_array_length max_by percentile_cont posexplode regexp_extract sequence "
    "struct unix_micros xxhash64",
    "bigquery": "array_agg array_length date date_add date_trunc farm_fingerprint floor "
    "generate_date_array json_query_array json_value json_value_array regexp_contains "
    "regexp_extract safe_offset struct timestamp_add timestamp_diff to_json_string unix_date "
    "unnest",
    "snowflake": "array_agg array_generate_range array_size convert_timezone date_trunc datediff "
    "flatten get get_path greatest_ignore_nulls hash least_ignore_nulls parse_json "
    "percentile_cont regexp_count regexp_instr regexp_substr replace startswith",
}
FUNCTIONS["databricks"] = FUNCTIONS["spark"]
# As sqlglot writes them; its INT is everybody's integer.
TYPES = {
    "postgres": "BIGINT BOOLEAN DATE DOUBLE_PRECISION INT JSONB TEXT TIMESTAMP TIMESTAMPTZ VARCHAR",
    "redshift": "BIGINT BOOLEAN DATE DOUBLE_PRECISION INTEGER TIMESTAMP_WITH_TIME_ZONE "
    "VARCHAR(64) VARCHAR(MAX)",
    "spark": "BIGINT BOOLEAN DATE DOUBLE INT STRING TIMESTAMP",
    "bigquery": "BIGNUMERIC BOOL DATE FLOAT64 INT64 NUMERIC STRING TIMESTAMP",
    "snowflake": "BIGINT BOOLEAN DATE DOUBLE INT TIMESTAMPTZ VARCHAR",
}
TYPES["databricks"] = TYPES["spark"]
DECIMALS = {"DECIMAL(18, 2)", "DECIMAL(38, 2)"}  # BigQuery's own have no more than 29 digits


def lacks(dialect: str, tree: exp.Expr) -> Iterator[str]:
    """Yield what a statement has and the warehouse lacks."""
    kinds = {type(node) for node in tree.walk()}
    no_filter = dialect in ("redshift", "bigquery", "snowflake")
    for kind, is_lacking in {
        exp.Qualify: dialect in ("postgres", "spark"),
        exp.Filter: no_filter,
        exp.NullSafeEQ: dialect == "redshift",
        exp.NullSafeNEQ: dialect == "redshift",
        exp.Command: True,  # what sqlglot did not understand
        exp.Tuple: dialect in ("redshift", "spark", "databricks"),
    }.items():
        if is_lacking and kind in kinds:
            yield kind.__name__
    for select in tree.find_all(exp.Select):
        yield from _lacks_of_select(dialect, select)
    for join in tree.find_all(exp.Join):
        if join.kind in ("SEMI", "ANTI") or join.args.get("method") == "ASOF":
            yield f"{join.kind or 'ASOF'} JOIN"
    for union in tree.find_all(exp.SetOperation):
        if union.args.get("by_name"):
            yield "UNION BY NAME"


def _lacks_of_select(dialect: str, select: exp.Select) -> Iterator[str]:
    if select.args.get("windows"):
        yield "WINDOW"
    group = select.args.get("group")
    if group and (group.args.get("all") or any(c.name.lower() == "all" for c in group.expressions)):
        yield "GROUP BY ALL"
    if select.find(exp.Star) and any(
        star.args.get(part) for star in select.find_all(exp.Star) for part in ("except_", "replace")
    ):
        yield "* EXCLUDE"
    orders = {
        within.expression.sql(dialect)
        for within in select.find_all(exp.WithinGroup)
        if not isinstance(within.parent, exp.Window)
    }
    if dialect == "redshift" and len(orders) > 1:
        yield "aggregates that sort by several values"


def frames(tree: exp.Expr) -> Iterator[str]:
    """Yield the kind of each window's frame that counts values, not rows."""
    for spec in tree.find_all(exp.WindowSpec):
        if spec.args.get("kind") == "RANGE":
            yield spec.sql()


@pytest.fixture(scope="module")
def parsed(built: "Built", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsed]:
    work = tmp_path_factory.mktemp("compiled")
    shutil.copy(built.database, work)
    folders = [f"--project-dir={project_folder()}", f"--profiles-dir={project_folder()}"]
    told = [*folders, f"--target-path={work / 'target'}", f"--log-path={work / 'logs'}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KSEFLOW_DATABASE", str(work / built.database.name))
        yield invoked(["parse", "--no-write-json", *told]), told


@pytest.mark.parametrize("dialect", sorted(PREFIXES.keys() - {"duckdb"}))
def test_all_sql_is_of_what_the_warehouse_has(dialect: str, parsed: Parsed) -> None:
    manifest, told = parsed
    statements = compiled(dialect, told, manifest)
    assert {"stg_sessions", "daily_outcomes", "windows_leave_no_gap"} <= statements.keys()
    known = set(" ".join((WORDS, NAMES, COMMON, FUNCTIONS[dialect])).split())
    types = {name.replace("_", " ") for name in TYPES[dialect].split()}
    types |= DECIMALS if dialect != "bigquery" else set()
    for name, sql in statements.items():
        (tree,) = sqlglot.parse(sql, read=dialect, error_level=ErrorLevel.RAISE)
        assert tree is not None
        assert list(lacks(dialect, tree)) == [], name
        assert dialect != "redshift" or list(frames(tree)) == [], name
        assert {kind.sql(dialect) for kind in tree.find_all(exp.DataType)} <= types, name
        assert called(sql, dialect) <= known, name
        if dialect == "snowflake":
            assert not re.search(r"(?<!')\(\?:", sql), name


def called(sql: str, dialect: str) -> set[str]:
    """Return what stands before an opening bracket, as it is written."""
    tokens = sqlglot.tokenize(sql, read=dialect)
    return {
        word.text.lower()
        for word, bracket in pairwise(tokens)
        if bracket.token_type == sqlglot.TokenType.L_PAREN and re.match("[a-z]", word.text, re.I)
    }


@pytest.mark.parametrize(
    ("dialect", "sql", "lacking"),
    [
        ("postgres", "select a from t qualify row_number() over (order by a) = 1", ["Qualify"]),
        ("snowflake", "select count(*) filter (where a) from t", ["Filter"]),
        ("redshift", "select a is not distinct from b from t", ["NullSafeEQ"]),
        ("postgres", "select a, count(*) from t group by all", ["GROUP BY ALL"]),
        ("duckdb", "select sum(a) over w from t window w as (order by b)", ["WINDOW"]),
        ("duckdb", "select a from t union all by name select a from u", ["UNION BY NAME"]),
        ("duckdb", "select * exclude (a) from t", ["* EXCLUDE"]),
        ("duckdb", "select * from t anti join u using (a)", ["ANTI JOIN"]),
        ("duckdb", "select * from t asof join u on t.a >= u.a", ["ASOF JOIN"]),
        ("redshift", "select percentile_cont(0.5) within group (order by a), "
         "percentile_cont(0.5) within group (order by b) from t",
         ["aggregates that sort by several values"]),
    ],
)  # fmt: skip
def test_what_a_warehouse_lacks_is_found(dialect: str, sql: str, lacking: list[str]) -> None:
    assert list(lacks(dialect, sqlglot.parse_one(sql, read=dialect))) == lacking
