"""Build the models in Spark, in process; run by the Python of `.venv/spark`, which has no kseflow.

    python spark_build.py RAW PROJECT MARTS

RAW has a parquet file for each raw table, and MARTS gets a folder of parquet for each mart.
"""

import sys
from pathlib import Path

from dbt.cli.main import dbtRunner
from pyspark.sql import SparkSession

SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.log.level": "ERROR",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.sql.session.timeZone": "America/New_York",  # the models do not depend on it
    "spark.sql.shuffle.partitions": "1",
    "spark.ui.enabled": "false",
}


def build(raw: Path, project: Path, marts: Path) -> None:
    """Build and test the models, and write the marts."""
    builder = SparkSession.builder.master("local[2]")
    for name, value in {**SETTINGS, "spark.sql.warehouse.dir": str(marts / "warehouse")}.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sql("create database ksef_raw")
    for file in raw.glob("*.parquet"):
        spark.sql(f"create table ksef_raw.{file.stem} using parquet location '{file}'")
    done = dbtRunner().invoke(
        ["build", "--target=spark", f"--project-dir={project}", f"--profiles-dir={project}",
         f"--target-path={marts / 'target'}", f"--log-path={marts / 'logs'}"]
    )  # fmt: skip
    if not done.success:
        sys.exit(f"dbt failed: {done.exception or 'see above'}")
    for table in spark.sql("show tables in marts").collect():
        spark.table(f"marts.{table.tableName}").write.parquet(str(marts / table.tableName))


if __name__ == "__main__":
    build(*map(Path, sys.argv[1:]))
