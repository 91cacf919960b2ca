"""``airflow polars`` beside real Airflow processes: it sees what their tasks have under way, and ends it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from tests.harness.rest_client import RestError
from tests.harness.stack import AirflowStack
from tests.harness.waiting import wait_for

SECONDS = 180.0
TOKEN = "token-of-the-connection-cli"
TASKS = ("returned", "by_itself")


@pytest.fixture(scope="module")
def cluster() -> Iterator[DevCluster]:
    """Start a cluster with a worker for each query of the DAG."""
    with start_dev_cluster("--workers", "2") as cluster:
        yield cluster


def test_a_query_of_a_running_task_is_listed_with_its_task_and_cancelled(
    airflow_stack: AirflowStack, cluster: DevCluster, tmp_path: Path
) -> None:
    """The connection is in Airflow's database, and so is what the tasks keep of their queries."""
    rest, dag_id = airflow_stack.rest, "cluster_killed"
    host, _, port = cluster.uri.rpartition(":")
    rest.set_connection(
        "cli", "polars_cluster", host=host, port=int(port), password=TOKEN, extra={"observatory": cluster.observatory}
    )
    rest.wait_for_dag(dag_id)
    conf = {"folder": str(tmp_path), "uri": cluster.uri, "observatory": cluster.observatory}
    run_id = rest.trigger(dag_id, conf=conf)
    printed = ""

    def command(*arguments: str) -> list[dict[str, str]]:
        nonlocal printed
        done = airflow_stack.cli("polars", *arguments, "--conn-id", "cli", "--output", "json")
        printed += done.stdout + done.stderr
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, str]] = json.loads(done.stdout)
        return rows

    def is_kept(task_id: str) -> bool:
        with contextlib.suppress(RestError):  # the link is pushed once a query is kept
            return bool(rest.xcom(dag_id, run_id, task_id, "polars_query_link"))
        return False

    try:
        wait_for(lambda: all(map(is_kept, TASKS)) or None, SECONDS, lambda: f"{cluster.queries}\n{rest.diagnose()}")
        rows = {row["task_id"]: row for row in command("queries")}

        assert set(rows) == set(TASKS)
        assert {row["state"] for row in rows.values()} <= {"queued", "running"}
        assert {(row["dag_id"], row["run_id"]) for row in rows.values()} == {(dag_id, run_id)}
        assert {row["query_id"] for row in rows.values()} == {query["id"] for query in cluster.queries}

        (cancelled,) = command("cancel", rows["returned"]["query_id"])

        assert cancelled["now"] == "cancelled"
        assert rest.wait_for_task(dag_id, run_id, "returned") == "failed"
        assert "QueryCancelledError" in rest.log_text(dag_id, run_id, "returned")
        assert rest.task_states(dag_id, run_id)["by_itself"] == "running"
        assert TOKEN not in printed
    finally:
        (tmp_path / "all.go").touch()
    assert rest.wait_for_task(dag_id, run_id, "by_itself") == "success"
