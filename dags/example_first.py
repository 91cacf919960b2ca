"""The smallest example: two tasks, nothing to install or to download."""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_polars import polars_task


@dag(schedule="@daily", catchup=False, tags=["polars", "example"])
def example_first():
    @polars_task
    def numbers(rows: int):
        import polars as pl

        return pl.select(number=pl.int_range(rows)).lazy()

    @polars_task(head_rows=1)
    def total(numbers):
        return numbers.sum()

    total(numbers(1_000_000))


example_first()
