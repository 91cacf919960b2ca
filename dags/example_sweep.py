"""Every hour, stop the instances of Polars Cloud that this Airflow has started and that nobody stops any more.

The idle timeout of an instance ends it too, an hour after its last query by default; this finds those that never idle,
and tells of all. Instances without the mark of this Airflow (``[polars] deployment_id``) are listed and left alone.
"""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_polars import CloudCompute, PolarsSweepComputeOperator


@dag(schedule="@hourly", catchup=False, default_args={"conn_id": "polars_cloud_default"}, tags=["polars", "example"])
def example_sweep():
    PolarsSweepComputeOperator(task_id="sweep", compute=CloudCompute())


example_sweep()
