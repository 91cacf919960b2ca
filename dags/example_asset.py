"""A DAG that writes an asset, and one that runs whenever it is written."""

from __future__ import annotations

import os

from airflow.sdk import dag

from airflow_provider_polars import ParquetSink, polars_task

HOME = os.path.abspath(os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow")))
DATA = f"{HOME}/nycflights13"
PLANES = ParquetSink(f"{HOME}/lake/planes/{{{{ dag_run.run_after | ds }}}}/planes.parquet")


@dag(schedule="@daily", catchup=False, tags=["polars", "example"])
def example_asset_writer():
    @polars_task(sink=PLANES, outlets=[PLANES.asset(name="planes")])
    def planes(data):
        import polars as pl

        return pl.scan_csv(f"{data}/planes.csv", null_values="NA", infer_schema_length=10_000)

    planes(DATA)


@dag(schedule=[PLANES.asset(name="planes")], catchup=False, tags=["polars", "example"])
def example_asset_reader():
    @polars_task(
        sink=ParquetSink(f"{HOME}/lake/seats/{{{{ dag_run.run_after | ds }}}}.parquet"),
        inlets=[PLANES.asset(name="planes")],
    )
    def seats(inlet_events, data):
        """Read what the newest event says was written; by hand, without any event, the source."""
        import polars as pl

        events = inlet_events[PLANES.asset(name="planes")]
        planes = (
            pl.scan_parquet(events[-1].extra["location"])
            if len(events)
            else pl.scan_csv(f"{data}/planes.csv", null_values="NA", infer_schema_length=10_000)
        )
        return planes.group_by("manufacturer").agg(pl.col("seats").sum()).sort("seats", descending=True)

    seats(data=DATA)


example_asset_writer()
example_asset_reader()
