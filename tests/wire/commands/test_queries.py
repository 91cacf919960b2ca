"""``airflow polars queries`` and ``cancel``: what is under way, and the end of it, confirmed by its status."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.sdk import DAG, chain

from airflow_provider_polars import CloudCompute, ClusterCompute, polars_task
from airflow_provider_polars.testing import start_dev_cluster
from tests.wire.commands.conftest import TOKEN, Commands

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane, DevCluster
    from tests.wire.gates import Gate

UNKNOWN = str(uuid.UUID(int=1))


def frame() -> pl.LazyFrame:
    """Return a query that ends at once."""
    return pl.LazyFrame({"a": [1]})


@pytest.fixture
def compute(polars_control_plane: ControlPlane) -> Any:
    """Return ``compute(mode)``, which starts an instance and returns the client's context for it."""
    import polars_cloud as pc

    def start(mode: str) -> Any:
        pc.authenticate(interactive=False)
        context = pc.ComputeContext(cpus=2, memory=4, connection_mode=mode, idle_timeout_mins=6000)  # type: ignore[arg-type]
        context.start(wait=True)
        return context

    return start


def submitted(context: Any, frame: pl.LazyFrame) -> str:
    """Submit a query and return its id."""
    query: Any = frame.remote(context).single_node().execute(blocking=False)
    return str(query._query_id)


def test_a_query_on_a_cluster_is_cancelled_and_its_status_says_so(
    on_cluster: Commands, polars_dev_cluster: DevCluster, context: Any, gate: Gate
) -> None:
    query_id = submitted(context, gate.frame("held"))
    gate.wait_until_started("held")

    (row,) = on_cluster.rows("cancel", query_id, "--conn-id", "cluster")

    assert row == {"query_id": query_id, "before": "running", "now": "cancelled"}
    assert {query["id"]: query["state"] for query in polars_dev_cluster.queries}[query_id] == "CANCELED"
    (again,) = on_cluster.rows("cancel", query_id, "--conn-id", "cluster")
    assert again == {"query_id": query_id, "before": "cancelled", "now": "cancelled"}
    assert TOKEN not in on_cluster.output


def test_what_a_cluster_does_not_know_ends_with_status_1(on_cluster: Commands) -> None:
    message = on_cluster.refused("cancel", UNKNOWN, "--conn-id", "cluster")
    assert message == (f"The query {UNKNOWN} is not known to ClusterCompute(). Check the id and --conn-id.")


def test_of_two_clusters_each_lists_its_own_queries(
    on_cluster: Commands, polars_dev_cluster: DevCluster, dag_test: Callable[..., Any]
) -> None:
    with start_dev_cluster() as newer, DAG("sales", schedule=None) as dag:
        tasks = [
            polars_task(task_id=name, compute=ClusterCompute(uri=cluster.uri), distributed=False)(frame)()
            for name, cluster in [("first", polars_dev_cluster), ("second", newer), ("third", newer)]
        ]
        chain(*tasks)
        dag_test(dag)

        rows = on_cluster.rows("queries", "--conn-id", "cluster", "--limit", "1")

    assert [(row["task_id"], row["state"]) for row in rows] == [("first", "succeeded")]


def test_a_workspace_lists_its_queries_and_one_is_cancelled_by_its_id(
    on_cloud: Commands, compute: Any, gate: Gate, polars_control_plane: ControlPlane
) -> None:
    context = compute("proxy")
    query_id = submitted(context, gate.frame("held"))
    gate.wait_until_started("held")

    (listed,) = on_cloud.rows("queries", "--conn-id", "cloud")
    assert (listed["query_id"], listed["state"]) == (query_id, "running")
    assert listed["compute_id"] == polars_control_plane.running[0]
    assert float(listed["seconds"]) > 0

    (cancelled,) = on_cloud.rows("cancel", query_id, "--conn-id", "cloud")
    assert (cancelled["before"], cancelled["now"]) == ("running", "cancelled")
    assert on_cloud.rows("queries", "--conn-id", "cloud", "--compute-id", UNKNOWN) == []
    assert polars_control_plane.account.secret not in on_cloud.output


def test_a_query_of_direct_mode_is_cancelled_on_the_instance_that_is_named(
    on_cloud: Commands, compute: Any, gate: Gate, polars_control_plane: ControlPlane
) -> None:
    query_id = submitted(compute("direct"), gate.frame("held"))
    gate.wait_until_started("held")

    message = on_cloud.refused("cancel", query_id, "--conn-id", "cloud")
    assert message == (
        f"Neither the workspace nor this Airflow knows where the query {query_id} runs. Name its instance with "
        "--compute-id; airflow polars computes lists them."
    )

    (instance,) = polars_control_plane.running
    (row,) = on_cloud.rows("cancel", query_id, "--conn-id", "cloud", "--compute-id", instance)
    assert (row["before"], row["now"]) == ("running", "cancelled")


def test_queries_of_tasks_have_their_names_while_they_run_and_once_they_have_ended(
    on_cloud: Commands, compute: Any, gate: Gate, polars_control_plane: ControlPlane, dag_test: Callable[..., Any]
) -> None:
    """The workspace lists the one in proxy mode; those in direct mode are kept by their tasks, one with its result."""
    contexts = {mode: compute(mode) for mode in ("proxy", "direct")}
    ids = {mode: str(context._compute_id) for mode, context in contexts.items()}
    with DAG("sales", schedule=None) as dag:

        @polars_task(compute=CloudCompute(compute_id=ids["proxy"]), distributed=False)
        def ended(number: int) -> pl.LazyFrame:
            return pl.LazyFrame({"a": [number]})

        @polars_task(compute=CloudCompute(compute_id=ids["direct"]), distributed=False)
        def direct() -> pl.LazyFrame:
            return pl.LazyFrame({"a": [1]})

        @polars_task(compute=CloudCompute(compute_id=ids["direct"]), distributed=False, wait=False)
        def held() -> pl.LazyFrame:
            return gate.frame("held")

        ended.expand(number=[1]), direct() >> held()
    run = dag_test(dag)
    gate.wait_until_started("held")

    rows = {row["task_id"]: row for row in on_cloud.rows("queries", "--conn-id", "cloud")}

    assert {task_id: (row["state"], row["compute_id"]) for task_id, row in rows.items()} == {
        "ended[0]": ("succeeded", ids["proxy"]),
        "direct": ("succeeded", ids["direct"]),
        "held": ("running", ids["direct"]),
    }
    assert {(row["dag_id"], row["run_id"]) for row in rows.values()} == {("sales", run.run_id)}

    (cancelled,) = on_cloud.rows("cancel", rows["held"]["query_id"], "--conn-id", "cloud")
    assert (cancelled["before"], cancelled["now"]) == ("running", "cancelled")
    assert polars_control_plane.account.secret not in on_cloud.output


def test_a_workspace_is_listed_without_names_where_the_database_cannot_be_asked(
    on_cloud: Commands, compute: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query_id = submitted(compute("proxy"), pl.LazyFrame({"a": [1]}))
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{tmp_path}/empty.db")

    (row,) = on_cloud.rows("queries", "--conn-id", "cloud")

    assert (row["query_id"], row["dag_id"]) == (query_id, None)
    assert "Queries of tasks are not known: Airflow's database cannot be asked" in on_cloud.output
