"""What a client says arrives: users, labels, lineage, priorities, settings."""

from __future__ import annotations

import uuid
from typing import Any

import polars as pl
import polars_cloud as pc
import pytest

from airflow_provider_polars.testing import DevCluster

FRAME = pl.LazyFrame({"a": [1, 2, 3]})


def test_labels_and_lineage_are_recorded(polars_dev_cluster: DevCluster, context: Any) -> None:
    run = uuid.uuid4()
    query = (
        FRAME.remote(context)
        .labels(["nightly", "team-a"])
        .with_lineage(
            job_namespace="airflow",
            job_name="sales.orders",
            parent_run_id=run,
            parent_job_namespace="airflow",
            parent_job_name="sales",
        )
        .single_node()
        .execute(blocking=False)
    )
    query.await_result()

    (submitted,) = polars_dev_cluster.recorder.submissions
    assert submitted["query_id"] == str(query._query_id)
    assert submitted["labels"] == ["nightly", "team-a"]
    assert submitted["lineage"] == {
        "job_namespace": "airflow",
        "job_name": "sales.orders",
        "parent_run_id": str(run),
        "parent_job_namespace": "airflow",
        "parent_job_name": "sales",
    }


def test_settings_of_the_query_are_recorded(polars_dev_cluster: DevCluster, context: Any) -> None:
    remote = FRAME.remote(context, n_retries=3, priority=-5, engine="streaming")

    remote.distributed(min_workers=1, max_workers=2).execute(blocking=False).await_result()

    (submitted,) = polars_dev_cluster.recorder.submissions
    expected = {
        "engine": "streaming",
        "distributed": True,
        "priority": -5,
        "n_retries": 3,
        "min_workers": 1,
        "max_workers": 2,
    }
    assert submitted.items() >= expected.items()


def test_user_versions_and_headers_are_recorded(
    polars_dev_cluster: DevCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLARS_CLOUD_USER_NAME", "ada")
    context = polars_dev_cluster.context(extra_headers={"x-team": "reporting"})

    query = FRAME.remote(context).single_node().execute(blocking=False)
    query.await_result()

    (submitted,) = polars_dev_cluster.recorder.submissions
    assert submitted["user"] == "ada"
    assert submitted["headers"]["x-polars-version"] == pl.__version__
    assert submitted["headers"]["x-client-version"] == pc.__version__
    assert submitted["headers"]["x-team"] == "reporting"
    detail = pc.QueryDetail._from_inner(context._get_direct_client().get_query_details(query._query_id))
    assert "ada" in repr(detail)


def test_optimizations_can_be_switched_off(context: Any) -> None:
    frame = FRAME.with_columns(b=pl.col("a") + 1).select("a")

    optimized = frame.remote(context, plan_type="plain").single_node().execute(blocking=False)
    optimized.await_result()
    plain = (
        frame.remote(context, plan_type="plain")
        .single_node()
        .execute(blocking=False, optimizations=pl.QueryOptFlags.none())
    )
    plain.await_result()

    assert "WITH_COLUMNS" not in optimized.plan("ir")
    assert "WITH_COLUMNS" in plain.plan("ir")


def test_each_test_sees_its_own_calls_alone(polars_dev_cluster: DevCluster) -> None:
    assert polars_dev_cluster.recorder.calls() == []
