"""How long a cluster knows a query and keeps its result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars_cloud import QueryStatus

from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from tests.harness.waiting import wait_for
from tests.wire.gates import Gate
from tests.wire.peers import refusing_port

pytestmark = pytest.mark.own_cluster

FRAME = pl.LazyFrame({"a": [1, 2, 3]})
SECONDS = 60.0


def wait_until_forgotten(cluster: DevCluster, *queries: Any) -> None:
    ids = {str(query._query_id) for query in queries}
    wait_for(lambda: ids.isdisjoint(query["id"] for query in cluster.queries) or None, SECONDS, lambda: str(ids))


def test_an_ended_query_and_its_result_are_forgotten_in_time(
    start_cluster: Callable[..., DevCluster], gate: Gate, tmp_path: Path
) -> None:
    cluster = start_cluster("--result-ttl", "0.5")
    context = cluster.context()
    running = gate.frame("running").remote(context).single_node().execute(blocking=False)
    gate.wait_until_started("running")
    anonymous = FRAME.remote(context).single_node().execute(blocking=False)
    (file,) = anonymous.await_result().location
    named = FRAME.remote(context).single_node().sink_parquet(tmp_path / "named.parquet")
    named.await_result()
    assert Path(file).exists()

    wait_until_forgotten(cluster, anonymous, named)

    wait_for(lambda: not Path(file).parent.exists() or None, SECONDS, lambda: f"{file} is still there")
    assert pl.read_parquet(tmp_path / "named.parquet").equals(FRAME.collect())
    for query in (anonymous, named):
        for call in (query.get_status, query.await_result, lambda query=query: query.plan("ir")):
            with pytest.raises(RuntimeError, match=r"entity was not found.*is forgotten: that is 0\.5 s after its end"):
                call()
    assert running.get_status() is QueryStatus.INPROGRESS
    gate.open()
    assert running.await_result().status is QueryStatus.SUCCESS


def test_what_a_cancelled_query_has_written_for_the_client_is_removed(
    start_cluster: Callable[..., DevCluster], gate: Gate
) -> None:
    cluster = start_cluster("--workers", "1", "--result-ttl", "0.5")
    context = cluster.context()
    probe = FRAME.remote(context).single_node().execute()
    results = Path(probe.location[0]).parents[1]
    running = gate.frame("running").remote(context).single_node().execute(blocking=False)
    gate.wait_until_started("running")
    assert (results / str(running._query_id)).exists()

    running.cancel()

    wait_until_forgotten(cluster, running)
    wait_for(lambda: not list(results.iterdir()) or None, SECONDS, lambda: f"there is {list(results.iterdir())}")


def test_a_cluster_that_was_started_anew_knows_no_older_query() -> None:
    with refusing_port() as port:
        options = "--workers", "1", "--port", str(port)
        with start_dev_cluster(*options) as cluster:
            context = cluster.context()
            query = FRAME.remote(context).single_node().execute(blocking=False)
            query.await_result()

        with start_dev_cluster(*options) as cluster:
            for call in (query.get_status, query.await_result):
                with pytest.raises(RuntimeError, match="was not submitted to this cluster since its start"):
                    call()
            query.cancel()
            assert FRAME.remote(context).single_node().execute().status is QueryStatus.SUCCESS
            assert len(cluster.queries) == 1
