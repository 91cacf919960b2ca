"""``QueryWatch`` and a cluster in trouble: what passes is ridden out, and what does not is told to all."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from airflow_provider_polars.backends import query_watch, watch_connections
from airflow_provider_polars.backends.base import RunState
from airflow_provider_polars.clients import async_compute_plane
from airflow_provider_polars.clients.async_compute_plane import AsyncComputePlane
from airflow_provider_polars.exceptions import (
    ClusterUnreachableError,
)
from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from airflow_provider_polars.testing import DevCluster
from tests.wire.gates import Gate
from tests.wire.peers import StandInScheduler, full_port, serving
from tests.wire.relay import relay_to
from tests.wire.watch.watching import (
    Held,
    Queued,
    awaited,
    backend_for,
    on_a_loop,
    outcome_of,
    polled,
    until,
    watch_of,
)

AT_ONCE = 1.0
MANY = 200
UNKNOWN = "00000000-0000-4000-8000-000000000000"
IN_PROGRESS = 2


def test_a_connection_that_is_cut_for_a_while_is_ridden_out(
    polars_dev_cluster: DevCluster, queued: Queued, gate: Gate
) -> None:
    query_ids = queued(20)
    with relay_to(polars_dev_cluster.uri) as relay:

        async def wait() -> set[RunState]:
            async with watch_of(relay.uri) as watch:
                ended = await awaited(watch, *query_ids)
                await until(polled(polars_dev_cluster, len(query_ids)))
                relay.cut()
                await asyncio.sleep(AT_ONCE)
                relay.mend()
                gate.open()
                return set(await asyncio.gather(*ended))

        assert on_a_loop(wait()) == {RunState.SUCCEEDED}


@pytest.mark.parametrize(("memory", "state"), [(True, RunState.SUCCEEDED), (False, RunState.LOST)])
def test_a_scheduler_restarts(
    polars_dev_cluster: DevCluster, held: Held, gate: Gate, memory: bool, state: RunState
) -> None:
    query_id = held(n_retries=1)

    async def wait() -> RunState:
        async with watch_of(polars_dev_cluster.uri) as watch:
            (ended,) = await awaited(watch, query_id)
            await until(polled(polars_dev_cluster))
            await asyncio.to_thread(polars_dev_cluster.restart, memory=memory, seconds=0.5)
            gate.open()
            return await ended

    assert on_a_loop(wait()) is state


@pytest.mark.parametrize("status", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "CANCELLED", "UNKNOWN", "ABORTED"])
@pytest.mark.parametrize("call", ["GetQueryResult", "GetQueryStatus"])
def test_an_error_of_the_scheduler_is_no_verdict(
    polars_dev_cluster: DevCluster, held: Held, gate: Gate, call: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_compute_plane, "_SHORTEST_POLL_SECONDS", 0.05)
    monkeypatch.setattr(query_watch, "_FIRST_PAUSE_SECONDS", 0.05)
    query_id = held()
    fault = polars_dev_cluster.faults.add(call, "answer", status=status, times=3)

    async def wait() -> RunState:
        async with watch_of(polars_dev_cluster.uri) as watch:
            (ended,) = await awaited(watch, query_id)
            await until(lambda: polars_dev_cluster.faults.hits(fault) == 3)
            assert not ended.done()
            gate.open()
            return await ended

    assert on_a_loop(wait()) is RunState.SUCCEEDED


def test_a_status_cancelled_looks_like_no_cancelled_task(polars_dev_cluster: DevCluster, held: Held) -> None:
    query_id = held()
    polars_dev_cluster.faults.add("Get*", "answer", status="CANCELLED", times=None)

    async def ask() -> Any:
        plane = await AsyncComputePlane.open(backend_for(polars_dev_cluster.uri).new_plane(None))
        try:
            return await outcome_of(plane.status(query_id))
        finally:
            await plane.close()

    outcome = on_a_loop(ask())
    assert isinstance(outcome, ClusterUnreachableError)
    assert "CANCELLED" in str(outcome)


def test_a_scheduler_that_hangs_is_ridden_out(polars_dev_cluster: DevCluster, held: Held, gate: Gate) -> None:
    query_id = held()
    fault = polars_dev_cluster.faults.add("Get*", "hang", times=None)

    async def wait() -> RunState:
        async with watch_of(polars_dev_cluster.uri) as watch:
            (ended,) = await awaited(watch, query_id)
            await until(lambda: polars_dev_cluster.faults.hits(fault))
            gate.open()
            await asyncio.to_thread(polars_dev_cluster.faults.lift, fault)
            return await ended

    assert on_a_loop(wait()) is RunState.SUCCEEDED


def test_what_never_answers_is_told_to_all_after_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    for method in (AsyncComputePlane.status, watch_connections.Connection.status):
        monkeypatch.setattr(method, "__defaults__", (0.3,))
    with full_port() as port:

        async def wait() -> tuple[list[Any], float]:
            async with watch_of(f"http://127.0.0.1:{port}", grace=1.0) as watch:
                begun = time.monotonic()
                ended = await awaited(watch, *[UNKNOWN] * 2000)
                return await asyncio.gather(*ended, return_exceptions=True), time.monotonic() - begun

        outcomes, took = on_a_loop(wait())
    assert {type(outcome) for outcome in outcomes} == {ClusterUnreachableError}
    assert 1.0 < took < 6.0  # one after the other, in sixties, they would take ten


def test_a_port_that_refuses_is_asked_about_one_query_for_all(
    polars_dev_cluster: DevCluster, queued: Queued, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    query_ids, asked = queued(MANY), []
    status = watch_connections.Connection.status

    async def counted(self: Any, query_id: str, *seconds: float) -> Any:
        asked.append(query_id)
        return await status(self, query_id, *seconds)

    monkeypatch.setattr(watch_connections.Connection, "status", counted)
    with relay_to(polars_dev_cluster.uri) as relay:

        async def wait() -> set[RunState]:
            async with watch_of(relay.uri) as watch:
                ended = await awaited(watch, *query_ids)
                await until(polled(polars_dev_cluster, MANY))
                relay.cut()
                await asyncio.sleep(2 * AT_ONCE)
                relay.mend()
                gate.open()
                return set(await asyncio.gather(*ended))

        assert on_a_loop(wait()) == {RunState.SUCCEEDED}
    assert 1 <= len(asked) < 10


def test_a_long_poll_that_is_answered_early_is_not_repeated_in_a_hot_loop() -> None:
    status = wire.GetQueryStatusResponse(status=IN_PROGRESS)  # type: ignore[arg-type]
    result = wire.GetQueryResultResponse(query_status=IN_PROGRESS)  # type: ignore[arg-type]
    scheduler = StandInScheduler(
        GetQueryStatus=lambda request, context: status, GetQueryResult=lambda request, context: result
    )

    async def wait(port: int) -> None:
        async with watch_of(f"http://127.0.0.1:{port}") as watch:
            (ended,) = await awaited(watch, UNKNOWN)
            await asyncio.sleep(2.5 * AT_ONCE)
            assert not ended.done()
            ended.cancel()
            await outcome_of(ended)

    with serving(scheduler) as port:
        on_a_loop(wait(port))
    assert 2 <= scheduler.calls.count("GetQueryResult") <= 3


def test_a_cluster_that_holds_no_calls_is_asked_again_and_again(
    polars_dev_cluster: DevCluster, held: Held, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_polars.backends.polars_client.holds_results", lambda: False)
    query_id = held()

    async def wait() -> RunState:
        async with watch_of(polars_dev_cluster.uri) as watch:
            (ended,) = await awaited(watch, query_id)
            await until(lambda: len(polars_dev_cluster.recorder.calls("GetQueryStatus")) > 1)
            gate.open()
            return await ended

    assert on_a_loop(wait()) is RunState.SUCCEEDED
    assert polars_dev_cluster.recorder.calls("GetQueryResult") == []
