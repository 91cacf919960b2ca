"""Tasks that are killed in different ways while their query runs, in their own process or in a runner."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag

from airflow_provider_polars import LocalCompute, ParquetSink, PolarsRemoteOperator

COMPUTES = {"in_process": LocalCompute(), "in_runner": LocalCompute(threads=1)}
FOLDER = "{{ params.folder }}"
DEADLINE = 5


@dag(schedule=None, params={"folder": ""})
def killed() -> None:
    """One task for each place of the query and each way to end."""
    ways: dict[str, dict[str, Any]] = {
        "execution_timeout": {"execution_timeout": timedelta(seconds=DEADLINE), "priority_weight": 2},
        "timeout": {"timeout": DEADLINE, "priority_weight": 2},
        "terminated": {},
        "marked": {},
    }
    for way, arguments in ways.items():
        for place, compute in COMPUTES.items():
            PolarsRemoteOperator(
                task_id=f"{way}_{place}",
                query="slow_queries:native" if way == "marked" else "slow_queries:waiting",
                query_kwargs={"folder": FOLDER, "name": "{{ task.task_id }}"},
                compute=compute,
                sink=ParquetSink(f"{FOLDER}/{way}_{place}.parquet"),
                **arguments,
            )


@dag(schedule=None, params={"folder": ""})
def killed_and_retried() -> None:
    """Tasks whose process is killed in the first try, and that write over an earlier result in the second."""
    for place, compute in COMPUTES.items():
        PolarsRemoteOperator(
            task_id=place,
            query="slow_queries:waiting",
            query_kwargs={"folder": FOLDER, "name": "{{ task.task_id }}-{{ ti.try_number }}"},
            compute=compute,
            sink=ParquetSink(f"{FOLDER}/{place}.parquet"),
            retries=1,
            retry_delay=timedelta(seconds=0),
        )


killed()
killed_and_retried()
