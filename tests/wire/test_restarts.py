"""Schedulers that restart and workers that are killed, as tests of others do it to the cluster of their session."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
import polars_cloud as pc
import pytest

from airflow_provider_polars.testing import DevCluster
from tests.harness.waiting import wait_for
from tests.wire.fault_calls import FRAME, SECONDS, anew, submit
from tests.wire.gates import Gate


def pids(cluster: DevCluster) -> dict[str, int]:
    return {worker["name"]: worker["pid"] for worker in cluster.workers}


def wait_for_workers(cluster: DevCluster, number: int = 3) -> dict[str, int]:
    """Return the processes by name, once all are there."""
    return wait_for(
        lambda: found if len(found := pids(cluster)) == number else None, SECONDS, lambda: "workers are missing"
    )


@pytest.fixture(autouse=True)
def _leave_all_workers(polars_dev_cluster: DevCluster) -> Iterator[None]:
    yield
    wait_for_workers(polars_dev_cluster)


def rows(cluster: DevCluster) -> int:
    """Return how many rows a query has that is run now."""
    return int(FRAME.remote(cluster.context()).single_node().collect().height)


def state(cluster: DevCluster, query: Any) -> str:
    (found,) = [known["state"] for known in cluster.queries if known["id"] == str(query._query_id)]
    return str(found)


def test_all_processes_of_workers_are_replaced(polars_dev_cluster: DevCluster) -> None:
    before = wait_for_workers(polars_dev_cluster)

    polars_dev_cluster.restart()

    after = wait_for_workers(polars_dev_cluster)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())
    assert rows(polars_dev_cluster) == 3


def test_the_port_refuses_connections_for_a_while(polars_dev_cluster: DevCluster, context: Any) -> None:
    query = submit(context)
    query.await_result()

    begun = time.monotonic()
    polars_dev_cluster.restart(seconds=3, wait=False)

    assert time.monotonic() - begun < 3
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(polars_dev_cluster.uri.rpartition(":")[2])))
    with pytest.raises(RuntimeError, match=r"currently unavailable, tcp connect error|transport error"):
        query.get_status()
    assert query.await_result().status is pc.QueryStatus.SUCCESS  # it tries again while that lasts
    assert time.monotonic() - begun >= 3


def test_a_restart_is_over_when_the_port_listens_again(polars_dev_cluster: DevCluster, context: Any) -> None:
    query = submit(context)
    query.await_result()

    begun = time.monotonic()
    polars_dev_cluster.restart(seconds=0.3)

    assert time.monotonic() - begun >= 0.3
    assert anew(polars_dev_cluster, query._query_id).get_status() is pc.QueryStatus.SUCCESS


@pytest.mark.parametrize("memory", [True, False])
def test_open_calls_end_with_their_connection(
    polars_dev_cluster: DevCluster, context: Any, gate: Gate, memory: bool
) -> None:
    query = submit(context, gate.frame("held"))
    gate.wait_until_started("held")
    with ThreadPoolExecutor(1) as thread:
        result = thread.submit(query.await_result)
        wait_for(
            lambda: polars_dev_cluster.recorder.calls("GetQueryResult") or None,
            SECONDS,
            lambda: "nobody waits",
            interval=0.01,
        )

        polars_dev_cluster.restart(memory=memory)

        with pytest.raises(RuntimeError, match="Unknown error, transport error"):
            result.result(SECONDS)


def test_a_query_that_ran_fails_with_the_reason(polars_dev_cluster: DevCluster, context: Any, gate: Gate) -> None:
    query = submit(context, gate.frame("held"))
    gate.wait_until_started("held")

    polars_dev_cluster.restart()

    query = anew(polars_dev_cluster, query._query_id)
    assert query.get_status() is pc.QueryStatus.FAILED
    with pytest.raises(pl.exceptions.ComputeError, match="the scheduler restarted while it ran the query"):
        query.await_result()
    assert gate.starts("held") == 1


def test_a_query_that_ran_and_has_retries_runs_again(polars_dev_cluster: DevCluster, context: Any, gate: Gate) -> None:
    query = submit(context, gate.frame("held"), n_retries=1)
    gate.wait_until_started("held")

    polars_dev_cluster.restart()
    gate.wait_until_started("held", times=2)
    gate.open()

    assert anew(polars_dev_cluster, query._query_id).await_result().lazy().collect()["name"].to_list() == ["held"]


def test_what_is_queued_stays_queued_and_what_has_ended_stays_known(
    polars_dev_cluster: DevCluster, context: Any, gate: Gate
) -> None:
    ended = submit(context)
    ended.await_result()
    for name in ("first", "second"):
        submit(context, gate.frame(name))
        gate.wait_until_started(name)
    queued = submit(context)
    assert state(polars_dev_cluster, queued) == "SCHEDULED"

    polars_dev_cluster.restart()

    assert anew(polars_dev_cluster, ended._query_id).await_result().lazy().collect()["a"].to_list() == [1, 2, 3]
    assert anew(polars_dev_cluster, queued._query_id).await_result().status is pc.QueryStatus.SUCCESS


def test_a_scheduler_without_its_memory_knows_no_query(
    polars_dev_cluster: DevCluster, context: Any, gate: Gate
) -> None:
    ended, ran = submit(context), submit(context, gate.frame("held"), n_retries=3)
    ended.await_result()
    gate.wait_until_started("held")

    polars_dev_cluster.restart(memory=False)

    assert polars_dev_cluster.queries == []
    for query in (anew(polars_dev_cluster, ended._query_id), anew(polars_dev_cluster, ran._query_id)):
        with pytest.raises(RuntimeError, match="Some requested entity was not found, no query"):
            query.get_status()
        with pytest.raises(RuntimeError, match="Some requested entity was not found, no query"):
            query.await_result()
    assert rows(polars_dev_cluster) == 3
    assert gate.starts("held") == 1


def test_the_observatory_goes_on(polars_dev_cluster: DevCluster, context: Any) -> None:
    query = submit(context)
    query.await_result()

    polars_dev_cluster.restart(seconds=0.3, wait=False)

    assert polars_dev_cluster.get(f"/api/v1/query/{query._query_id}")["status"] == "Success"
    assert anew(polars_dev_cluster, query._query_id).get_status() is pc.QueryStatus.SUCCESS


def test_restarts_follow_one_another(polars_dev_cluster: DevCluster) -> None:
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: polars_dev_cluster.restart(seconds=0.1), range(3)))

    assert rows(polars_dev_cluster) == 3


@pytest.mark.parametrize("seconds", [-1.0, 3601.0])
def test_a_time_that_means_nothing_is_refused(polars_dev_cluster: DevCluster, seconds: float) -> None:
    with pytest.raises(ValueError, match=r"seconds"):
        polars_dev_cluster.restart(seconds=seconds)


def test_a_worker_can_be_killed(polars_dev_cluster: DevCluster, context: Any, gate: Gate) -> None:
    before = wait_for_workers(polars_dev_cluster)
    query = submit(context, gate.frame("held"))
    gate.wait_until_started("held")
    (name,) = [each["name"] for each in polars_dev_cluster.workers if each["query_id"] == str(query._query_id)]

    assert polars_dev_cluster.kill_worker(name) == before[name]

    with pytest.raises(pl.exceptions.ComputeError, match=f"{name} ended while it ran the query"):
        query.await_result()
    after = wait_for_workers(polars_dev_cluster)
    assert {other for other in before if before[other] != after[other]} == {name}


def test_only_workers_can_be_killed(polars_dev_cluster: DevCluster) -> None:
    with pytest.raises(LookupError, match="no worker 'worker-9'; there are planner, worker-1, worker-2"):
        polars_dev_cluster.kill_worker("worker-9")
