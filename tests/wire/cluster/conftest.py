"""The cluster of the session as a compute, and a task in a line."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars import ClusterCompute, polars_task

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.harness.in_memory import InMemoryAirflow, TaskOutcome
    from tests.wire.cluster.own import Tasks

# Current releases of the amazon provider need Python 3.11.
collect_ignore = ["test_credentials.py"] if sys.version_info < (3, 11) else []

Run = Callable[..., "TaskOutcome"]


class Plans(list[bytes]):
    """The plans that a test has submitted, as they travel."""

    def sink(self) -> str:
        """Return how the one plan writes, as compact JSON."""
        import polars as pl

        (plan,) = self
        node = pl.LazyFrame.deserialize(io.BytesIO(plan))._ldf.visit().view_current_node()
        return json.dumps(json.loads(node.payload), separators=(",", ":"))


@pytest.fixture
def cluster(polars_dev_cluster: DevCluster) -> ClusterCompute:
    """Return the development cluster as the compute of a task."""
    return ClusterCompute(uri=polars_dev_cluster.uri, observatory=polars_dev_cluster.observatory)


@pytest.fixture
def run(in_memory_airflow: InMemoryAirflow, cluster: ClusterCompute) -> Run:
    """Return ``run(query, *inputs, **options)``, which runs a task on the cluster.

    ``query`` is a LazyFrame or a function, ``inputs`` are what its parameters get, and ``options`` are those of
    ``polars_task``.
    """

    def run(query: Any, *inputs: Any, **options: Any) -> TaskOutcome:
        function = query if callable(query) else lambda: query
        task = polars_task(**{"compute": cluster, "task_id": "query", **options})(function)
        return in_memory_airflow.run_task(task(*inputs))

    return run


@pytest.fixture
def tasks(in_memory_airflow: InMemoryAirflow, polars_dev_cluster: DevCluster, cluster: ClusterCompute) -> Tasks:
    """Return what runs tries of one task on the cluster."""
    from tests.wire.cluster.own import Tasks

    return Tasks(in_memory_airflow, polars_dev_cluster, cluster)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Plans:
    """Return a list of the plans that the client makes from here on."""
    from polars_cloud.query import query

    made, prepare_query = Plans(), query.prepare_query

    def prepare(*args: Any, **options: Any) -> Any:
        prepared = prepare_query(*args, **options)
        made.append(bytes(prepared[0]))
        return prepared

    monkeypatch.setattr(query, "prepare_query", prepare)
    return made
