"""Which query runs when and where, and what a cancel does to it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
import pytest
from polars_cloud import QueryStatus
from polars_cloud.polars_cloud import EncodedPolarsError

from airflow_provider_polars.testing import DevCluster
from tests.harness.waiting import wait_for
from tests.wire.gates import Gate

pytestmark = pytest.mark.own_cluster

FRAME = pl.LazyFrame({"a": [1, 2, 3]})
SECONDS = 60.0
StartCluster = Callable[..., DevCluster]


def submit(frame: pl.LazyFrame, context: Any, **options: Any) -> Any:
    return frame.remote(context, **options).single_node().execute(blocking=False)


def submit_distributed(frame: pl.LazyFrame, context: Any, **workers: int) -> Any:
    return frame.remote(context).distributed(**workers).execute(blocking=False)


def found(cluster: DevCluster, query: Any) -> dict[str, Any]:
    """Return what the cluster knows of a query."""
    (facts,) = [facts for facts in cluster.queries if facts["id"] == str(query._query_id)]
    return facts


def order(cluster: DevCluster) -> list[str]:
    """Return the ids of all queries that have started, in that order."""
    started = [facts for facts in cluster.queries if facts["started"]]
    return [facts["id"] for facts in sorted(started, key=lambda facts: facts["started"])]


def wait_until_idle(cluster: DevCluster, workers: int) -> None:
    wait_for(
        lambda: sum(worker["query_id"] is None for worker in cluster.workers) == workers + len(["planner"]) or None,
        SECONDS,
        lambda: str(cluster.workers),
    )


@pytest.fixture
def one_worker(start_cluster: StartCluster) -> DevCluster:
    return start_cluster("--workers", "1")


def test_queries_start_by_priority_then_by_age(one_worker: DevCluster, gate: Gate) -> None:
    context = one_worker.context()
    first = submit(gate.frame("first"), context)
    gate.wait_until_started("first")
    by_priority: dict[int, list[Any]] = {}
    for priority in (0, 5, -3, 2_147_483_647, 5, 0, -2_147_483_648):
        by_priority.setdefault(priority, []).append(submit(FRAME, context, priority=priority))

    gate.open()
    for queries in by_priority.values():
        for query in queries:
            query.await_result()

    expected = [query for _, queries in sorted(by_priority.items(), reverse=True) for query in queries]
    assert order(one_worker) == [str(query._query_id) for query in [first, *expected]]


def test_a_query_for_more_workers_than_there_are_waits_and_lets_others_pass(one_worker: DevCluster) -> None:
    context = one_worker.context()
    large = submit_distributed(FRAME, context, min_workers=2)
    small = submit(FRAME, context)

    assert small.await_result().status is QueryStatus.SUCCESS
    assert large.get_status() is QueryStatus.SCHEDULED

    large.cancel()

    assert large.await_result().status is QueryStatus.CANCELED
    assert found(one_worker, large)["attempts"] == 0


def test_nothing_overtakes_a_query_that_waits_for_workers_to_become_free(
    start_cluster: StartCluster, gate: Gate
) -> None:
    cluster = start_cluster("--workers", "2")
    context = cluster.context()
    running = submit(gate.frame("running"), context)
    gate.wait_until_started("running")
    both = submit_distributed(FRAME, context, min_workers=2)
    small = submit(FRAME, context)

    assert [both.get_status(), small.get_status()] == [QueryStatus.SCHEDULED] * 2
    assert [worker["query_id"] for worker in cluster.workers].count(None) == len(["planner", "idle"])

    gate.open()
    small.await_result()

    assert order(cluster) == [str(query._query_id) for query in (running, both, small)]


@pytest.mark.parametrize(
    ("limits", "reserved"), [({}, 3), ({"max_workers": 2}, 2), ({"min_workers": 2, "max_workers": 9}, 3)]
)
def test_a_distributed_query_reserves_as_many_workers_as_it_may(
    start_cluster: StartCluster, gate: Gate, limits: dict[str, int], reserved: int
) -> None:
    cluster = start_cluster("--workers", "3")
    query = submit_distributed(gate.frame("distributed"), cluster.context(), **limits)
    gate.wait_until_started("distributed")

    busy = [worker["name"] for worker in cluster.workers if worker["query_id"] == str(query._query_id)]
    assert sorted(found(cluster, query)["workers"]) == sorted(busy)
    assert len(busy) == reserved

    gate.open()

    assert query.await_result().status is QueryStatus.SUCCESS
    assert gate.starts("distributed") == 1
    wait_until_idle(cluster, 3)


def test_a_cancelled_query_that_waits_never_runs(one_worker: DevCluster, gate: Gate) -> None:
    context = one_worker.context()
    running = submit(gate.frame("running"), context)
    gate.wait_until_started("running")
    waiting = submit(gate.frame("waiting"), context)

    waiting.cancel()

    assert waiting.await_result().status is QueryStatus.CANCELED
    assert running.get_status() is QueryStatus.INPROGRESS
    gate.open()
    assert running.await_result().status is QueryStatus.SUCCESS
    assert submit(FRAME, context).await_result().status is QueryStatus.SUCCESS
    assert gate.starts("waiting") == 0
    assert found(one_worker, waiting)["attempts"] == 0


def test_a_cancelled_query_that_runs_gives_its_worker_back(one_worker: DevCluster, gate: Gate) -> None:
    context = one_worker.context()
    worker = one_worker.workers[0]["pid"]
    running = submit(gate.frame("running"), context, n_retries=3)
    gate.wait_until_started("running")

    running.cancel()

    assert running.get_status() is QueryStatus.CANCELED
    assert running.await_result().status is QueryStatus.CANCELED
    assert submit(FRAME, context).await_result().status is QueryStatus.SUCCESS
    assert worker not in [each["pid"] for each in one_worker.workers]
    assert gate.starts("running") == 1


def test_a_cancelled_distributed_query_gives_all_its_workers_back(start_cluster: StartCluster, gate: Gate) -> None:
    cluster = start_cluster("--workers", "2")
    context = cluster.context()
    running = submit_distributed(gate.frame("running"), context)
    gate.wait_until_started("running")

    running.cancel()

    assert submit_distributed(FRAME, context, min_workers=2).await_result().status is QueryStatus.SUCCESS
    wait_until_idle(cluster, 2)


def test_a_collect_whose_query_is_cancelled_raises(one_worker: DevCluster, gate: Gate) -> None:
    context = one_worker.context()
    with ThreadPoolExecutor(1) as thread:
        collected = thread.submit(gate.frame("running").remote(context).single_node().collect)
        gate.wait_until_started("running")

        context._get_direct_client().cancel_direct_query(uuid.UUID(one_worker.queries[0]["id"]))

        with pytest.raises(EncodedPolarsError, match="RuntimeError: the query was canceled"):
            collected.result(SECONDS)


def test_cancelling_a_query_that_has_ended_changes_nothing(one_worker: DevCluster) -> None:
    context = one_worker.context()
    workers = one_worker.workers
    succeeded = submit(FRAME, context)
    result = succeeded.await_result()
    failed = submit(FRAME.select(pl.col("a").cast(pl.String).str.to_date("%Y")), context)
    assert failed.await_result(raise_on_failure=False).status is QueryStatus.FAILED

    succeeded.cancel()
    failed.cancel()

    assert succeeded.get_status() is QueryStatus.SUCCESS
    assert failed.get_status() is QueryStatus.FAILED
    assert result.lazy().collect().equals(FRAME.collect())
    assert [worker["pid"] for worker in one_worker.workers] == [worker["pid"] for worker in workers]


def test_many_cancels_of_queries_that_are_about_to_end_harm_no_other(start_cluster: StartCluster) -> None:
    cluster = start_cluster("--workers", "2")
    context = cluster.context()
    for _ in range(30):
        cancelled, other = submit(FRAME, context), submit(FRAME, context)
        cancelled.cancel()
        assert cancelled.await_result().status in (QueryStatus.SUCCESS, QueryStatus.CANCELED)
        assert other.await_result().status is QueryStatus.SUCCESS
