"""A sensor waits until a cluster can be reached, and is the one that is wanted."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout

from airflow_provider_polars import ClusterCompute, PolarsClusterSensor, polars_compute
from airflow_provider_polars.exceptions import ClusterUnreachableError, VersionMismatchError
from tests.unit.outcomes import failure, succeeded
from tests.wire.peers import peer
from tests.wire.relay import relay_to
from tests.wire.sensing import DEFERRABLE, SOON, Sensing, event_of

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.harness.in_memory import InMemoryAirflow

NOBODY = ClusterCompute(uri="http://127.0.0.1:9")
NOT_OURS = "1.2.3"
Make = Callable[..., Sensing]

each_way = pytest.mark.parametrize("options", [SOON, DEFERRABLE], ids=["poke", "deferrable"])


@pytest.fixture
def sensor(in_memory_airflow: InMemoryAirflow) -> Make:
    """Return ``sensor(compute, **options)``."""

    def make(compute: Any, **options: Any) -> Sensing:
        return Sensing(in_memory_airflow, lambda: PolarsClusterSensor(task_id="ready", compute=compute, **options))

    return make


@each_way
@pytest.mark.parametrize("version", [None, "here", pl.__version__, "{{ dag_run.conf['polars'] }}"])
def test_a_cluster_that_is_there_is_enough(
    sensor: Make, cluster: ClusterCompute, options: dict[str, Any], version: str | None
) -> None:
    waiting = sensor(cluster, **options, version=version)
    waiting.run["conf"] = {"polars": pl.__version__}

    assert succeeded(waiting.begin()) is None


@each_way
def test_a_cluster_that_comes_is_waited_for(
    sensor: Make, polars_dev_cluster: DevCluster, options: dict[str, Any]
) -> None:
    with relay_to(polars_dev_cluster.uri) as relay:
        relay.cut()
        waiting = sensor(ClusterCompute(uri=relay.uri), **options, mode="reschedule")

        first = waiting.begin()
        assert first.state == ("deferred" if "deferrable" in options else "up_for_reschedule")
        outcome = waiting.end(relay.mend) if first.state == "deferred" else (relay.mend(), waiting.begin())[1]

    assert outcome.state == "success"
    assert [event["status"] for event in waiting.events] == ["ready"][: len(waiting.events)]


@each_way
def test_a_cluster_that_does_not_come_is_a_timeout_of_the_sensor_that_says_why(
    sensor: Make, options: dict[str, Any]
) -> None:
    outcome = sensor(NOBODY, **{**options, "timeout": 0.3}).end()

    start = f"ClusterUnreachableError: Not within timeout=0.3 seconds: Nothing listens at {NOBODY.uri}"
    assert failure(outcome).startswith(start)
    assert isinstance(outcome.error, AirflowSensorTimeout)
    assert isinstance(outcome.error, ClusterUnreachableError)


@each_way
def test_a_soft_sensor_is_skipped_at_its_timeout(sensor: Make, options: dict[str, Any]) -> None:
    assert sensor(NOBODY, **{**options, "timeout": 0.2}, soft_fail=True).end().state == "skipped"


@each_way
def test_another_polars_than_the_wanted_one_is_waited_out(
    sensor: Make, cluster: ClusterCompute, polars_dev_cluster: DevCluster, options: dict[str, Any]
) -> None:
    polars_dev_cluster.tell_version(NOT_OURS)

    outcome = sensor(cluster, **{**options, "timeout": 0.3}, version="here").end()

    message = f"VersionMismatchError: Not within timeout=0.3 seconds: {cluster!r} runs Polars {NOT_OURS}, not "
    assert failure(outcome) == f"{message}{pl.__version__}."
    assert isinstance(outcome.error, AirflowSensorTimeout)
    assert isinstance(outcome.error, VersionMismatchError)
    assert succeeded(sensor(cluster, **options, version=NOT_OURS).end()) is None


def test_the_version_here_is_that_of_the_worker_wherever_the_trigger_runs(
    sensor: Make, cluster: ClusterCompute, polars_dev_cluster: DevCluster
) -> None:
    polars_dev_cluster.tell_version(NOT_OURS)
    waiting = sensor(cluster, **DEFERRABLE, version="here")

    trigger = waiting.begin().trigger()

    assert trigger.version == pl.__version__
    assert event_of(trigger, lambda: polars_dev_cluster.tell_version(None))["status"] == "ready"


@each_way
@pytest.mark.parametrize("lenience", [{}, {"soft_fail": True}], ids=["", "soft_fail"])
def test_refused_credentials_end_the_task_at_once(
    sensor: Make, start_cluster: Callable[..., DevCluster], options: dict[str, Any], lenience: dict[str, Any]
) -> None:
    token = "horse-staple-battery-9041"
    cluster = start_cluster("--token", token, "--workers", "1")
    compute = ClusterCompute(uri=cluster.uri, observatory=cluster.observatory)
    waiting = sensor(compute, **options, **lenience, conn_id="cluster")
    waiting.airflow.add_connection("cluster", "polars_cluster", host=cluster.uri, password="another-token-1")

    outcome = waiting.begin()

    if lenience:
        assert outcome.state == "skipped"
    else:
        assert failure(outcome).startswith(f"ClusterAccessError: {cluster.uri} refuses the token")
    waiting.airflow.add_connection("cluster", "polars_cluster", host=cluster.uri, password=token)
    assert succeeded(waiting.begin()) is None


def test_what_ends_the_wait_in_the_triggerer_ends_the_task_with_the_same_error(sensor: Make) -> None:
    with peer(b"HTTP/1.1 400 Bad Request\r\n\r\n", hangs_up=True) as (host, port):
        uri = f"http://{host}:{port}"
        waiting = sensor(ClusterCompute(uri=uri), **DEFERRABLE)
        refused = failure(waiting.begin())
        assert refused.startswith(f"ClusterAccessError: {uri} is a web server (HTTP/1), not the scheduler.")
        trigger = sensor(NOBODY, **DEFERRABLE).begin().trigger()
        trigger.compute = ClusterCompute(uri=uri).to_dict()
        event = event_of(trigger)
        assert event["status"] == "failed"
        assert event["message"] == refused.removeprefix("ClusterAccessError: ")
    lost = sensor(NOBODY, **DEFERRABLE)
    resumed = lost.resume(lost.begin(), event)
    assert resumed.state == "up_for_retry"
    assert str(resumed.error) == f"The triggerer could not wait on: {event['message']}"


def test_the_trigger_looks_until_its_deadline_and_hands_it_back(sensor: Make) -> None:
    before = time.time()
    trigger = sensor(NOBODY, **{**DEFERRABLE, "timeout": 0.3}).begin().trigger()

    event = event_of(trigger)

    assert before + 0.3 <= trigger.deadline == event["deadline"] <= time.time()
    assert event["status"] == "timeout"
    assert event["message"].startswith(f"Nothing listens at {NOBODY.uri}")


def test_the_cluster_of_the_connection_and_that_of_the_group_are_waited_for(
    in_memory_airflow: InMemoryAirflow, cluster: ClusterCompute
) -> None:
    from airflow.sdk import DAG

    assert cluster.uri is not None
    in_memory_airflow.add_connection("here", "polars_cluster", host=cluster.uri)
    by_connection = PolarsClusterSensor(task_id="ready", conn_id="here", **SOON)
    assert in_memory_airflow.run_task(by_connection).state == "success"
    with DAG("groups", schedule=None), polars_compute("group", ClusterCompute(), conn_id="here"):
        in_group = PolarsClusterSensor(task_id="ready", **SOON)
    assert in_memory_airflow.run_task(in_group).state == "success"


def test_a_connection_that_is_not_there_is_named(sensor: Make, cluster: ClusterCompute) -> None:
    message = failure(sensor(cluster, **SOON, conn_id="absent").begin())
    assert message.startswith("ConfigurationError: conn_id='absent' names no connection.")


def test_a_sensor_without_any_cluster_says_what_to_give(sensor: Make) -> None:
    message = failure(sensor(None, **SOON).begin())
    assert message.startswith("ConfigurationError: LocalCompute() is no cluster: there is nothing to wait for.")


def test_the_trigger_looks_at_a_cluster_without_importing_polars(cluster: ClusterCompute) -> None:
    code = (
        "import asyncio, sys, time\n"
        "from airflow_provider_polars.triggers.cluster import PolarsClusterTrigger\n"
        "async def first():\n"
        f"    trigger = PolarsClusterTrigger(compute={cluster.to_dict()!r}, deadline=time.time() + 20)\n"
        "    return (await anext(trigger.run())).payload['status']\n"
        "print(asyncio.run(first()), *sorted({'polars', 'polars_cloud'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["ready"], done.stderr


def test_other_triggers_go_on_while_one_looks(sensor: Make) -> None:
    """A cluster that accepts connections and says nothing takes three seconds to look at."""
    import asyncio

    with peer() as (host, port):
        trigger = sensor(NOBODY, **{**DEFERRABLE, "timeout": 0.5}).begin().trigger()
        trigger.compute = ClusterCompute(uri=f"http://{host}:{port}").to_dict()

        async def longest_pause() -> float:
            looking = asyncio.ensure_future(anext(trigger.run()))
            longest, last = 0.0, time.monotonic()
            while not looking.done():
                await asyncio.sleep(0.01)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
            assert looking.result().payload["message"].startswith(f"http://{host}:{port} accepted a connection and")
            return longest

        assert asyncio.run(longest_pause()) < 1.0
