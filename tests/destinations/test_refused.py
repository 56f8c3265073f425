"""What is no destination of a load, and what goes wrong with one: a sentence, and no secret."""

from collections.abc import Callable
from pathlib import Path

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from kseflow import ksef_source
from kseflow.database import causes
from kseflow.errors import ConfigurationError, WarehouseError
from kseflow.loading.lakes import warehouse_of
from kseflow.loading.places import place_of
from kseflow.raw.tables import SYNC_LOG
from tests.conftest import Stage

SECRET = "tajne-haslo-4711"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("filesystem", "cannot merge rows"),
        ("sqlite", "not tried"),
        ("snowflake", "use duckdb, postgres, delta, iceberg"),
        ("postgress", "did you mean postgres"),
    ],
)
def test_what_is_not_tried_is_refused_before_anything_is_asked(
    tmp_path: Path, name: str, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        place_of(tmp_path / "ksef.duckdb", name)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://kseflow:{SECRET}@127.0.0.1:1/postgres",
        f"postgresql//kseflow:{SECRET}@127.0.0.1/postgres",
        f"postgresql://kseflow:{SECRET}@",
        "",
    ],
)
def test_a_server_that_cannot_be_reached_is_told_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    if url:
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
    place = place_of(tmp_path / "ksef.duckdb", "postgres")
    with pytest.raises(WarehouseError) as refused, place.held(0):
        pass
    assert str(refused.value).startswith("postgres: ")
    assert SECRET not in str(refused.value)


def test_a_source_refuses_plain_files_instead_of_doubling_rows(
    stage: Callable[..., Stage], tmp_path: Path
) -> None:
    made = stage(days=1, taxpayers=1)
    pipeline = dlt.pipeline(
        "plain",
        destination=dlt.destinations.filesystem(str(tmp_path / "files")),
        dataset_name="ksef",
        pipelines_dir=str(tmp_path / "work"),
    )
    with made.served() as base_url, pytest.raises(PipelineStepFailed) as failed:
        pipeline.run(ksef_source(base_url, credentials=made.logins(), exports_per_hour=0))
    refused = [each for each in causes(failed.value) if isinstance(each, ConfigurationError)]
    assert "destination_name='delta'" in str(refused[0])


def test_a_source_of_several_commits_loads_a_lake_without_doubles(
    stage: Callable[..., Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kseflow.loading.kept.COMMIT_ROWS", 5)
    monkeypatch.setenv("DESTINATION__DELTA__BUCKET_URL", str(tmp_path / "lake"))
    made = stage(days=1, taxpayers=2)
    pipeline = dlt.pipeline(
        "plain",
        destination=dlt.destination("delta", destination_type="dlt.destinations.filesystem"),
        dataset_name="ksef_raw",
        pipelines_dir=str(tmp_path / "work"),
    )
    with made.served() as base_url:
        pipeline.run(ksef_source(base_url, credentials=made.logins(), exports_per_hour=0))
    with warehouse_of(pipeline) as warehouse:
        rows = warehouse.rows("select * from {}", SYNC_LOG)
    keys = [tuple(row[name] for name in SYNC_LOG.key) for row in rows]
    assert len(keys) == len(set(keys)) == 2 * 4
