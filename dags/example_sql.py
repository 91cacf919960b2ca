"""SQL over files and over the result of another task; the SELECT may stand in a file of its own."""

from __future__ import annotations

import os

from airflow.sdk import dag

from airflow_provider_polars import CsvSink, PolarsRemoteOperator, polars_task

HOME = os.path.abspath(os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow")))
DATA = f"{HOME}/nycflights13"
LAKE = f"{HOME}/lake/sql/{{{{ dag_run.run_after | ds }}}}"


@dag(schedule="@daily", catchup=False, params={"month": 7}, tags=["polars", "example"])
def example_sql():
    @polars_task
    def flights(data):
        import polars as pl

        return pl.scan_csv(f"{data}/flights.csv", null_values="NA", infer_schema_length=10_000)

    late = PolarsRemoteOperator(task_id="late", sql="sql/late_flights.sql", tables={"flights": flights(DATA)})
    PolarsRemoteOperator(
        task_id="named",
        sql="SELECT name, late.* FROM late JOIN airports ON late.dest = airports.faa ORDER BY mean_delay DESC LIMIT 10",
        tables={"late": late.output, "airports": f"{DATA}/airports.csv"},
        sink=CsvSink(f"{LAKE}/late.csv", float_precision=1),
        head_rows=3,
    )


example_sql()
