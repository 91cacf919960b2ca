"""Processes that stand still: workers, the planner, the scheduler itself, and clients that go away."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import pytest
from polars.io.plugins import register_io_source

from airflow_provider_polars.dev_cluster.queries import FAILED, SUCCESS, Query
from airflow_provider_polars.dev_cluster.server import Cluster, running
from airflow_provider_polars.dev_cluster.settings import Settings
from airflow_provider_polars.dev_cluster.worker.process import PLANNING_THREADS
from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from airflow_provider_polars.protocol.compute_plane_pb2_grpc import ClientServiceStub
from tests.harness.cloud_plans import plan_of
from tests.wire.gates import Gate

pytestmark = pytest.mark.own_cluster

HEARTBEAT_SECONDS = 4.0
PLANNING_SECONDS = 3.0
SECONDS = 60.0
FRAME = pl.LazyFrame({"a": [1, 2, 3]})


def with_cluster(test: Callable[[Cluster], Awaitable[None]]) -> None:
    """Run a test with a cluster of one worker in this process."""
    settings = Settings(
        port=0,
        observatory_port=0,
        workers=1,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        planning_seconds=PLANNING_SECONDS,
    )

    async def run() -> None:
        async with running(settings, asyncio.get_running_loop().create_future()) as cluster:
            assert cluster is not None
            await test(cluster)

    asyncio.run(run())


def executed(frame: pl.LazyFrame) -> bytes:
    return plan_of(frame.sink_parquet("<in-memory>", lazy=True))


async def submitted(cluster: Cluster, frame: pl.LazyFrame, n_retries: int = 0) -> Query:
    query = Query(wire.QuerySettings(n_retries=n_retries), executed(frame))
    await cluster.scheduler.submit(query, client_polars=pl.__version__)
    return query


async def ended(query: Query) -> int:
    await asyncio.wait_for(query.ended.wait(), SECONDS)
    return query.state


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(("n_retries", "state", "starts"), [(0, FAILED, 1), (1, SUCCESS, 2)])
def test_a_worker_that_stands_still_is_given_up(gate: Gate, n_retries: int, state: int, starts: int) -> None:
    async def test(cluster: Cluster) -> None:
        stopped = cluster.pool.pids["worker-1"]
        query = await submitted(cluster, gate.frame("held"), n_retries)
        await until(lambda: gate.starts("held"))

        os.kill(stopped, signal.SIGSTOP)
        await until(lambda: gate.starts("held") == starts and cluster.pool.pids["worker-1"] != stopped)
        gate.open()

        assert await ended(query) == state
        if state == FAILED:
            error = "ComputeError: worker-1 ended while it ran the query"
            assert query.errors == {"scheduler": error, "worker-1": error}
        assert await ended(await submitted(cluster, FRAME)) == SUCCESS

    with_cluster(test)


def test_idle_processes_that_stand_still_are_given_up() -> None:
    async def test(cluster: Cluster) -> None:
        stopped = cluster.pool.pids
        for pid in stopped.values():
            os.kill(pid, signal.SIGSTOP)
        query = await submitted(cluster, FRAME)  # not checked: the planner does not answer

        await until(lambda: not set(stopped.values()) & set(cluster.pool.pids.values()))
        assert await ended(query) == FAILED
        again = await submitted(cluster, FRAME)
        assert again.planned
        assert await ended(again) == SUCCESS

    with_cluster(test)


def test_a_scheduler_that_stood_still_blames_nobody_for_its_own_silence(gate: Gate) -> None:
    async def test(cluster: Cluster) -> None:
        pids = cluster.pool.pids
        query = await submitted(cluster, gate.frame("held"))
        await until(lambda: gate.starts("held"))

        time.sleep(HEARTBEAT_SECONDS + 1.5)
        gate.open()

        assert await ended(query) == SUCCESS
        assert cluster.pool.pids == pids

    with_cluster(test)


def unplannable(folder: Path, name: str) -> pl.LazyFrame:
    """Return a query whose planning does not end; it notes that it has begun."""
    begun = folder / name

    def read(*_: object) -> Iterator[pl.DataFrame]:
        yield pl.DataFrame({"a": [1]})

    def schema() -> pl.Schema:
        if "polars_worker" in sys.modules and not begun.exists():
            begun.touch()
            time.sleep(3600)
        return pl.Schema({"a": pl.Int64})

    return register_io_source(read, schema=schema)


def test_queries_whose_planning_does_not_end_run_unchecked_and_hold_up_no_other(tmp_path: Path) -> None:
    async def test(cluster: Cluster) -> None:
        frames = [unplannable(tmp_path, str(index)) for index in range(PLANNING_THREADS)]
        stuck = await asyncio.gather(*(submitted(cluster, frame) for frame in frames))
        for query in stuck:
            assert query.planned is None
            assert await ended(query) == SUCCESS

        begun = time.monotonic()
        query = await submitted(cluster, FRAME)

        assert query.planned
        assert time.monotonic() - begun < PLANNING_SECONDS
        assert await ended(query) == SUCCESS

    with_cluster(test)


def test_a_client_that_goes_away_while_its_query_is_planned_leaves_nothing_behind(tmp_path: Path) -> None:
    async def test(cluster: Cluster) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{cluster.port}") as channel:
            stub = ClientServiceStub(channel)
            request = wire.SubmitQueryRequest(plan=executed(unplannable(tmp_path, "begun")))
            call = stub.SubmitQuery(request)
            sent = asyncio.ensure_future(call)
            await until((tmp_path / "begun").exists)

            call.cancel()

            with pytest.raises(asyncio.CancelledError):
                await sent
            query = await stub.SubmitQuery(wire.SubmitQueryRequest(plan=executed(FRAME)), timeout=SECONDS)
            result = await stub.GetQueryResult(wire.QueryRequest(query_id=query.query_id), timeout=SECONDS)
        assert result.query_status == SUCCESS
        assert [known.id for known in cluster.scheduler.queries] == [query.query_id.query_id]

    with_cluster(test)
