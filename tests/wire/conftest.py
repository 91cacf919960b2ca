"""The real ``polars_cloud`` client against the development cluster, over the wire."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_polars.clients.access import ClusterAccess
    from airflow_provider_polars.clients.compute_plane import ComputePlane
    from airflow_provider_polars.testing import DevCluster
    from tests.harness.lineage import Events
    from tests.wire.command import Shell
    from tests.wire.gates import Gate
    from tests.wire.planes import Connect

OLDEST = Path(__file__).resolve().parents[2] / ".matrix" / "oldest" / "bin" / "python"
RESULT_MILLISECONDS = "60000"
"""That clients wait for a result; a year if nobody says so."""


@pytest.fixture(scope="package", autouse=True)
def _variables_are_there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have the variables that fixtures set from the first test on.

    A thread of the client that reads the environment at the moment when a variable is added crashes the process.
    """
    from airflow_provider_polars.testing import isolated_environment

    before = dict(os.environ)
    os.environ |= isolated_environment(tmp_path_factory.mktemp("config"))
    os.environ["POLARS_TIMEOUT_MS"] = RESULT_MILLISECONDS
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ |= before


@pytest.fixture
def events(tmp_path: Path) -> Iterator[Events]:
    """Have tasks listened to by Airflow's OpenLineage provider, and return what is written of them."""
    from tests.harness.lineage import listening

    with listening(tmp_path / "events.ndjson") as events:
        yield events


@pytest.fixture
def context(polars_dev_cluster: DevCluster) -> Any:
    """Return a context of the real client."""
    return polars_dev_cluster.context()


@pytest.fixture
def ended_query(polars_dev_cluster: DevCluster, context: Any) -> Any:
    """Return a query that has ended, with nothing recorded of it."""
    import polars as pl

    query: Any = pl.LazyFrame({"a": [1, 2, 3]}).remote(context).single_node().execute(blocking=False)
    query.await_result()
    polars_dev_cluster.recorder.forget()
    return query


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return ``connect(access)``, which makes a client that is closed at the end."""
    import polars as pl

    from airflow_provider_polars.clients.compute_plane import ComputePlane

    with contextlib.ExitStack() as stack:

        def make(access: ClusterAccess) -> ComputePlane:
            plane = ComputePlane(access, client_version="0.12.0", polars_version=pl.__version__)
            return stack.enter_context(contextlib.closing(plane))

        yield make


@pytest.fixture
def start_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., DevCluster]]:
    """Return ``start(*options)``, which starts a cluster of the test's own and gives the test its environment."""
    from airflow_provider_polars.testing import start_dev_cluster
    from airflow_provider_polars.testing.environment import set_environment

    with contextlib.ExitStack() as stack:

        def start(*options: str) -> DevCluster:
            cluster = stack.enter_context(start_dev_cluster(*options))
            set_environment(cluster.environment, monkeypatch)
            monkeypatch.setenv("POLARS_TIMEOUT_MS", RESULT_MILLISECONDS)
            return cluster

        yield start


@pytest.fixture(scope="session")
def other_python() -> Path:
    """Return the interpreter of an environment with another Polars and its client.

    It is that of ``make test-clients``, or the one that ``OTHER_CLIENT_PYTHON`` names.
    """
    python = Path(os.environ.get("OTHER_CLIENT_PYTHON", OLDEST))
    assert python.exists(), f"{python} is missing: make test-clients makes it"
    return python


@pytest.fixture(scope="module")
def other_cluster(other_python: Path) -> Iterator[DevCluster]:
    """Run a cluster with workers of that interpreter."""
    from airflow_provider_polars.testing import start_dev_cluster

    with start_dev_cluster("--python", str(other_python)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start an S3 server with the bucket ``lake``; return its address."""
    import boto3

    from tests.harness.s3 import s3_server

    with s3_server(tmp_path_factory.mktemp("s3")) as url:
        client = boto3.client(
            "s3", endpoint_url=url, aws_access_key_id="A", aws_secret_access_key="B", region_name="us-east-1"
        )
        client.create_bucket(Bucket="lake")
        yield url


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Return a gate that holds queries; it is open at the end."""
    from tests.wire.gates import Gate

    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Return what runs ``polars-dev-cluster`` as a shell does."""
    from tests.wire.command import Shell

    return Shell(tmp_path)
