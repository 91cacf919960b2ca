"""Connections that clients keep open."""

from __future__ import annotations

import grpc
import polars as pl
import pytest

from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from airflow_provider_polars.protocol.compute_plane_pb2_grpc import ClientServiceStub
from airflow_provider_polars.testing import DevCluster
from tests.wire.gates import Gate

pytestmark = pytest.mark.own_cluster

PINGS = [
    ("grpc.keepalive_time_ms", 1_100),  # the real client: every 20 s
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.ping_timeout_ms", 10_000),
]


def test_a_client_that_pings_while_it_waits_is_not_hung_up_on(polars_dev_cluster: DevCluster, gate: Gate) -> None:
    query = gate.frame("held").remote(polars_dev_cluster.context()).single_node().execute(blocking=False)
    request = wire.QueryRequest(query_id=wire.QueryId(query_id=str(query._query_id)))
    with grpc.insecure_channel(polars_dev_cluster.uri.removeprefix("http://"), options=PINGS) as channel:
        seen: list[grpc.ChannelConnectivity] = []
        channel.subscribe(seen.append)
        call = ClientServiceStub(channel).GetQueryResult.future(request)

        with pytest.raises(grpc.FutureTimeoutError):
            call.result(timeout=8)
        gate.open()

        assert call.result(timeout=30).query_status == wire.QUERY_STATUS_SUCCESS
    assert grpc.ChannelConnectivity.TRANSIENT_FAILURE not in seen
    assert seen.count(grpc.ChannelConnectivity.READY) == 1


def test_large_plans_are_taken(polars_dev_cluster: DevCluster) -> None:
    frame = pl.LazyFrame({"a": pl.int_range(2_000_000, eager=True)})

    assert frame.remote(polars_dev_cluster.context()).single_node().execute().n_rows_total == 2_000_000
    assert polars_dev_cluster.recorder.submissions[0]["plan_bytes"] > 16_000_000
