"""Faults of requests to the observatory, as the real client and our own see them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars_cloud as pc
import pytest

from airflow_provider_polars.clients import observatory
from airflow_provider_polars.testing import DevCluster
from tests.wire.fault_calls import SECONDS, ask_observatory, recorded, wait_until_hit
from tests.wire.planes import access_to


def details(context: Any, query: Any) -> Any:
    return pc.QueryDetail._from_inner(context._get_direct_client().get_query_details(query._query_id))


def test_an_observatory_can_be_slow(polars_dev_cluster: DevCluster, context: Any, ended_query: Any) -> None:
    polars_dev_cluster.faults.add("GET query", "delay", seconds=0.2)

    begun = time.monotonic()
    assert details(context, ended_query).status == "Success"

    assert 0.2 <= time.monotonic() - begun < SECONDS
    assert recorded(polars_dev_cluster) == [("GET query", "delay")]


@pytest.mark.parametrize("do", ["drop", "reset"])
def test_an_observatory_can_lose_connections(
    polars_dev_cluster: DevCluster, context: Any, ended_query: Any, do: str
) -> None:
    polars_dev_cluster.faults.add("GET query", do, times=None)

    with pytest.raises(RuntimeError, match="error sending request"):
        details(context, ended_query)
    assert observatory.query_details(access_to(polars_dev_cluster), str(ended_query._query_id)) is None

    assert set(recorded(polars_dev_cluster)) == {("GET query", do)}
    polars_dev_cluster.faults.clear()
    assert details(context, ended_query).status == "Success"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": 503}, "503 Service Unavailable"),
        ({"status": 429, "message": "slow down"}, "429 Too Many Requests"),
        ({"status": 200, "body": {"id": "elsewhere"}}, "error decoding response body"),
        ({"status": 200, "body": "<html>a proxy</html>"}, "error decoding response body"),
        ({"status": 204}, "204 No Content|error decoding response body"),
    ],
)
def test_an_observatory_can_answer_anything(
    polars_dev_cluster: DevCluster, context: Any, ended_query: Any, fields: dict[str, Any], reason: str
) -> None:
    polars_dev_cluster.faults.add("GET *", "answer", **fields)

    with pytest.raises(RuntimeError, match=reason):
        details(context, ended_query)

    assert recorded(polars_dev_cluster) == [("GET query", "answer")]


def test_an_observatory_can_hang(polars_dev_cluster: DevCluster, context: Any, ended_query: Any) -> None:
    fault = polars_dev_cluster.faults.add("GET query", "hang", times=None)

    assert observatory.query_details(access_to(polars_dev_cluster), str(ended_query._query_id), seconds=1.0) is None
    wait_until_hit(polars_dev_cluster, fault)
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(details, context, ended_query)
        wait_until_hit(polars_dev_cluster, fault, times=2)
        polars_dev_cluster.faults.lift(fault)
        with pytest.raises(RuntimeError, match="503 Service Unavailable"):
            asked.result(SECONDS)
    assert details(context, ended_query).status == "Success"


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"status": 418, "message": "no"}, (b"HTTP/1.1 418", b'{"error": "no"}')),
        ({"status": 200, "body": [1, None]}, (b"content-type: application/json", b"[1, null]")),
        ({"status": 502, "body": "bad gateway"}, (b"content-type: text/plain", b"bad gateway")),
        ({"status": 304}, (b"HTTP/1.1 304", b"")),
    ],
)
def test_an_answer_over_http_is_what_the_fault_says(
    polars_dev_cluster: DevCluster, fields: dict[str, Any], answer: tuple[bytes, bytes]
) -> None:
    polars_dev_cluster.faults.add("GET /any*", "answer", **fields)

    head, _, body = ask_observatory(polars_dev_cluster, "/anything").partition(b"\r\n\r\n")

    assert answer[0] in head
    assert body == answer[1]


def test_a_caller_of_the_observatory_can_tell_a_reset_from_an_end(polars_dev_cluster: DevCluster) -> None:
    polars_dev_cluster.faults.add("GET query", "drop")
    assert ask_observatory(polars_dev_cluster, "/api/v1/query/any") == b""

    polars_dev_cluster.faults.add("GET query", "reset")
    with pytest.raises(ConnectionResetError):
        ask_observatory(polars_dev_cluster, "/api/v1/query/any")


def test_what_tests_themselves_ask_is_never_hit(polars_dev_cluster: DevCluster) -> None:
    fault = polars_dev_cluster.faults.add("*", "reset", times=None)

    assert polars_dev_cluster.workers
    assert polars_dev_cluster.faults.hits(fault) == 0
