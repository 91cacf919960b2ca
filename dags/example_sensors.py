"""Submit queries to a cluster without waiting for them, and wait in the triggerer: no worker is held meanwhile.

The address and the token of the cluster are in the connection ``polars_cluster_default``, of type Polars Cluster.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag

from airflow_provider_polars import ClusterCompute, PolarsClusterSensor, PolarsQuerySensor, polars_task

PATIENCE = {"deferrable": True, "poke_interval": 10, "timeout": timedelta(hours=1)}


@dag(schedule="@daily", catchup=False, default_args={"conn_id": "polars_cluster_default"}, tags=["polars", "example"])
def example_sensors():
    ready = PolarsClusterSensor(task_id="ready", compute=ClusterCompute(), version="here", **PATIENCE)

    @polars_task(compute=ClusterCompute(), wait=False)
    def month(number: int):
        """Returns once the query is submitted."""
        import polars as pl

        orders = pl.LazyFrame({"customer": [1, 2, 2], "amount": [10, 20, 30]})
        return orders.select(month=pl.lit(number), amount=pl.col("amount").sum() * number)

    months = month.expand(number=[1, 2, 3])
    ended = PolarsQuerySensor(task_id="ended", run=months, **PATIENCE)

    @polars_task(compute=ClusterCompute(), head_rows=3)
    def year(months):
        """The sensor returns the results of the queries; here they are LazyFrames."""
        import polars as pl

        return pl.concat(months).sort("month")

    ready >> months
    year(ended.output)


example_sensors()
