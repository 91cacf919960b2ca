"""One DAG for each connection type: its query runs on what the connection says."""

from __future__ import annotations

import os

from airflow.sdk import DAG

from airflow_provider_polars import ParquetSink, PolarsRemoteOperator
from airflow_provider_polars.get_provider_info import get_provider_info

for entry in get_provider_info()["connection-types"]:
    conn_type = entry["connection-type"]
    with DAG(f"on_{conn_type}", schedule=None):
        PolarsRemoteOperator(
            task_id="query",
            sql="SELECT 1 AS number",
            conn_id=f"form_{conn_type}",
            sink=ParquetSink(f"{os.environ['AIRFLOW_HOME']}/lake/{conn_type}.parquet"),
        )
