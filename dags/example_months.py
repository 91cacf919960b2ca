"""One mapped task per month, and one task that takes all of their results."""

from __future__ import annotations

import os

from airflow.sdk import dag

from airflow_provider_polars import ParquetSink, polars_task

HOME = os.path.abspath(os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow")))
DATA = f"{HOME}/nycflights13"


@dag(schedule="@daily", catchup=False, tags=["polars", "example"])
def example_months():
    @polars_task
    def flights(data):
        import polars as pl

        return pl.scan_csv(f"{data}/flights.csv", null_values="NA", infer_schema_length=10_000)

    @polars_task(map_index_template="{{ task.op_kwargs['month'] }}")
    def one_month(flights, month: int):
        import polars as pl

        return (
            flights.filter(pl.col("month") == month)
            .group_by("month", "day")
            .agg(flights=pl.len(), cancelled=pl.col("dep_time").is_null().sum())
        )

    @polars_task(sink=ParquetSink(f"{HOME}/lake/months/{{{{ dag_run.run_after | ds }}}}.parquet"), head_rows=3)
    def year(months):
        import polars as pl

        return pl.concat(months).sort("month", "day")

    year(one_month.partial(flights=flights(DATA)).expand(month=[1, 2, 3, 4]))


example_months()
