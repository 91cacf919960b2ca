"""Sensors on instances of Polars Cloud: until they take queries, and until queries there have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout

from airflow_provider_polars import PolarsClusterSensor, PolarsQuerySensor
from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from airflow_provider_polars.marks import Owner
from tests.unit.outcomes import failure, rows, succeeded
from tests.wire.cloud.tasks import LOOK_CALL, CloudTasks, compute
from tests.wire.sensing import DEFERRABLE, SOON, Sensing

if TYPE_CHECKING:
    from tests.wire.gates import Gate

NODES_CALL = "GET workspace/*/compute/*/node"
each_way = pytest.mark.parametrize("options", [SOON, DEFERRABLE], ids=["poke", "deferrable"])


def ready(cloud: CloudTasks, handle: Any, **options: Any) -> Sensing:
    """Return a sensor for an instance."""
    return Sensing(cloud.airflow, lambda: PolarsClusterSensor(task_id="ready", compute=handle, **options))


def starting(cloud: CloudTasks, **fields: Any) -> dict[str, Any]:
    """Begin a start, and return the handle of what may not be ready yet."""
    owner = Owner(deployment="tests", dag_id="in_memory", run_id="first", task_id="start")
    manager = PolarsCloudHook().get_manager(compute(**fields))
    handle: dict[str, Any] = manager.start(owner).to_dict()
    manager.close()
    return handle


@each_way
def test_an_instance_is_waited_for_until_it_takes_queries(
    cloud: CloudTasks, mode: str, options: dict[str, Any]
) -> None:
    handle = starting(cloud, connection_mode=mode)

    outcome = ready(cloud, handle, **options, version="here").end()

    assert outcome.state == "success"
    assert succeeded(cloud.query(handle))["rows"] == 3


@each_way
def test_an_instance_has_as_many_workers_as_nodes(cloud: CloudTasks, mode: str, options: dict[str, Any]) -> None:
    handle = cloud.started(compute(connection_mode=mode, cluster_size=2))

    assert ready(cloud, handle, **options, min_workers=2).end().state == "success"
    outcome = ready(cloud, handle, **{**options, "timeout": 0.3}, min_workers=3).end()

    message = failure(outcome)
    assert message.startswith("ComputeStartError: Not within timeout=0.3 seconds: CloudCompute(")
    assert message.endswith(" has 2 workers, not 3.")
    assert isinstance(outcome.error, AirflowSensorTimeout)


@each_way
def test_a_control_plane_that_comes_back_is_asked_again(cloud: CloudTasks, options: dict[str, Any]) -> None:
    handle = cloud.started()
    fault = cloud.plane.faults.add(LOOK_CALL, "answer", status=503, times=2)
    waiting = ready(cloud, handle, **options)

    assert waiting.end().state == "success"

    assert cloud.plane.faults.hits(fault) == 2
    assert [event["status"] for event in waiting.events] == ["ready"] * int("deferrable" in options)


@each_way
def test_a_control_plane_that_does_not_answer_until_the_timeout_is_named(
    cloud: CloudTasks, options: dict[str, Any]
) -> None:
    handle = cloud.started()
    cloud.plane.faults.add(NODES_CALL, "answer", status=503, times=None)

    message = failure(ready(cloud, handle, **{**options, "timeout": 0.3}, min_workers=1).end())

    assert message.startswith("ControlPlaneUnavailableError: Not within timeout=0.3 seconds: Polars Cloud (")


@each_way
def test_an_instance_that_has_ended_is_not_waited_for(cloud: CloudTasks, options: dict[str, Any]) -> None:
    handle = cloud.started()
    cloud.stop(handle)

    message = failure(ready(cloud, handle, **options).begin())

    assert message.startswith(f"ComputeLostError: The instance {handle['compute_id']} is Stopped (")


def test_a_service_account_that_is_refused_ends_the_task_at_once(cloud: CloudTasks) -> None:
    handle = cloud.started()
    cloud.airflow.add_connection("wrong", "polars_cloud", login=cloud.plane.account.id, password="not-the-secret-of-it")

    message = failure(ready(cloud, handle, **DEFERRABLE, conn_id="wrong").begin())

    assert message.startswith("CredentialsError: ")


@each_way
def test_a_query_on_an_instance_is_waited_for_and_its_result_is_handed_on(
    cloud: CloudTasks, mode: str, options: dict[str, Any], gate: Gate
) -> None:
    handle = cloud.started(compute(connection_mode=mode))
    run = succeeded(cloud.query(handle, lambda: gate.frame("held"), wait=False))
    waiting = Sensing(cloud.airflow, lambda: PolarsQuerySensor(task_id="ended", run=run, **options))
    if "deferrable" not in options:
        waiting.make = lambda: PolarsQuerySensor(task_id="ended", run=run, **options, mode="reschedule")
        assert waiting.begin().state == "up_for_reschedule"
        gate.open()
        waiting.make = lambda: PolarsQuerySensor(task_id="ended", run=run, **options)

    assert rows(succeeded(waiting.end(gate.open))) == [{"name": "held"}]

    assert [event["status"] for event in waiting.events] == ["ended"] * int("deferrable" in options)


@each_way
def test_a_query_whose_instance_ends_fails_the_sensor_with_that_reason(
    cloud: CloudTasks, mode: str, options: dict[str, Any], gate: Gate
) -> None:
    handle = cloud.started(compute(connection_mode=mode))
    run = succeeded(cloud.query(handle, lambda: gate.frame("held"), wait=False))
    cloud.stop(handle)
    waiting = Sensing(cloud.airflow, lambda: PolarsQuerySensor(task_id="ended", run=run, **options))

    message = failure(waiting.end())

    assert message.startswith(f"ComputeLostError: The instance {handle['compute_id']} is Stopped (")
