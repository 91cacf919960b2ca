"""What tests of watches need: queries that wait in a queue, and a watch of a cluster on a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import psutil

from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.backends.cluster import ClusterBackend
from airflow_provider_polars.backends.query_watch import QueryWatch
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.compute.cluster import ClusterCompute
from airflow_provider_polars.testing import DevCluster

LONG = 30.0
"""Seconds for what ends much earlier."""

Held = Callable[..., str]
Queued = Callable[[int], list[str]]
T = TypeVar("T")
_loop = asyncio.new_event_loop()  # one for all: gRPC complains about calls that end after their loop


def polled(cluster: DevCluster, times: int = 1) -> Callable[[], bool]:
    """Return whether a long poll was opened."""
    return lambda: len(cluster.recorder.calls("GetQueryResult")) >= times


def run_of(query_id: Any) -> Run:
    """Return the handle of a query."""
    return Run(query_id=str(query_id), output="return_value", compute={}, submitted_at=time.time())


def backend_for(uri: str, **access: Any) -> ClusterBackend:
    """Return the backend of a cluster."""
    return ClusterBackend(ClusterCompute(uri=uri), ClusterAccess(uri=uri, **access))


@contextlib.asynccontextmanager
async def watch_of(uri: str, **options: Any) -> AsyncIterator[QueryWatch]:
    """Give a watch of a cluster; close it at the end."""
    watch = QueryWatch(lambda: backend_for(uri), **options)
    try:
        yield watch
    finally:
        await watch.close()


def on_a_loop(work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` returns on an event loop, in time."""

    async def bounded() -> T:
        return await asyncio.wait_for(work, LONG)

    return _loop.run_until_complete(bounded())


async def until(found: Callable[[], Any], *, interval: float = 0.02) -> Any:
    """Return what is ``found``, in a thread, once it is something."""
    deadline = time.monotonic() + LONG
    while not (value := await asyncio.to_thread(found)):
        assert time.monotonic() < deadline, "it does not come"
        await asyncio.sleep(interval)
    return value


async def awaited(watch: QueryWatch, *query_ids: Any) -> list[asyncio.Task[Any]]:
    """Return tasks that await queries."""
    return [asyncio.create_task(watch.ended(run_of(query_id))) for query_id in query_ids]


async def outcome_of(awaitable: Awaitable[T]) -> T | BaseException:
    """Return what is awaited, or what is raised."""
    (outcome,) = await asyncio.gather(awaitable, return_exceptions=True)
    return outcome


def connections_to(uri: str) -> int:
    """Return how many connections this process has to an address."""
    port = int(uri.rpartition(":")[2])
    found = psutil.Process().net_connections(kind="tcp")
    return sum(
        each.status == psutil.CONN_ESTABLISHED and bool(each.raddr) and each.raddr.port == port for each in found
    )
