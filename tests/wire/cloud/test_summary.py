"""The last lines of a task whose query ran on an instance: what was written, on what, and what that has cost."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from airflow_provider_polars import ParquetSink
from airflow_provider_polars.operators import own_compute
from tests.harness.summaries import summary
from tests.wire.cloud.tasks import STOP_CALL, CloudTasks, compute, retried


@pytest.fixture(autouse=True)
def _price(cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__POLARS__VCPU_HOUR_PRICE", "3600")


def test_a_shared_instance_is_named_with_its_size_and_its_cost_is_left_to_its_stop(
    cloud: CloudTasks, mode: str, tmp_path: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    handle = cloud.started(compute(connection_mode=mode, cluster_size=2))

    result = cloud.query(handle, sink=ParquetSink(f"{tmp_path}/numbers.parquet")).result

    output = capfd.readouterr().out
    told = summary(output)
    assert (told["query"], told["rows"], told["written"]) == (result["query_id"], "3", f"{tmp_path}/numbers.parquet")
    assert told["ran on"] == f"instance {handle['compute_id']}, {mode} mode, 4 vCPUs, Polars {pl.__version__}"
    assert told["link"].endswith(f"/{handle['compute_id']}/queries/{result['query_id']}")
    assert "used" not in told
    assert cloud.plane.account.secret not in output


def test_an_instance_of_the_task_alone_is_told_with_its_cost_once_it_has_ended(
    cloud: CloudTasks, mode: str, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = cloud.query(compute(connection_mode=mode))

    output = capfd.readouterr().out
    told = summary(output)
    assert told["query"] == outcome.result["query_id"]
    minutes, _, cost = told["used"].partition(" minutes of 2 vCPUs, cost ")
    assert float(cost) == pytest.approx(float(minutes) * 60 * 2, abs=0.01 * 60 * 2)
    assert output.index("Stopped ") < output.index("Summary of query")
    assert cloud.plane.account.secret not in output


def test_an_end_that_is_not_confirmed_is_told_beside_the_result(
    cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(own_compute, "STOP_SECONDS", 1.0)
    cloud.plane.faults.add(STOP_CALL, "answer", status=409, body={"message": "busy", "errors": {}}, times=None)

    assert retried(cloud.query(compute(), max_tries=1)).startswith("ComputeStopError: ")

    assert summary(capfd.readouterr().out)["used"] == "not known: that its compute has ended is not confirmed"
    cloud.plane.faults.clear()
