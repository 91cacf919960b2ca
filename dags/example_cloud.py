"""Queries on Polars Cloud: one instance is started, the tasks share it, and it is stopped whatever becomes of them.

The service account is in the connection ``polars_cloud_default``, of type Polars Cloud, and ``[polars] deployment_id``
is set. The instance must see ``$AIRFLOW_HOME/lake``, which one of the real service does not: put ``s3://`` in its
place. On the development control plane it does.
"""

from __future__ import annotations

import os

from airflow.sdk import dag

from airflow_provider_polars import CloudCompute, ParquetSink, polars_compute, polars_task

HOME = os.path.abspath(os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow")))
LAKE = f"{HOME}/lake/cloud/{{{{ dag_run.run_after | ds }}}}"


@dag(schedule="@daily", catchup=False, default_args={"conn_id": "polars_cloud_default"}, tags=["polars", "example"])
def example_cloud():
    with polars_compute("etl", CloudCompute(cpus=8, memory=32, idle_timeout_mins=20)):

        @polars_task(sink=ParquetSink(f"{LAKE}/orders/"))
        def orders(rows: int):
            import polars as pl

            number = pl.int_range(rows)
            status = pl.when(number % 5 == 0).then(pl.lit("open")).otherwise(pl.lit("paid"))
            made = pl.select(customer_id=number % 97, amount=number % 13, status=status).lazy()
            return made.filter(pl.col("status") == "paid")

        @polars_task(sink=ParquetSink(f"{LAKE}/by_customer/"))
        def by_customer(orders):  # arrives as a LazyFrame over the result of orders()
            import polars as pl

            return orders.group_by("customer_id").agg(pl.col("amount").sum())

        by_customer(orders(100_000))


example_cloud()
