"""The complete example of Polars' guide to Airflow; docs/coming-from-polars-guide.md has the two side by side.

Its instance is started from the manifest ``airflow-production``, which has to be registered in the workspace. Where the
guide scans a bucket, there are a few rows here. See example_cloud.py for what the deployment needs.
"""

from __future__ import annotations

import os

from airflow.sdk import dag

from airflow_provider_polars import CloudCompute, ParquetSink, polars_compute, polars_task

HOME = os.path.abspath(os.path.expanduser(os.environ.get("AIRFLOW_HOME", "~/airflow")))
LAKE = f"{HOME}/lake/guide/{{{{ dag_run.run_after | ds }}}}"


@dag(schedule="@daily", catchup=False, default_args={"conn_id": "polars_cloud_default"}, tags=["polars", "example"])
def example_polars_guide():
    with polars_compute("production", CloudCompute(name="airflow-production")):

        @polars_task(sink=ParquetSink(f"{LAKE}/sales.parquet"), distributed=False)
        def sales():
            import polars as pl

            sold = {"product": [1, 2, 3, 3], "kind": list("aabb"), "price": [5, 7, 9, 9], "pieces": [1, 2, 1, 4]}
            return pl.LazyFrame(sold).with_columns(revenue=pl.col("price") * pl.col("pieces"))

        @polars_task(sink=ParquetSink(f"{LAKE}/inventory.parquet"), distributed=False)
        def inventory():
            import polars as pl

            stock = {"product": [1, 2, 3], "level": [4, 90, 30], "threshold": [10, 20, 30]}
            return pl.LazyFrame(stock).with_columns(is_low=pl.col("level") < pl.col("threshold"))

        @polars_task(sink=ParquetSink(f"{LAKE}/returns.parquet"), distributed=False)
        def returns():
            import polars as pl

            returned = {"product": [2, 3], "day_bought": [3, 5], "day_returned": [9, 6]}
            return pl.LazyFrame(returned).with_columns(days=pl.col("day_returned") - pl.col("day_bought"))

        @polars_task(sink=ParquetSink(f"{LAKE}/report/"), distributed=True)
        def report(sales, inventory, returns):
            import polars as pl

            joined = sales.join(inventory, on="product").join(returns, on="product", how="left")
            return joined.group_by("kind").agg(pl.sum("revenue"), low_stock=pl.sum("is_low"), sales=pl.len())

        report(sales(), inventory(), returns())


example_polars_guide()
