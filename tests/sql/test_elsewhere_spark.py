"""The models in Apache Spark: the rows that DuckDB makes of the same loads, to six decimals.

Spark, its dbt adapter and a Java are half a gigabyte: `make elsewhere` installs and runs them.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow.parquet as pq
import pytest

from kseflow.marts.fingerprint import project_folder
from tests.sql.elsewhere import assert_same, marts_of, raw_tables

if TYPE_CHECKING:
    from tests.sql.conftest import Built

SPARK = Path(sys.prefix) / "spark"
FROM_PYTHON = {"anomalies"}  # is empty there: dbt-spark runs no Python in this process


@pytest.mark.skipif(not SPARK.exists(), reason="make elsewhere installs Spark and runs this")
def test_every_mart_has_duckdbs_rows(built: "Built", tmp_path: Path) -> None:
    raw, marts = tmp_path / "raw", tmp_path / "marts"
    raw.mkdir()
    for name, rows in raw_tables(built.database):
        pq.write_table(rows, raw / f"{name}.parquet")
    done = subprocess.run(
        [SPARK / "bin" / "python", Path(__file__).with_name("spark_build.py"),
         raw, project_folder(), marts],
        env={**os.environ, "PATH": f"{SPARK / 'bin'}:{os.environ['PATH']}",
             "SPARK_LOCAL_IP": "127.0.0.1"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for mart, columns, rows in marts_of(built.analysts):
            theirs = connection.execute(
                f"select {', '.join(columns)} from read_parquet('{marts}/{mart}/*.parquet')"
            ).fetchall()
            assert_same(mart, columns, [] if mart in FROM_PYTHON else rows, theirs)
