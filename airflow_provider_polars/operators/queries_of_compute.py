"""Which queries tasks have submitted to a compute: told by the tasks, asked for by the one that stops it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_polars.backends.base import Run

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_polars.compute.base import Compute

KEY = "polars_queries"
"""XCom of a task whose compute is started and stopped: ids of its queries."""


def tell(query_ids: Sequence[str], context: Context) -> None:
    """Let the task that stops the compute know of queries on it."""
    context["ti"].xcom_push(key=KEY, value=list(query_ids))


def queries_of(task_ids: Sequence[str], compute: Compute, context: Context) -> list[Run]:
    """Return the queries that tasks have told of, each with the name of its task for an output.

    Of a mapped task group it is those with the index of this task instance.
    """
    ti: Any = context["ti"]
    index = {"map_indexes": ti.map_index} if ti.map_index is not None and ti.map_index >= 0 else {}
    runs = []
    for task_id in task_ids:
        told = ti.xcom_pull(task_ids=[task_id], key=KEY, **index) or []
        for query_id in (name for ids in told for name in ids or ()):
            details = {"query": task_id}
            runs.append(
                Run(query_id=query_id, output=task_id, compute=compute.to_dict(), submitted_at=0.0, details=details)
            )
    return runs
