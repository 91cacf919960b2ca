"""One task, several outputs: they are computed side by side, and each can be handed on by name."""

from __future__ import annotations

import os

from airflow.sdk import dag

from airflow_provider_polars import CsvSink, IpcSink, LocalCompute, ParquetSink, polars_compute, polars_task

HOME = os.path.abspath(os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow")))
DATA = f"{HOME}/nycflights13"
LAKE = f"{HOME}/lake/fan_out/{{{{ dag_run.run_after | ds }}}}"


@dag(schedule="@daily", catchup=False, tags=["polars", "example"])
def example_fan_out():
    with polars_compute("two_threads", LocalCompute(threads=2, memory_limit_gb=4)):

        @polars_task(
            sink={
                "by_carrier": ParquetSink(f"{LAKE}/by_carrier/", partition_by=["carrier"]),
                "by_route": CsvSink(f"{LAKE}/by_route.csv"),
                "by_day": IpcSink(f"{LAKE}/by_day.ipc", compression="zstd"),
                "sample": None,
            }
        )
        def split(data):
            import polars as pl

            flights = pl.scan_csv(f"{data}/flights.csv", null_values="NA", infer_schema_length=10_000)
            return {
                "by_carrier": flights.group_by("carrier", "origin").agg(pl.len()),
                "by_route": flights.group_by("origin", "dest").agg(pl.len()).sort("len", descending=True),
                "by_day": flights.group_by("month", "day").agg(pl.col("distance").sum()),
                "sample": flights.head(100),
            }

        outputs = split(DATA)

    @polars_task
    def busiest(by_route, by_day):
        import polars as pl

        return pl.concat([by_route.select(pl.col("len").max()), by_day.select(len=pl.len())])

    busiest(outputs["by_route"], outputs["by_day"])


example_fan_out()
