"""Queries on a Polars cluster that runs already, such as Polars on-premises.

The address and the token of the cluster are in the connection ``polars_cluster_default``, of type Polars Cluster. The
cluster must see ``$AIRFLOW_HOME/lake``, or whatever takes its place; ``s3://`` does too.
"""

from __future__ import annotations

import os

from airflow.sdk import dag

from airflow_provider_polars import ClusterCompute, CsvSink, ParquetSink, polars_compute, polars_task

HOME = os.path.abspath(os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow")))
LAKE = f"{HOME}/lake/cluster/{{{{ dag_run.run_after | ds }}}}"


@dag(schedule="@daily", catchup=False, default_args={"conn_id": "polars_cluster_default"}, tags=["polars", "example"])
def example_cluster():
    with polars_compute("distributed", ClusterCompute(scaling="distributed")):

        @polars_task
        def days(rows: int):
            """Without a sink: the cluster keeps the rows, and the next task reads them there."""
            import polars as pl

            number = pl.int_range(rows)
            return pl.select(day=number // 1000, customer=number % 97, amount=number % 13).lazy()

        @polars_task(sink=ParquetSink(f"{LAKE}/by_day/"), labels=["finance"])
        def by_day(days):
            import polars as pl

            return days.group_by("day").agg(pl.col("amount").sum()).sort("day")

        given = days(1_000_000)
        by_day(given)

    @polars_task(
        compute=ClusterCompute(scaling="single-node"),
        sink={"best": CsvSink(f"{LAKE}/best.csv"), "busy": CsvSink(f"{LAKE}/busy.csv")},
        head_rows=1,
    )
    def customers(days):
        """Two queries, side by side: each needs one worker."""
        import polars as pl

        by_customer = days.group_by("customer").agg(orders=pl.len(), amount=pl.col("amount").sum())
        return {
            "best": by_customer.top_k(3, by="amount").sort("amount", "customer", descending=[True, False]),
            "busy": by_customer.top_k(3, by="orders").sort("orders", "customer", descending=[True, False]),
        }

    @polars_task(compute=ClusterCompute())
    def by_itself(days):
        """As in the documentation of Polars: the function submits, waits and decides; the task sees every query."""
        import polars as pl

        largest = days.select(pl.col("amount").max()).remote().single_node().execute()
        if largest.n_rows_total != 1:
            raise ValueError("no maximum")
        return days.filter(pl.col("amount") == 12).remote().distributed().execute(blocking=False)

    customers(given)
    by_itself(given)


example_cluster()
