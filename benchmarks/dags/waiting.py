"""DAGs of the benchmarks of a triggerer: tasks to wait for triggers, and tasks that wait for queries."""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk import BaseOperator, dag, task

from airflow_provider_polars import ClusterCompute, PolarsRemoteOperator

TASKS = 500
PARAMS = {"uri": "", "observatory": "", "seconds": 1.0}


@dag(schedule=None, is_paused_upon_creation=True)
def deferred() -> None:
    """Tasks that the benchmark defers; none ever runs."""
    for number in range(TASKS):
        BaseOperator(task_id=f"task_{number}")


def query(seconds: float) -> Any:
    """Return a query that takes that long."""
    import polars as pl

    def wait(frame: Any) -> Any:
        time.sleep(seconds)
        return frame

    return pl.LazyFrame({"a": [1]}).map_batches(wait)


@dag(schedule=None, params=PARAMS, render_template_as_native_obj=True)
def ends() -> None:
    """A query awaited on a worker, one awaited in the triggerer, and one awaited by hand with the client."""
    compute = ClusterCompute(uri="{{ params.uri }}", observatory="{{ params.observatory }}", scaling="single-node")
    arguments: dict[str, Any] = {"query": query, "compute": compute}
    seconds = "{{ params.seconds }}"
    PolarsRemoteOperator(task_id="sync", query_kwargs={"seconds": seconds}, **arguments)
    PolarsRemoteOperator(
        task_id="deferred", query_kwargs={"seconds": seconds}, deferrable=True, defer_after=0.5, **arguments
    )

    @task
    def by_hand(params: Any = None) -> int:
        import polars_cloud as pc

        context = pc.ClusterContext(uri=params["uri"], observatory=pc.ClientOptions(uri=params["observatory"]))
        remote: Any = query(params["seconds"]).remote(context).single_node()
        return int(remote.execute(blocking=False).await_result().n_rows_total)

    by_hand()


deferred()
ends()
