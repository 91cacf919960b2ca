"""Queries that run until the file ``go`` is in the folder of their run, for those who look at tasks that run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from airflow.sdk import DAG

from airflow_provider_polars import CloudCompute, PolarsQuerySensor, PolarsRemoteOperator, polars_compute

DEFERRED: dict[str, Any] = {"deferrable": True, "defer_after": 0}
MACHINE = CloudCompute(cpus=2, memory=4)
PARAMS = {"folder": ""}


def held(folder: str) -> pl.LazyFrame:
    """Return a query of one row that waits on its worker."""
    gate = Path(folder) / "go"

    def wait(frame: Any) -> Any:
        import time

        while not gate.exists():
            time.sleep(0.02)
        return frame

    return pl.LazyFrame({"number": [1]}).map_batches(wait)


QUERY: dict[str, Any] = {"query": held, "query_kwargs": {"folder": "{{ params.folder }}"}, "distributed": False}

with DAG("held_on_a_cluster", schedule=None, params=PARAMS, default_args={"conn_id": "held_cluster"}):
    PolarsRemoteOperator(task_id="query", **QUERY)
    PolarsRemoteOperator(task_id="deferred", **QUERY, **DEFERRED)
    submitted = PolarsRemoteOperator(task_id="submitted", wait=False, **QUERY).output
    PolarsQuerySensor(task_id="sensor", run=submitted, poke_interval=1)
    PolarsQuerySensor(task_id="deferred_sensor", run=submitted, poke_interval=1, deferrable=True)

with DAG("held_on_an_instance", schedule=None, params=PARAMS, default_args={"conn_id": "held_cloud"}):
    with polars_compute("etl", MACHINE):
        PolarsRemoteOperator(task_id="query", **QUERY)
    PolarsRemoteOperator(task_id="own", compute=MACHINE, **QUERY)
    PolarsRemoteOperator.partial(task_id="mapped", compute=MACHINE, distributed=False).expand(
        sql=["SELECT 1 AS number"]
    )
