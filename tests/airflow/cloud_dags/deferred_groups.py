"""DAGs whose tasks give their workers back while instances start and stop, and while queries run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag
from held_queries import waiting

from airflow_provider_polars import CloudCompute, PolarsRemoteOperator, polars_compute

AT_ONCE: dict[str, Any] = {"deferrable": True, "defer_after": 0, "retry_delay": timedelta(0)}
QUERY: dict[str, Any] = {"query": waiting, "query_kwargs": {"folder": "{{ params.folder }}", "name": "held"}}
COMPUTE = CloudCompute(cpus=2, memory=4, cluster_size=2, idle_timeout_mins=600)
ARGUMENTS: dict[str, Any] = {"conn_id": "polars_cloud_default", "distributed": False}


@dag(schedule=None, params={"folder": ""}, default_args=ARGUMENTS)
def cloud_deferred() -> None:
    """Start, query and stop, none of which keeps a worker."""
    with polars_compute("etl", COMPUTE, start_kwargs=AT_ONCE, stop_kwargs=AT_ONCE):
        PolarsRemoteOperator(task_id="held", **QUERY, **AT_ONCE)


cloud_deferred()
