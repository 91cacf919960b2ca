"""An instance with a stand-in for its development cluster."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from airflow_provider_polars.dev_cluster.control_plane import instances
from airflow_provider_polars.dev_cluster.control_plane.accounts import Directory
from airflow_provider_polars.dev_cluster.control_plane.instances import Instance
from airflow_provider_polars.dev_cluster.control_plane.orders import Order
from airflow_provider_polars.dev_cluster.control_plane.settings import ControlPlaneSettings
from airflow_provider_polars.dev_cluster.faults import Faults
from airflow_provider_polars.dev_cluster.queries import CANCELED, Query
from airflow_provider_polars.dev_cluster.recorder import Recorder
from airflow_provider_polars.dev_cluster.scheduler import PlanRejectedError
from airflow_provider_polars.protocol import compute_plane_pb2 as wire

ORDER = {
    "specs": {"cpus": 1, "ram_gb": 1},
    "mode": "Proxy",
    "python_version": {"major": 3, "minor": 12, "patch": 0},
    "polars_version": "1.0.0",
}


class SchedulerStandIn:
    """Plans for ever, or rejects."""

    def __init__(self, *, rejects: bool) -> None:
        self._rejects = rejects
        self.queries: list[Query] = []
        self.planning, self.given_up = asyncio.Event(), asyncio.Event()

    async def submit(self, query: Query, **_: Any) -> None:
        """Plan a query."""
        if self._rejects:
            raise PlanRejectedError("ComputeError: no")
        self.planning.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up.set()

    def cancel(self, query: Query) -> None:
        """End a query."""
        query.end(CANCELED)

    def close(self, error: str) -> None:
        """Take no query any more."""


@contextlib.asynccontextmanager
async def instance_of(scheduler: SchedulerStandIn, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Instance]:
    """Run an instance until the block ends."""

    @contextlib.asynccontextmanager
    async def running(*_: Any, **__: Any) -> AsyncIterator[Any]:
        pool = SimpleNamespace(failed=asyncio.get_running_loop().create_future())
        yield SimpleNamespace(scheduler=scheduler, pool=pool, busy=False, recorder=Recorder(), faults=Faults())

    monkeypatch.setattr(instances, "running", running)
    account = next(iter(Directory().accounts.values()))
    settings = ControlPlaneSettings()
    instance = Instance(msgspec.convert(ORDER, Order), account, settings, "python", lambda _: True)
    try:
        yield instance
    finally:
        instance.end()
        await instance.ended()


def test_a_plan_that_is_rejected_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with instance_of(SchedulerStandIn(rejects=True), monkeypatch) as instance:
            query = Query(wire.QuerySettings(), b"a plan")
            gone = weakref.ref(query)
            with pytest.raises(PlanRejectedError):
                await instance.submit(query, "1.0.0")
            del query
            gc.collect()
            assert gone() is None

    asyncio.run(scenario())


def test_a_query_whose_caller_hangs_up_while_it_is_planned_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        scheduler = SchedulerStandIn(rejects=False)
        async with instance_of(scheduler, monkeypatch) as instance:
            query = Query(wire.QuerySettings(), b"a plan")
            call = asyncio.create_task(instance.submit(query, "1.0.0"))
            await scheduler.planning.wait()

            call.cancel()

            await asyncio.wait_for(scheduler.given_up.wait(), 5)
            assert (query.state, query.plan) == (CANCELED, b"")

    asyncio.run(scenario())
