"""``QueryWatch`` on the development cluster: many ends are seen at once on one loop, and cancels are confirmed."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.backends.base import RunState
from airflow_provider_polars.backends.query_watch import QueryWatch
from airflow_provider_polars.testing import DevCluster
from tests.wire.fault_calls import submit
from tests.wire.gates import Gate
from tests.wire.planes import Connect, access_to
from tests.wire.watch.watching import (
    Held,
    Queued,
    awaited,
    backend_for,
    connections_to,
    on_a_loop,
    outcome_of,
    polled,
    run_of,
    until,
    watch_of,
)

AT_ONCE = 1.0
MANY = 200
THOUSANDS = 1500
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def test_an_end_is_seen_at_once(polars_dev_cluster: DevCluster, held: Held, gate: Gate) -> None:
    query_id = held()

    async def wait() -> tuple[RunState, float]:
        async with watch_of(polars_dev_cluster.uri) as watch:
            (ended,) = await awaited(watch, query_id)
            await until(polled(polars_dev_cluster))
            gate.open()
            return await ended, time.time()

    state, seen = on_a_loop(wait())
    (ended,) = [query["ended"] for query in polars_dev_cluster.queries if query["id"] == query_id]
    assert state is RunState.SUCCEEDED
    assert seen - ended < AT_ONCE


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED, RunState.LOST])
def test_other_ends_are_told_apart(
    polars_dev_cluster: DevCluster, connect: Connect, context: Any, held: Held, state: RunState
) -> None:
    def query_that_ends() -> str:
        if state is RunState.FAILED:
            polars_dev_cluster.faults.add("SubmitQuery", "fail", errors=["ComputeError: by design"])
            return str(submit(context)._query_id)
        if state is RunState.LOST:
            return UNKNOWN
        query_id = held()
        connect(access_to(polars_dev_cluster)).cancel(query_id)
        return query_id

    query_id = query_that_ends()

    async def wait() -> RunState:
        async with watch_of(polars_dev_cluster.uri) as watch:
            return await watch.ended(run_of(query_id))

    assert on_a_loop(wait()) is state


def test_many_queries_share_two_connections_and_take_no_thread(
    polars_dev_cluster: DevCluster, queued: Queued, gate: Gate
) -> None:
    first, *others = queued(MANY)
    # The real client that has submitted them has a connection too.
    connections = connections_to(polars_dev_cluster.uri)

    async def wait() -> tuple[int, int, int, set[RunState]]:
        async with watch_of(polars_dev_cluster.uri) as watch:
            ended = await awaited(watch, first)
            await until(polled(polars_dev_cluster))
            threads = threading.active_count()
            ended += await awaited(watch, *others)
            await until(polled(polars_dev_cluster, MANY))
            more = threading.active_count() - threads
            connected = connections_to(polars_dev_cluster.uri) - connections
            gate.open()
            return more, connected, len(ended), set(await asyncio.gather(*ended))

    assert on_a_loop(wait()) == (0, 2, MANY, {RunState.SUCCEEDED})


@pytest.mark.own_cluster
def test_calls_are_answered_while_thousands_of_long_polls_are_open(start_cluster: Callable[..., DevCluster]) -> None:
    cluster = start_cluster("--workers", "1")
    context = cluster.context()
    endless = pl.LazyFrame({"a": [1]}).select(pl.col("a").map_batches(_endless, return_dtype=pl.Int64))
    first = str(submit(context, endless)._query_id)
    with ThreadPoolExecutor(8) as threads:
        query_ids = list(threads.map(lambda _: str(submit(context)._query_id), range(THOUSANDS)))

    async def ask() -> tuple[float, list[Any], RunState]:
        async with watch_of(cluster.uri) as watch:
            *ended, last = await awaited(watch, *query_ids)
            await until(polled(cluster, THOUSANDS), interval=0.5)
            begun = time.monotonic()
            living = await watch.cancel([run_of(query_ids[-1])])
            took, state = time.monotonic() - begun, await last
            for task in ended:
                task.cancel()
            await asyncio.gather(*ended, return_exceptions=True)
            return took, living, state

    took, living, state = on_a_loop(ask())
    assert took < 2 * AT_ONCE
    assert living == []
    assert state is RunState.CANCELLED
    states = {query["id"]: query["state"] for query in cluster.queries}
    assert states[first] == "IN_PROGRESS"
    assert sum(state == "CANCELED" for state in states.values()) == 1


def _endless(column: pl.Series) -> pl.Series:
    while True:
        time.sleep(1)


def test_who_no_longer_waits_ends_no_query_and_leaves_nothing(
    polars_dev_cluster: DevCluster, held: Held, gate: Gate
) -> None:
    query_id = held()
    connections = connections_to(polars_dev_cluster.uri)

    async def wait_for_a_while() -> None:
        async with watch_of(polars_dev_cluster.uri) as watch:
            (ended,) = await awaited(watch, query_id)
            await until(polled(polars_dev_cluster))
            ended.cancel()
            assert isinstance(await outcome_of(ended), asyncio.CancelledError)

    async def wait() -> set[str]:
        before = asyncio.all_tasks()
        await wait_for_a_while()

        def has_left_none() -> bool:
            gc.collect()  # what an exception has passed through holds a call, and that its connection
            return connections_to(polars_dev_cluster.uri) <= connections

        await until(has_left_none)
        return {task.get_name() for task in asyncio.all_tasks() - before}

    assert on_a_loop(wait()) == set()
    assert polars_dev_cluster.recorder.cancels == []


def test_who_is_cancelled_while_the_watch_connects_leaves_the_connection_to_the_others(
    polars_dev_cluster: DevCluster, held: Held, gate: Gate
) -> None:
    kept, unwanted = run_of(held("first")), run_of(held("second"))
    made, connecting, may_connect = [], threading.Event(), threading.Event()

    def backend() -> Any:
        made.append(polars_dev_cluster.uri)
        connecting.set()
        may_connect.wait()
        return backend_for(polars_dev_cluster.uri)

    async def wait() -> tuple[Any, RunState, list[Any]]:
        watch = QueryWatch(backend)
        first, other = await awaited(watch, unwanted.query_id, kept.query_id)
        await until(connecting.is_set)
        first.cancel()
        outcome = await outcome_of(first)
        cancelling = asyncio.create_task(watch.cancel([unwanted]))
        await asyncio.sleep(0)
        may_connect.set()
        living = await cancelling
        gate.open()
        state = await other
        await watch.close()
        return outcome, state, living

    outcome, state, living = on_a_loop(wait())
    assert isinstance(outcome, asyncio.CancelledError)
    assert (state, living, len(made)) == (RunState.SUCCEEDED, [], 1)


def test_a_cancel_is_confirmed(polars_dev_cluster: DevCluster, held: Held) -> None:
    runs = [run_of(held(name)) for name in ("first", "second")]

    async def cancel() -> list[Any]:
        async with watch_of(polars_dev_cluster.uri) as watch:
            return await watch.cancel(runs)

    assert on_a_loop(cancel()) == []
    assert {
        query["state"] for query in polars_dev_cluster.queries if query["id"] in {run.query_id for run in runs}
    } == {"CANCELED"}


def test_a_cancel_that_is_not_heard_is_asked_for_again(polars_dev_cluster: DevCluster, held: Held) -> None:
    runs = [run_of(held())]
    polars_dev_cluster.faults.add("CancelQuery", "answer", status="UNAVAILABLE", times=2)

    async def cancel() -> list[Any]:
        async with watch_of(polars_dev_cluster.uri) as watch:
            return await watch.cancel(runs)

    assert on_a_loop(cancel()) == []
    assert len(polars_dev_cluster.recorder.cancels) == 3


def test_a_cancel_that_is_not_confirmed_is_told(polars_dev_cluster: DevCluster, held: Held) -> None:
    runs = [run_of(held())]
    polars_dev_cluster.faults.add("CancelQuery", "answer", status="UNAVAILABLE", times=None)

    async def cancel() -> list[Any]:
        async with watch_of(polars_dev_cluster.uri) as watch:
            return await watch.cancel(runs, seconds=1.0)

    assert on_a_loop(cancel()) == runs
