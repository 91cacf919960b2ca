"""Killed, lost, cleared and mapped tasks on real Airflow processes, and what becomes of their queries on a cluster."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from tests.harness.rest import AirflowRest
from tests.harness.rest_client import RestError
from tests.harness.stack import AirflowStack
from tests.harness.waiting import wait_for

START_SECONDS = 180.0
END_SECONDS = 90.0
each_way = pytest.mark.parametrize("way", ["returned", "by_itself"])


@dataclass(frozen=True)
class Tasks:
    """A run of one of the DAGs, the cluster of its queries, and the folder that they tell of themselves in."""

    rest: AirflowRest
    cluster: DevCluster
    dag_id: str
    run_id: str
    folder: Path

    def wait_until_started(self, name: str) -> int:
        """Wait until a query runs on the cluster; return the process id of its task."""
        starts = self.folder / f"{name}.starts"
        wait_for(lambda: starts.exists() or None, START_SECONDS, lambda: self._unstarted(name))
        return int((self.folder / f"{name}.task").read_text())

    def wait_until_kept(self, task_id: str) -> None:
        """Wait until a task has kept what it takes to find its query again; the query may start before that."""

        def kept() -> bool | None:
            with contextlib.suppress(RestError):
                return bool(self.rest.xcom(self.dag_id, self.run_id, task_id, "polars_query_link"))
            return None

        wait_for(kept, START_SECONDS, self.rest.diagnose)

    def _unstarted(self, name: str) -> str:
        states = self.rest.task_states(self.dag_id, self.run_id)
        return f"{name}: {states}\n{self.cluster.queries}\n{self.cluster.workers}\n{self.rest.diagnose()}"

    def starts(self, name: str) -> int:
        """Return how often a query has started."""
        return (self.folder / f"{name}.starts").stat().st_size

    def end(self, name: str) -> None:
        """Let a query end."""
        (self.folder / f"{name}.go").touch()

    def submissions(self, task_id: str) -> list[str]:
        """Return the ids of the queries that tries of the task have submitted."""
        labels = {f"dag:{self.dag_id}", f"task:{task_id}"}
        return [each["query_id"] for each in self.cluster.recorder.submissions if labels <= set(each["labels"])]

    def states(self, task_id: str) -> list[str]:
        """Return what has become of these queries."""
        by_id = {query["id"]: query["state"] for query in self.cluster.queries}
        return [by_id[query_id] for query_id in self.submissions(task_id)]

    def calls(self, query_id: str) -> list[tuple[float, str]]:
        """Return what the cluster was asked about a query, and when."""
        return [
            (call["time"], call["call"]) for call in self.cluster.recorder.calls() if call.get("query_id") == query_id
        ]

    def wait_for_try(self, task_id: str, number: int) -> None:
        """Wait until a try of the task has begun."""

        def begun() -> bool | None:
            task = self.rest.task_instance(self.dag_id, self.run_id, task_id)
            return (task["try_number"] == number and task["state"] == "running") or None

        wait_for(begun, START_SECONDS, self.rest.diagnose)

    def wait_for_task(self, task_id: str) -> str:
        """Wait for the end of the task and return its state."""
        return self.rest.wait_for_task(self.dag_id, self.run_id, task_id)


@pytest.fixture(scope="module")
def cluster() -> Iterator[DevCluster]:
    """Start a cluster with a worker for each query that waits."""
    with start_dev_cluster("--workers", "4") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def start_run(
    airflow_stack: AirflowStack, cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Tasks]]:
    """Return ``start_run(dag_id)``, which runs a DAG until the tests are done."""
    runs: list[Tasks] = []

    def start(dag_id: str) -> Tasks:
        folder = tmp_path_factory.mktemp(dag_id)
        conf = {"folder": str(folder), "uri": cluster.uri, "observatory": cluster.observatory}
        airflow_stack.rest.wait_for_dag(dag_id)
        run_id = airflow_stack.rest.trigger(dag_id, conf=conf)
        runs.append(Tasks(airflow_stack.rest, cluster, dag_id, run_id, folder))
        return runs[-1]

    yield start
    for run in runs:
        run.end("all")


@pytest.fixture(scope="module")
def killed(start_run: Callable[[str], Tasks]) -> Tasks:
    return start_run("cluster_killed")


@pytest.fixture(scope="module")
def retried(start_run: Callable[[str], Tasks]) -> Tasks:
    return start_run("cluster_retried")


@each_way
def test_a_task_that_is_marked_failed_takes_its_query_along(killed: Tasks, way: str) -> None:
    killed.wait_until_started(way)
    killed.rest.set_task_state(killed.dag_id, killed.run_id, way, "failed")
    wait_for(lambda: killed.states(way) == ["CANCELED"] or None, END_SECONDS, lambda: str(killed.states(way)))
    (query_id,) = killed.submissions(way)
    assert "CancelQuery" in [call for _, call in killed.calls(query_id)]
    log = killed.rest.wait_for_log(killed.dag_id, killed.run_id, way, "QueryCancelledError: The task was killed")
    assert query_id in log
    assert killed.wait_for_task(way) == "failed"
    assert killed.starts(way) == 1


def test_a_retry_after_a_lost_process_adopts_the_query_that_runs_on(retried: Tasks) -> None:
    process = retried.wait_until_started("returned-1")
    retried.wait_until_kept("returned")
    os.kill(process, signal.SIGKILL)
    retried.wait_for_try("returned", 2)
    retried.rest.wait_for_log(retried.dag_id, retried.run_id, "returned", "Adopted query", timeout=START_SECONDS)
    assert retried.states("returned") == ["IN_PROGRESS"]
    retried.end("returned-1")
    assert retried.wait_for_task("returned") == "success"
    result = retried.rest.xcom(retried.dag_id, retried.run_id, "returned")
    assert retried.submissions("returned") == [result["query_id"]]
    assert retried.starts("returned-1") == 1
    assert "CancelQuery" not in [call for _, call in retried.calls(result["query_id"])]
    assert pl.read_parquet(result["locations"])["name"].to_list() == ["returned-1"]


def test_a_retry_of_a_function_that_submits_by_itself_ends_its_query_and_submits_again(retried: Tasks) -> None:
    process = retried.wait_until_started("by_itself-1")
    retried.wait_until_kept("by_itself")
    os.kill(process, signal.SIGKILL)
    retried.wait_until_started("by_itself-2")
    assert retried.states("by_itself") == ["CANCELED", "IN_PROGRESS"]
    first, second = retried.submissions("by_itself")
    cancelled_at = min(time for time, call in retried.calls(first) if call == "CancelQuery")
    assert cancelled_at < min(time for time, _ in retried.calls(second))
    retried.end("by_itself-2")
    assert retried.wait_for_task("by_itself") == "success"
    assert retried.rest.xcom(retried.dag_id, retried.run_id, "by_itself")["query_id"] == second


def test_a_task_that_is_cleared_while_it_runs_ends_its_query_and_submits_again(retried: Tasks) -> None:
    retried.wait_until_started("cleared-1")
    retried.wait_until_kept("cleared")
    retried.rest.clear(retried.dag_id, retried.run_id, ["cleared"])
    retried.wait_until_started("cleared-2")
    assert retried.states("cleared") == ["CANCELED", "IN_PROGRESS"]
    retried.end("cleared-2")
    assert retried.wait_for_task("cleared") == "success"
    result = retried.rest.xcom(retried.dag_id, retried.run_id, "cleared")
    assert retried.submissions("cleared")[1:] == [result["query_id"]]
    assert pl.read_parquet(result["locations"])["name"].to_list() == ["cleared-2"]


def test_mapped_tasks_run_side_by_side_and_one_that_fails_leaves_the_others_alone(
    start_run: Callable[[str], Tasks],
) -> None:
    mapped = start_run("cluster_mapped")
    names = ("first", "broken", "last")
    for name in names:
        mapped.wait_until_started(name)
    running = [query for query in mapped.cluster.queries if query["state"] == "IN_PROGRESS"]
    assert len({query["workers"][0] for query in running}) == len(names)
    for name in names:
        mapped.end(name)
    assert mapped.rest.wait_for_run(mapped.dag_id, mapped.run_id) == "failed"
    states = mapped.rest.task_states(mapped.dag_id, mapped.run_id)
    assert states == {"spread[0]": "success", "spread[1]": "failed", "spread[2]": "success"}
    assert "broken by design" in mapped.rest.log_text(mapped.dag_id, mapped.run_id, "spread", map_index=1)
    written: dict[str, Any] = {
        file.name: pl.read_parquet(file)["name"].to_list() for file in mapped.folder.glob("spread-*.parquet")
    }
    assert written == {"spread-0.parquet": ["first"], "spread-2.parquet": ["last"]}
