"""A cluster that runs in the process of whoever starts it."""

from __future__ import annotations

import asyncio

import grpc
import polars as pl
import pytest

from airflow_provider_polars.dev_cluster.faults import Fault
from airflow_provider_polars.dev_cluster.server import Cluster, running
from airflow_provider_polars.dev_cluster.settings import Settings
from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from airflow_provider_polars.protocol.compute_plane_pb2_grpc import ClientServiceStub
from tests.harness.cloud_plans import plan_of

SECONDS = 30.0
FRAME = pl.LazyFrame({"a": [1, 2, 3]})


@pytest.mark.own_cluster
def test_its_owner_decides_who_may_call_and_sees_whether_it_is_busy_and_can_restart_it() -> None:
    async def test(cluster: Cluster) -> None:
        request = wire.SubmitQueryRequest(plan=plan_of(FRAME.sink_parquet("<in-memory>", lazy=True)))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{cluster.port}") as channel:
            stub = ClientServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError, match="the bearer token is missing or wrong"):
                await stub.SubmitQuery(request, metadata=(("authorization", "Bearer mine"),))

            metadata = (("authorization", "Bearer theirs"),)
            query = await stub.SubmitQuery(request, metadata=metadata)
            assert cluster.busy
            result = await stub.GetQueryResult(wire.QueryRequest(query_id=query.query_id), metadata=metadata)
            assert result.query_status == wire.QUERY_STATUS_SUCCESS
            assert not cluster.busy

            before = set(cluster.pids)
            await cluster.restart(memory=False)
            assert (await stub.GetComputeVersions(wire.Empty(), metadata=metadata)).versions
            assert len(before) == 2
            assert not before & set(cluster.pids)

            fault = cluster.faults.add(Fault("Get*", "answer", status="INTERNAL", message="as its owner says"))
            with pytest.raises(grpc.aio.AioRpcError, match="as its owner says"):
                await stub.GetComputeVersions(wire.Empty(), metadata=metadata)
            assert cluster.faults.hits(fault) == 1

    async def run() -> None:
        settings = Settings(port=0, observatory_port=0, workers=1)
        admits = "Bearer theirs".__eq__
        async with running(settings, asyncio.get_running_loop().create_future(), admits=admits) as cluster:
            assert cluster is not None
            await asyncio.wait_for(test(cluster), SECONDS)

    asyncio.run(run())
