"""How faults are set, counted and forgotten, and versions that are not true."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from airflow_provider_polars.protocol.compute_plane_pb2_grpc import ClientServiceStub
from airflow_provider_polars.testing import DevCluster
from tests.wire.fault_calls import SECONDS, ask_observatory, versions


def test_faults_are_counted_until_they_are_cleared(polars_dev_cluster: DevCluster, ended_query: Any) -> None:
    faults = polars_dev_cluster.faults
    fault = faults.add("GetQueryStatus", "answer", status="UNAVAILABLE", times=2, skip=1)

    seen = []
    for _ in range(5):
        try:
            seen.append(ended_query.get_status().name)
        except RuntimeError:
            seen.append("error")

    assert seen == ["SUCCESS", "error", "error", "SUCCESS", "SUCCESS"]
    assert faults.hits(fault) == 2
    assert faults.counted() == [
        {
            "id": fault,
            "call": "GetQueryStatus",
            "do": "answer",
            "status": "UNAVAILABLE",
            "times": 2,
            "skip": 1,
            "hits": 2,
        }
    ]
    faults.clear()
    assert faults.counted() == []
    for unknown in (faults.lift, faults.hits):
        with pytest.raises(LookupError, match=f"no fault {fault}"):
            unknown(fault)


def test_wrong_faults_are_refused_with_the_reason(polars_dev_cluster: DevCluster) -> None:
    faults = polars_dev_cluster.faults
    with pytest.raises(ValueError, match='do is "explode", but must be one of delay, hang'):
        faults.add("SubmitQuery", "explode")
    with pytest.raises(ValueError, match="seconds is null, but must be a number above 0"):
        faults.add("SubmitQuery", "delay")
    assert b"the body is no JSON" in ask_observatory(polars_dev_cluster, "/_dev/faults", "POST", "{")
    assert faults.counted() == []


@pytest.fixture
def troubled(_polars_dev_cluster_session: DevCluster) -> None:
    """Leave the cluster of the session as a careless test does."""
    _polars_dev_cluster_session.faults.add("*", "reset", times=None)
    _polars_dev_cluster_session.tell_version("0.0.1")


def test_what_an_earlier_test_let_go_wrong_is_forgotten(
    troubled: None, polars_dev_cluster: DevCluster, context: Any
) -> None:
    assert polars_dev_cluster.faults.counted() == []
    assert versions(context) is not None
    assert _polars_of(polars_dev_cluster) == polars_dev_cluster.polars


def test_a_cluster_can_tell_another_version(polars_dev_cluster: DevCluster) -> None:
    polars_dev_cluster.tell_version("1.44.2")
    assert _polars_of(polars_dev_cluster) == "1.44.2"

    polars_dev_cluster.tell_version(None)
    assert _polars_of(polars_dev_cluster) == polars_dev_cluster.polars
    with pytest.raises(ValueError, match="length >= 1"):
        polars_dev_cluster.tell_version("")


def _polars_of(cluster: DevCluster) -> str:
    with grpc.insecure_channel(cluster.uri.removeprefix("http://")) as channel:
        answer = ClientServiceStub(channel).GetComputeVersions(wire.Empty(), timeout=SECONDS)
    return str(answer.versions.polars_python_version)
