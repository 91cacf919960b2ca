"""Fixtures for tests of your own DAGs: ``pytest_plugins = ["airflow_provider_polars.testing"]`` in a ``conftest.py``.

``polars_dev_cluster`` is a :class:`~airflow_provider_polars.testing.cluster.DevCluster`: a development cluster that all
tests of a session share, with the calls of one test alone in its recorder. While a test uses it, the environment of the
test points every Polars Cloud and cloud storage client at addresses that refuse connections. Override the fixture
``polars_dev_cluster_options`` to choose the command line options of the cluster.

``polars_control_plane`` is a :class:`~airflow_provider_polars.testing.control_plane.ControlPlane`, which starts and
stops clusters as Polars Cloud does; ``polars_control_plane_options`` has its options. The client of the test's own
process reaches it if it is imported inside tests: both fixtures lead it there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from airflow_provider_polars.testing.addresses import addresses, client_elsewhere
from airflow_provider_polars.testing.cluster import DevCluster, start_dev_cluster
from airflow_provider_polars.testing.control_plane import ControlPlane, ServiceAccount, Workspace, start_control_plane
from airflow_provider_polars.testing.environment import isolated_environment, set_environment

__all__ = [
    "ControlPlane",
    "DevCluster",
    "ServiceAccount",
    "Workspace",
    "isolated_environment",
    "start_control_plane",
    "start_dev_cluster",
]


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
    _polars_dev_cluster_session: DevCluster, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> DevCluster:
    """Return the cluster of the session; see the module."""
    cluster = _polars_dev_cluster_session
    if "polars_control_plane" in request.fixturenames:
        request.getfixturevalue("polars_control_plane")  # whose environment is the same, with an account
    else:
        set_environment(cluster.environment, monkeypatch)
    cluster.faults.clear()
    cluster.tell_version(None)
    cluster.recorder.forget()
    return cluster


@pytest.fixture(scope="session")
def polars_control_plane_options() -> Sequence[str]:
    """Options of ``polars-dev-cluster up --control-plane`` for the control plane of the session; none by default."""
    return ()


@pytest.fixture(scope="session")
def _polars_control_plane_session(
    polars_control_plane_options: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    _check_client()
    here = addresses()
    options = [
        *("--api-port", str(here.api_port), "--token-port", str(here.token_port)),
        *("--certificates", str(here.folder)),
        *polars_control_plane_options,
    ]
    with start_control_plane(*options, home=tmp_path_factory.mktemp("polars-control-plane")) as plane:
        yield plane


@pytest.fixture
def polars_control_plane(
    _polars_control_plane_session: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ControlPlane]:
    """Return the control plane of the session, without instances; see the module. None of its instances is left."""
    _check_client()
    plane = _polars_control_plane_session
    set_environment(plane.environment, monkeypatch)
    plane.reset()
    yield plane
    plane.reset()


def _check_client() -> None:
    if (complaint := client_elsewhere()) is not None:
        pytest.fail(complaint, pytrace=False)
