"""Machines of different sizes in one DAG: a small one by default, a large one for two tasks, another for a single task.

Each is started when the first of its tasks can begin, and stopped after the last. See example_cloud.py for what the
deployment needs.
"""

from __future__ import annotations

import os

from airflow.sdk import dag

from airflow_provider_polars import CloudCompute, ParquetSink, polars_compute, polars_task

HOME = os.path.abspath(os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow")))
LAKE = f"{HOME}/lake/two_machines/{{{{ dag_run.run_after | ds }}}}"


@dag(schedule="@daily", catchup=False, default_args={"conn_id": "polars_cloud_default"}, tags=["polars", "example"])
def example_two_machines():
    with polars_compute("small", CloudCompute(cpus=2, memory=4, scaling="single-node")):

        @polars_task(sink=ParquetSink(f"{LAKE}/orders.parquet"))
        def orders(rows: int):
            import polars as pl

            return pl.select(order=pl.int_range(rows), customer=pl.int_range(rows) % 97).lazy()

        @polars_task(sink=ParquetSink(f"{LAKE}/customers.parquet"))
        def customers(orders):
            import polars as pl

            return orders.group_by("customer").agg(orders=pl.len())

        given = orders(10_000)
        with polars_compute("large", CloudCompute(cpus=8, memory=32, cluster_size=2)):

            @polars_task(sink=ParquetSink(f"{LAKE}/pairs/"))
            def pairs(orders):
                return orders.join(orders, on="customer")

            @polars_task(head_rows=1)
            def count(pairs):
                import polars as pl

                return pairs.select(pairs=pl.len())

            count(pairs(given))

        @polars_task(compute=CloudCompute(cpus=4, memory=16, scaling="single-node"), head_rows=1)
        def busiest(customers):
            """A compute of its own: this task starts it and stops it."""
            return customers.sort("orders", "customer", descending=[True, False]).head(1)

        busiest(customers(given))


example_two_machines()
