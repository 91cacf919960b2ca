"""Events of real tasks: each from a process of its own, which has loaded the client and forks for the listener."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from tests.harness.lineage import Events, names
from tests.harness.stack import AirflowStack
from tests.harness.waiting import wait_for

DAG_ID = "listened"
DEFERRAL_SECONDS = 120.0
pytestmark = pytest.mark.own_stack


@pytest.fixture(scope="module")
def cluster() -> Iterator[DevCluster]:
    """Start a cluster with a worker for each task."""
    with start_dev_cluster("--workers", "3") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def events(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Events]:
    """Run the DAG to its end and return what is written of its tasks."""
    folder = tmp_path_factory.mktemp("lake")
    (folder / "orders").mkdir()
    rows = pl.DataFrame({"status": ["paid", "paid", "open"], "amount": [1, 2, 3]})
    rows.write_csv(folder / "orders" / "1.csv")
    events = Events(folder / "events.ndjson")
    options = {f"AIRFLOW__OPENLINEAGE__{name.upper()}": value for name, value in events.options.items()}
    with AirflowStack(Path(__file__).parent / "lineage_dags", env=options) as stack:
        stack.rest.wait_for_dag(DAG_ID)
        conf = {"folder": str(folder), "uri": cluster.uri, "observatory": cluster.observatory}
        run_id = stack.rest.trigger(DAG_ID, conf=conf)

        def is_deferred() -> bool | None:
            return stack.rest.task_states(DAG_ID, run_id)["slow"] == "deferred" or None

        wait_for(is_deferred, DEFERRAL_SECONDS, stack.rest.diagnose, interval=0.5)
        (folder / "go").touch()
        assert stack.rest.wait_for_run(DAG_ID, run_id) == "failed"
        assert stack.rest.task_states(DAG_ID, run_id) == {
            "paid": "success",
            "large": "success",
            "slow": "success",
            "broken": "failed",
        }
        yield events


def end(events: Events, task_id: str, kind: str) -> Any:
    """Return the event that a task ended with, whose run is that of its start."""
    event = events.one(f"{DAG_ID}.{task_id}", kind)
    assert {each["run"]["runId"] for each in events.of(f"{DAG_ID}.{task_id}")} == {event["run"]["runId"]}
    return event


def test_a_task_on_the_worker_tells_what_it_reads_and_writes(events: Events) -> None:
    folder = events.file.parent

    completed = end(events, "paid", "COMPLETE")

    assert names(completed["inputs"]) == [("file", f"{folder}/orders")]
    assert names(completed["outputs"]) == [("file", f"{folder}/paid.parquet")]
    assert completed["run"]["facets"]["polars"]["compute"] == "local"


@pytest.mark.parametrize(("task_id", "rows"), [("large", 1), ("slow", 2)])
def test_a_task_on_a_cluster_tells_all_whether_it_was_deferred_or_not(
    events: Events, cluster: DevCluster, task_id: str, rows: int
) -> None:
    folder = events.file.parent

    completed = end(events, task_id, "COMPLETE")

    assert names(completed["inputs"]) == [("file", f"{folder}/paid.parquet")]
    (output,) = completed["outputs"]
    assert (output["name"], output["outputFacets"]["outputStatistics"]["rowCount"]) == (
        f"{folder}/{task_id}.parquet",
        rows,
    )
    assert [field["name"] for field in output["facets"]["schema"]["fields"]] == ["status", "amount"]
    (query,) = completed["run"]["facets"]["polars"]["queries"]
    (submitted,) = [each for each in cluster.recorder.submissions if each["query_id"] == query["queryId"]]
    assert submitted["lineage"] == {
        "job_namespace": "tests",
        "job_name": f"{DAG_ID}.{task_id}.return_value",
        "parent_run_id": completed["run"]["runId"],
        "parent_job_namespace": "tests",
        "parent_job_name": f"{DAG_ID}.{task_id}",
    }


def test_a_task_that_fails_tells_what_it_has_read_and_why(events: Events) -> None:
    folder = events.file.parent

    failed = end(events, "broken", "FAIL")

    assert names(failed["inputs"]) == [("file", f"{folder}/paid.parquet")]
    assert "broken by design" in failed["run"]["facets"]["errorMessage"]["message"]
    assert failed["run"]["facets"]["polars"]["queries"][0]["state"] == "failed"
