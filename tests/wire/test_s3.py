"""Sources and sinks on S3, against a server on loopback; every option is explicit, so that nothing else is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from airflow_provider_polars.testing import DevCluster

SECRET = "correct-horse-battery-staple"
ROWS = pl.DataFrame({"id": range(100), "part": [0, 1] * 50})


@pytest.fixture
def options(endpoint: str) -> dict[str, Any]:
    """Return what every scan and sink must be given."""
    storage_options = {
        "aws_access_key_id": "AKIALOOPBACK",
        "aws_secret_access_key": SECRET,
        "aws_region": "us-east-1",
        "endpoint_url": endpoint,
        "aws_allow_http": "true",
    }
    return {"storage_options": storage_options, "credential_provider": None}


@pytest.mark.parametrize("kind", ["parquet", "csv", "ipc"])
def test_a_file_is_written_counted_and_read_back(context: Any, options: dict[str, Any], kind: str) -> None:
    path = f"s3://lake/{kind}/rows.{kind}"

    query = getattr(ROWS.lazy().remote(context).single_node(), f"sink_{kind}")(path, **options)
    result = query.await_result()

    assert result.location == [path]
    assert result.n_rows_total == ROWS.height
    assert_frame_equal(result.head, ROWS.head(10))
    assert_frame_equal(getattr(pl, f"scan_{kind}")(path, **options).collect(), ROWS)


def test_directories_and_partitions_are_written(context: Any, options: dict[str, Any]) -> None:
    distributed = ROWS.lazy().remote(context).distributed().sink_parquet("s3://lake/directory/", **options)
    target = pl.PartitionBy("s3://lake/partitions/", key="part")
    partitioned = ROWS.lazy().remote(context).single_node().sink_parquet(target, **options)

    assert distributed.await_result().location == [f"s3://lake/directory/{distributed._query_id}-0000.parquet"]
    result = partitioned.await_result()
    assert result.location == ["s3://lake/partitions/"]
    assert result.n_rows_total == ROWS.height


def test_one_object_becomes_another(context: Any, options: dict[str, Any]) -> None:
    ROWS.lazy().remote(context).single_node().sink_parquet("s3://lake/a.parquet", **options).await_result()
    frame = pl.scan_parquet("s3://lake/a.parquet", **options).filter(pl.col("part") == 1)

    assert frame.remote(context).single_node().collect().height == 50


def test_a_missing_bucket_fails_with_its_class(context: Any, options: dict[str, Any]) -> None:
    query = ROWS.lazy().remote(context).single_node().sink_parquet("s3://nowhere/a.parquet", **options)

    with pytest.raises(FileNotFoundError):
        query.await_result()


def test_the_keys_in_a_plan_are_seen_nowhere(
    polars_dev_cluster: DevCluster, context: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    failing = ROWS.lazy().select(pl.col("id").cast(pl.String).str.to_date(strict=True))
    for frame, path in ((ROWS.lazy(), "s3://lake/secret.parquet"), (failing, "s3://nowhere/secret.parquet")):
        query = frame.remote(context).single_node().sink_parquet(path, **options)
        result = query.await_result(raise_on_failure=False)
        plans = context._get_direct_client().get_query_details(query._query_id)
        shown = [repr(result), repr(plans), query.plan("ir"), query.plan("physical")]
        assert not [text for text in shown if SECRET in text]

    shown = [json.dumps(polars_dev_cluster.get(path)) for path in ("/_dev/records", "/_dev/queries", "/_dev/status")]
    assert not [text for text in shown if SECRET in text]
