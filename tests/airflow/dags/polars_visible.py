"""What people see of Polars tasks: metadata, rendered fields, XComs, logs, tries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from airflow_provider_polars import ParquetSink, PolarsRemoteOperator

FOLDER = "{{ params.folder }}"
NO_DELAY: dict[str, Any] = {"retries": 1, "retry_delay": timedelta(seconds=0)}


@dag(schedule=None, params={"folder": ""})
def visible() -> None:
    """Tasks that succeed, fail for good, and fail until they are tried again."""

    @task.polars(
        sink=ParquetSink(f"{FOLDER}/numbers.parquet", storage_options={"aws_region": "eu-west-1"}), conn_id="visible"
    )
    def numbers(rows: int, password: str):  # type: ignore[no-untyped-def]
        import polars as pl

        return pl.select(number=pl.int_range(rows), known=pl.lit(len(password))).lazy()

    @task.polars
    def refused():  # type: ignore[no-untyped-def]
        import polars as pl

        return pl.LazyFrame({"number": [1]}).select("nubmer")

    numbers(3, "{{ conn.visible.password }}")
    refused.override(**NO_DELAY)()
    PolarsRemoteOperator(
        task_id="absent",
        sql="SELECT * FROM numbers",
        tables={"numbers": f"{FOLDER}/absent.parquet"},
        **NO_DELAY,
    )


visible()
