"""The example DAGs on a Polars cluster instead of the worker: real Airflow, the real client, a development cluster."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from tests.airflow.example_results import CHECKS
from tests.harness.rest import AirflowRest
from tests.harness.stack import AirflowStack
from tests.harness.waiting import wait_for

EXAMPLES = Path(__file__).parents[2] / "dags"
GUIDE = Path(__file__).parents[2] / "docs" / "on-premises.md"
DAG_ID = "example_cluster"
DAG_IDS = sorted({*CHECKS, DAG_ID} - {"example_asset_reader"})
CONN_ID = "polars_cluster_default"
TOKEN = "horse-staple-battery-9041"
USER = "airflow-tests"
LOCAL = {"two_threads.split"}
"""Tasks whose group names another compute."""

pytestmark = pytest.mark.own_stack


@dataclass(frozen=True)
class World:
    """Airflow and the cluster, and the runs that all examples have had."""

    stack: AirflowStack
    cluster: DevCluster
    runs: dict[str, str]

    @property
    def rest(self) -> AirflowRest:
        """Client of the API server."""
        return self.stack.rest


def cluster_policy() -> str:
    """Return the block of the guide that sends all tasks of a deployment to a cluster."""
    (block,) = [
        text
        for text in re.findall(r"^```python.*?\n(.*?)^```$", GUIDE.read_text(), re.M | re.S)
        if "task_policy" in text
    ]
    return str(block)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, flights_data: Path) -> Iterator[World]:
    """Run every example by hand, on a cluster that wants TLS, a token and a user name."""
    settings = tmp_path_factory.mktemp("settings")
    (settings / "airflow_local_settings.py").write_text(cluster_policy())
    with start_dev_cluster("--tls", "--token", TOKEN, "--deny-anonymous-users") as cluster:
        connection = {
            "conn_type": "polars_cluster",
            "host": cluster.uri,
            "login": USER,
            "password": TOKEN,
            "extra": {"ca_cert": (cluster.authority or b"").decode(), "observatory": cluster.observatory},
        }
        env = {"PYTHONPATH": str(settings), f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(connection)}
        with AirflowStack(EXAMPLES, env=env) as stack:
            (stack.home / flights_data.name).symlink_to(flights_data)
            for dag_id in DAG_IDS:
                stack.rest.wait_for_dag(dag_id)
            runs = {dag_id: stack.rest.trigger(dag_id) for dag_id in DAG_IDS}
            yield World(stack, cluster, runs)


def results_of(world: World, dag_id: str) -> Callable[..., Any]:
    """Wait for the success of a run and return the function that reads its results."""
    rest, run_id = world.rest, world.runs[dag_id]
    if rest.wait_for_run(dag_id, run_id) != "success":
        failed = [task for task in rest.task_instances(dag_id, run_id) if task["state"] == "failed"]
        logs = [rest.log_text(dag_id, run_id, task["task_id"], map_index=task["map_index"]) for task in failed]
        pytest.fail("\n".join(logs))
    return partial(rest.xcom, dag_id, run_id)


@pytest.mark.parametrize("dag_id", sorted(CHECKS.keys() - {"example_asset_reader"}))
def test_an_example_gives_the_same_on_a_cluster(world: World, flights_data: Path, dag_id: str) -> None:
    """The DAG file is unchanged; its results are what plain Polars computes."""
    CHECKS[dag_id](results_of(world, dag_id), flights_data)


def test_the_example_of_a_cluster_gives_its_results(world: World) -> None:
    results = results_of(world, DAG_ID)
    number = pl.int_range(1_000_000, eager=True)
    rows = pl.DataFrame({"day": number // 1000, "customer": number % 97, "amount": number % 13})
    assert results("distributed.days")["rows"] == rows.height
    by_day = pl.read_parquet(results("distributed.by_day")["locations"])
    assert by_day.equals(rows.group_by("day").agg(pl.col("amount").sum()).sort("day"))
    best = rows.group_by("customer").agg(pl.col("amount").sum()).top_k(1, by="amount")
    assert results("customers")["best"]["head"][0]["amount"] == best["amount"].item()
    assert results("by_itself")["rows"] == rows.filter(pl.col("amount") == 12).height


def test_the_cluster_saw_each_query_once_with_its_user_and_labels(world: World) -> None:
    """Every task that names no other compute has submitted one query for each output, and none was cancelled."""
    expected: dict[str, int] = {}
    for dag_id, run_id in world.runs.items():
        world.rest.wait_for_run(dag_id, run_id)
        for task in world.rest.task_instances(dag_id, run_id):
            if task["task_id"] not in LOCAL:
                outputs = {"customers": 2, "by_itself": 2}.get(task["task_id"], 1)
                expected[dag_id] = expected.get(dag_id, 0) + outputs
    # An asset event has started the reader, which reads the file that the event names.
    reader = wait_for(lambda: _reader_run(world.rest), 60, world.rest.diagnose)
    assert world.rest.wait_for_run("example_asset_reader", reader) == "success"
    expected["example_asset_reader"] = 1
    submissions = world.cluster.recorder.submissions
    assert {record["user"] for record in submissions} == {USER}
    counted = {dag_id: sum(f"dag:{dag_id}"[:32] in record["labels"] for record in submissions) for dag_id in expected}
    assert counted == expected
    assert len(submissions) == sum(expected.values())
    assert world.cluster.recorder.cancels == []


def test_a_task_links_to_its_query(world: World) -> None:
    run_id = world.runs[DAG_ID]
    world.rest.wait_for_run(DAG_ID, run_id)
    result = world.rest.xcom(DAG_ID, run_id, "distributed.by_day")
    links = world.rest.extra_links(DAG_ID, run_id, "distributed.by_day")
    assert links["Polars query"] == f"{world.cluster.observatory}/api/v1/query/{result['query_id']}"


def test_the_log_says_what_ran_where_with_which_versions(world: World) -> None:
    run_id = world.runs[DAG_ID]
    world.rest.wait_for_run(DAG_ID, run_id)
    log = world.rest.log_text(DAG_ID, run_id, "distributed.by_day")
    assert f"Cluster {world.cluster.uri}: version development-cluster" in log
    assert f"Polars {world.cluster.polars}. Here: polars_cloud" in log
    assert re.search(r"  rows     1,000\b", log)
    assert re.search(r"  time     [\d.]+ s: queue [\d.]+, plan [\d.]+, run [\d.]+", log)
    assert f"  ran on   cluster {world.cluster.uri}, version development-cluster" in log


def test_the_token_is_seen_nowhere(world: World) -> None:
    """Logs, XComs, rendered fields, serialized DAGs, the whole database and what the API answers."""
    for dag_id, run_id in world.runs.items():
        world.rest.wait_for_run(dag_id, run_id)
    files = [*world.stack.home.rglob("*.log"), *(world.stack.home / "task_logs").rglob("*")]
    texts = {str(file): file.read_text(errors="replace") for file in files if file.is_file()}
    texts["database"] = "\n".join(_stored(world.stack.home))
    for dag_id, run_id in world.runs.items():
        for task in world.rest.task_instances(dag_id, run_id):
            texts[f"{dag_id}.{task['task_id']}"] = json.dumps(task) + world.rest.log_text(
                dag_id, run_id, task["task_id"], map_index=task["map_index"]
            )
    assert len(texts) > 20
    assert [name for name, text in texts.items() if TOKEN in text] == []


def _reader_run(rest: AirflowRest) -> str | None:
    runs = rest.get("/dags/example_asset_reader/dagRuns")["dag_runs"]
    return runs[0]["dag_run_id"] if runs else None


def _stored(home: Path) -> Iterator[str]:
    with sqlite3.connect(f"file:{home / 'airflow.db'}?mode=ro", uri=True) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                yield from (_text(value) for value in row)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
