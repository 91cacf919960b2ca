"""Sensors that wait in a real triggerer, for a cluster that comes late and for queries that take a while."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from tests.harness.rest import AirflowRest
from tests.harness.stack import AirflowStack
from tests.harness.waiting import wait_for
from tests.wire.relay import Relay, relay_to

EXAMPLES = Path(__file__).parents[2] / "dags"
DAG_ID, TOKEN = "example_sensors", "horse-staple-battery-9041"
SECONDS = 120.0

pytestmark = pytest.mark.own_stack


@dataclass(frozen=True)
class World:
    """Airflow, a cluster, and the one way between them."""

    rest: AirflowRest
    cluster: DevCluster
    relay: Relay


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Run Airflow with a connection to a cluster that asks for a token."""
    with start_dev_cluster("--token", TOKEN) as cluster, relay_to(cluster.uri) as relay:
        connection = {
            "conn_type": "polars_cluster",
            "host": relay.uri,
            "password": TOKEN,
            "extra": {"observatory": cluster.observatory},
        }
        env = {"AIRFLOW_CONN_POLARS_CLUSTER_DEFAULT": json.dumps(connection)}
        with AirflowStack(EXAMPLES, env=env) as stack:
            stack.rest.wait_for_dag(DAG_ID)
            yield World(stack.rest, cluster, relay)


def wait_until_deferred(world: World, run_id: str, task_id: str) -> None:
    """Wait until a trigger waits for a task."""

    def is_deferred() -> bool | None:
        instance = world.rest.task_instance(DAG_ID, run_id, task_id)
        return (instance["state"] == "deferred" and instance["triggerer_job"] is not None) or None

    wait_for(is_deferred, SECONDS, world.rest.diagnose, interval=0.1)


def test_a_cluster_that_comes_late_and_its_queries_are_waited_for_without_a_worker(world: World) -> None:
    world.relay.cut()
    run_id = world.rest.trigger(DAG_ID)
    wait_until_deferred(world, run_id, "ready")
    assert world.cluster.recorder.submissions == []

    world.relay.mend()

    assert world.rest.wait_for_run(DAG_ID, run_id) == "success", world.rest.task_states(DAG_ID, run_id)

    head = world.rest.xcom(DAG_ID, run_id, "year")["head"]
    assert head == [{"month": number, "amount": 60 * number} for number in (1, 2, 3)]
    log = world.rest.log_text(DAG_ID, run_id, "ready")
    assert f"Not yet: Nothing listens at {world.relay.uri}" in log
    assert TOKEN not in log
