"""A DAG whose tasks are listened to: on the worker and on a cluster, waited for there and without a worker."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag

from airflow_provider_polars import ClusterCompute, ParquetSink, polars_task

FOLDER = "{{ params.folder }}"
ON_CLUSTER = {
    "compute": ClusterCompute(uri="{{ params.uri }}", observatory="{{ params.observatory }}", scaling="single-node"),
    "openlineage_inject_parent_job_info": True,
}


@dag(schedule=None, params={"folder": "", "uri": "", "observatory": ""})
def listened() -> None:
    """One task on the worker, and three on a cluster that read what it has written."""

    @polars_task(sink=ParquetSink(f"{FOLDER}/paid.parquet"))
    def paid(folder: str) -> Any:
        import polars as pl

        return pl.scan_csv(f"{folder}/orders/*.csv").filter(pl.col("status") == "paid")

    @polars_task(sink=ParquetSink(f"{FOLDER}/large.parquet"), **ON_CLUSTER)
    def large(orders: Any) -> Any:
        import polars as pl

        return orders.filter(pl.col("amount") > 1)

    @polars_task(sink=ParquetSink(f"{FOLDER}/slow.parquet"), deferrable=True, defer_after=0.5, **ON_CLUSTER)
    def slow(orders: Any, folder: str) -> Any:
        def wait(frame: Any) -> Any:
            import time
            from pathlib import Path

            while not Path(folder, "go").exists():
                time.sleep(0.02)
            return frame

        return orders.map_batches(wait)

    @polars_task(sink=ParquetSink(f"{FOLDER}/never.parquet"), **ON_CLUSTER)
    def broken(orders: Any) -> Any:
        def fail(frame: Any) -> Any:
            raise ValueError("broken by design")

        return orders.map_batches(fail)

    upstream = paid(FOLDER)
    large(upstream)
    slow(upstream, FOLDER)
    broken(upstream)


listened()
