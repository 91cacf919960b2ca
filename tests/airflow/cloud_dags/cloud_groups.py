"""DAGs whose tasks share instances of Polars Cloud: one that succeeds, and others that are disturbed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
from airflow.sdk import dag, task_group
from held_queries import waiting

from airflow_provider_polars import (
    CloudCompute,
    ParquetSink,
    PolarsRemoteOperator,
    PolarsSweepComputeOperator,
    polars_compute,
    polars_task,
)

FOLDER = "{{ params.folder }}"
PARAMS = {"folder": "", "mode": "direct"}
COMPUTE = CloudCompute(cpus=2, memory=4, cluster_size=2, idle_timeout_mins=600, connection_mode="{{ params.mode }}")  # type: ignore[arg-type]
AT_ONCE: dict[str, Any] = {"retry_delay": timedelta(0)}
ARGUMENTS: dict[str, Any] = {"conn_id": "polars_cloud_default", "distributed": False}


def group(group_id: str, compute: CloudCompute = COMPUTE) -> Any:
    return polars_compute(group_id, compute, start_kwargs=AT_ONCE, stop_kwargs=AT_ONCE)


@dag(schedule=None, params=PARAMS, default_args=ARGUMENTS)
def cloud_sales() -> None:
    """The DAG of the guide."""
    with group("etl"):

        @polars_task(sink=ParquetSink(f"{FOLDER}/orders/"))
        def orders() -> pl.LazyFrame:
            return pl.LazyFrame({"customer_id": [1, 2, 2], "amount": [1, 2, 3]})

        @polars_task(sink=ParquetSink(f"{FOLDER}/by_customer/"))
        def by_customer(orders: pl.LazyFrame) -> pl.LazyFrame:
            return orders.group_by("customer_id").agg(pl.col("amount").sum()).sort("customer_id")

        by_customer(orders())


@dag(schedule=None, params=PARAMS, default_args=ARGUMENTS)
def cloud_broken() -> None:
    """The first task fails, and the second never runs."""
    with group("etl"):

        @polars_task
        def broken() -> pl.LazyFrame:
            raise KeyError("broken by design")

        @polars_task
        def after(broken: pl.LazyFrame) -> pl.LazyFrame:
            return broken

        after(broken())


@dag(schedule=None, params=PARAMS, default_args=ARGUMENTS)
def cloud_held() -> None:
    """One query that ends when it is told to, with retries."""
    with group("etl"):
        PolarsRemoteOperator(
            task_id="held", query=waiting, query_kwargs={"folder": FOLDER, "name": "held"}, retries=2, **AT_ONCE
        )


@dag(schedule=None, params=PARAMS, default_args=ARGUMENTS)
def cloud_pair() -> None:
    """Two tasks side by side on one instance: one is through at once, the other ends when it is told to."""
    with group("etl"):
        for name in ("held", "quick"):
            PolarsRemoteOperator(task_id=name, query=waiting, query_kwargs={"folder": FOLDER, "name": name})


@dag(schedule=None, params=PARAMS, default_args=ARGUMENTS)
def cloud_regions() -> None:
    """One instance for each index of a mapped group."""

    @task_group
    def region(name: str) -> None:
        with group("etl"):

            @polars_task
            def customers(name: str) -> pl.LazyFrame:
                return pl.LazyFrame({"region": [name]})

            customers(name)

    region.expand(name=["eu", "us", "asia"])


@dag(schedule=None, params=PARAMS, default_args=ARGUMENTS)
def cloud_twenty() -> None:
    """Twenty tasks on one instance."""
    with group("etl"):
        for number in range(20):
            PolarsRemoteOperator(task_id=f"query_{number}", sql=f"SELECT {number} AS number")


@dag(schedule=None, params=PARAMS, default_args={"conn_id": "polars_cloud_default"})
def cloud_sweep() -> None:
    """What runs every hour."""
    PolarsSweepComputeOperator(task_id="sweep", compute=CloudCompute())


cloud_sales()
cloud_broken()
cloud_held()
cloud_pair()
cloud_regions()
cloud_twenty()
cloud_sweep()
