"""From the id of a connection to what commands look at, and what they say where there is nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_polars import CloudCompute, ClusterCompute
from airflow_provider_polars.cli.places import compute_of, manager_of
from airflow_provider_polars.exceptions import ConfigurationError


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return ``connect(conn_type, **extra)``, which makes the connection ``it``."""

    def connect(conn_type: str, **extra: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_IT", json.dumps({"conn_type": conn_type, "extra": extra}))

    return connect


@pytest.mark.parametrize(
    ("conn_type", "default", "compute"),
    [
        ("polars_cluster", None, ClusterCompute()),
        ("polars_cloud", None, CloudCompute()),
        ("http", None, CloudCompute()),
        ("polars_cloud", {"kind": "cloud", "workspace": "etl"}, CloudCompute(workspace="etl")),
        ("polars_cloud", {"kind": "local"}, CloudCompute()),
        ("polars", {"kind": "cluster", "uri": "http://polars:5051"}, ClusterCompute(uri="http://polars:5051")),
    ],
)
def test_a_connection_stands_for_a_cluster_or_a_workspace(
    connect: Any, conn_type: str, default: dict[str, Any] | None, compute: Any
) -> None:
    connect(conn_type, **({"default_compute": default} if default else {}))
    assert compute_of("it") == compute


def test_without_a_connection_it_is_polars_cloud() -> None:
    assert compute_of(None) == CloudCompute()


def test_a_connection_whose_queries_run_on_workers_has_nothing_to_look_at(connect: Any) -> None:
    connect("polars")
    with pytest.raises(
        ConfigurationError, match="The connection 'it' runs queries on Airflow's workers: there is noth"
    ):
        compute_of("it")


def test_a_cluster_has_no_computes(connect: Any) -> None:
    connect("polars_cluster")
    with pytest.raises(ConfigurationError, match="'it' is for ClusterCompute, which is neither started nor stopped"):
        manager_of("it")


def test_computes_are_not_looked_for_without_the_name_of_this_airflow(connect: Any) -> None:
    connect("polars_cloud")
    with pytest.raises(ConfigurationError, match="deployment_id is not set"):
        manager_of("it")
