"""What the observatory of the development cluster tells of queries of the real client."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import polars as pl
import pytest

from airflow_provider_polars.clients import observatory
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.testing import DevCluster, start_dev_cluster

TOKEN = "the-right-token"
QUERY = "6f0c4a52-5b8e-4c35-9f3d-0d5f1f9f6f6a"


@pytest.fixture(scope="module")
def guarded_cluster() -> Iterator[DevCluster]:
    """Run a cluster with TLS that asks for a token."""
    with start_dev_cluster("--tls", "--token", TOKEN, "--workers", "1") as cluster:
        yield cluster


def access_to(cluster: DevCluster, **given: Any) -> ClusterAccess:
    authority = cluster.authority.decode() if cluster.authority else None
    facts = {"observatory": cluster.observatory, "ca_cert": authority, "headers": cluster.headers}
    return ClusterAccess(**{"uri": cluster.uri, **facts, **given})


def finished_query(cluster: DevCluster) -> str:
    query: Any = pl.LazyFrame({"a": [1, 2]}).remote(cluster.context()).single_node().execute(blocking=False)
    query.await_result()
    return str(query._query_id)


def test_details_of_a_query_are_those_that_the_client_shows(polars_dev_cluster: DevCluster) -> None:
    query_id = finished_query(polars_dev_cluster)
    details = observatory.query_details(access_to(polars_dev_cluster), query_id)
    assert details is not None
    assert (details["id"], details["status"], details["output_rows"]) == (query_id, "Success", 2)


def test_the_figures_of_a_query_are_those_that_the_cluster_knows(polars_dev_cluster: DevCluster) -> None:
    details = observatory.query_details(access_to(polars_dev_cluster), finished_query(polars_dev_cluster))
    assert details is not None
    summary = observatory.summarise(details)
    timings = summary.pop("timings")
    assert summary == {"stages": 1}
    assert set(timings) == {"queue", "plan", "run"}
    assert all(0 <= seconds < 30 for seconds in timings.values())


def test_a_guarded_observatory_answers_who_has_the_token(guarded_cluster: DevCluster) -> None:
    query_id = finished_query(guarded_cluster)
    for given in ({}, {"domain_name": "localhost"}, {"insecure": True, "ca_cert": None}):
        details = observatory.query_details(access_to(guarded_cluster, **given), query_id)
        assert details is not None
        assert details["id"] == query_id
        assert observatory.problem(access_to(guarded_cluster, **given), 20.0) is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"headers": {"authorization": "Bearer another-token"}}, "401 Unauthorized"),
        ({"ca_cert": None}, "CERTIFICATE_VERIFY_FAILED"),
        ({"domain_name": "elsewhere.invalid"}, "not valid for 'elsewhere.invalid'"),
        ({"ca_cert": "no certificate"}, "The CA certificate for"),
    ],
)
def test_a_guarded_observatory_that_refuses_gives_no_details(
    guarded_cluster: DevCluster, caplog: pytest.LogCaptureFixture, given: dict[str, Any], reason: str
) -> None:
    access = access_to(guarded_cluster, **given)
    with caplog.at_level(logging.DEBUG, observatory.__name__):
        assert observatory.query_details(access, QUERY) is None
    assert reason in caplog.text
    assert "another-token" not in caplog.text
    trouble = observatory.problem(access, 20.0)
    assert trouble is not None
    assert reason in trouble
    assert guarded_cluster.observatory in trouble


def test_an_observatory_that_knows_no_such_query_gives_no_details_and_is_no_problem(
    polars_dev_cluster: DevCluster,
) -> None:
    assert observatory.query_details(access_to(polars_dev_cluster), str(uuid4())) is None
    assert observatory.problem(access_to(polars_dev_cluster), 20.0) is None


def test_no_proxy_stands_in_between(polars_dev_cluster: DevCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert observatory.problem(access_to(polars_dev_cluster), 20.0) is None
