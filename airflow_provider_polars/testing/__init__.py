"""Fixtures for tests of your own DAGs: ``pytest_plugins = ["airflow_provider_polars.testing"]`` in a ``conftest.py``.

``polars_dev_cluster`` is a :class:`~airflow_provider_polars.testing.cluster.DevCluster`: a development cluster that all
tests of a session share, with the calls of one test alone in its recorder. While a test uses it, the environment of the
test points every Polars Cloud and cloud storage client at addresses that refuse connections. Override the fixture
``polars_dev_cluster_options`` to choose the command line options of the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from airflow_provider_polars.testing.cluster import DevCluster, start_dev_cluster
from airflow_provider_polars.testing.environment import isolated_environment, set_environment

__all__ = ["DevCluster", "isolated_environment", "start_dev_cluster"]


@pytest.fixture(scope="session")
def polars_dev_cluster_options() -> Sequence[str]:
    """Options of ``polars-dev-cluster up`` for the cluster of the session; none by default."""
    return ()


@pytest.fixture(scope="session")
def _polars_dev_cluster_session(
    polars_dev_cluster_options: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DevCluster]:
    with start_dev_cluster(*polars_dev_cluster_options, home=tmp_path_factory.mktemp("polars-dev-cluster")) as cluster:
        yield cluster


@pytest.fixture
def polars_dev_cluster(
    _polars_dev_cluster_session: DevCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> DevCluster:
    """Return the cluster of the session; see the module."""
    cluster = _polars_dev_cluster_session
    set_environment(cluster.environment, monkeypatch)
    cluster.recorder.forget()
    return cluster
