"""One DAG for each kind of compute, mode and variant: a query that ends when it is told to, and an idle sibling."""

from __future__ import annotations

import contextlib
import itertools
from datetime import timedelta
from pathlib import Path
from typing import Any

import points  # noqa: F401  holds processes
import polars as pl
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from airflow_provider_polars import (
    CloudCompute,
    ClusterCompute,
    LocalCompute,
    ParquetSink,
    PolarsRemoteOperator,
    polars_compute,
)

PARAMS = {"folder": "", "uri": "", "observatory": "", "hold": "", "patience": 0}
AT_ONCE: dict[str, Any] = {"retry_delay": timedelta(0)}
TWENTY = 20
POOL = "few"  # deferred tasks take no slot of a pool
MACHINE: dict[str, Any] = {"cpus": 2, "memory": 4, "cluster_size": 2, "idle_timeout_mins": 600}
COMPUTES = {
    "local": LocalCompute(),
    "cluster": ClusterCompute(uri="{{ params.uri }}", observatory="{{ params.observatory }}", scaling="single-node"),
    "cloud_direct": CloudCompute(connection_mode="direct", **MACHINE),
    "cloud_proxy": CloudCompute(connection_mode="proxy", **MACHINE),
}
VARIANTS: dict[str, dict[str, Any]] = {
    "": {"retries": 5},  # Airflow itself may take one from a task that a trigger resumes at once
    "one_retry": {"retries": 1},
    "run_timeout": {"retries": 0},
    "task_timeout": {"retries": 0, "execution_timeout": timedelta(seconds=30)},
    "twenty": {"retries": 3},
}
RUN_TIMEOUT = timedelta(seconds=90)


def waiting(folder: str, name: str) -> pl.LazyFrame:
    """Return a query of one row whose part on the compute waits until ``<name>.go`` or ``all.go`` exists.

    Each start of it adds the id of its process to ``<name>.starts``, each end to ``<name>.ends``.
    """

    def wait(frame: Any) -> Any:
        import os
        import time

        def note(what: str) -> None:
            with (place / f"{name}.{what}").open("a") as file:
                file.write(f"{os.getpid()}\n")

        note("starts")
        while not any((place / f"{ending}.go").exists() for ending in (name, "all")):
            time.sleep(0.02)
        note("ends")
        return frame

    place = Path(folder)
    return pl.LazyFrame({"name": [name]}).map_batches(wait)


def query(variant: str, mode: str, arguments: dict[str, Any]) -> None:
    common = {
        "task_id": "query",
        "query": waiting,
        "deferrable": mode == "deferred",
        "defer_after": 0,
        **AT_ONCE,
        **VARIANTS[variant],
        **arguments,
    }
    name, folder = "{{ ti.try_number }}", "{{ params.folder }}"
    if variant != "twenty":
        sink = ParquetSink(f"{folder}/result/")
        PolarsRemoteOperator(query_kwargs={"folder": folder, "name": name}, sink=sink, **common)
        return
    sink = ParquetSink(folder + "/{{ ti.map_index }}/result/")
    PolarsRemoteOperator.partial(sink=sink, pool=POOL, **common).expand(
        query_kwargs=[{"folder": f"{folder}/{index}", "name": name} for index in range(TWENTY)]
    )


for backend, mode, variant in itertools.product(COMPUTES, ("sync", "deferred"), VARIANTS):
    if (backend, mode) == ("local", "deferred") or (variant == "twenty" and mode == "sync"):
        continue
    cloud = backend.startswith("cloud")
    dag_id = "_".join(filter(None, ("faults", backend, mode, variant)))
    timeout: dict[str, Any] = {"dagrun_timeout": RUN_TIMEOUT} if variant == "run_timeout" else {}
    with DAG(dag_id, schedule=None, params=PARAMS, max_active_runs=50, max_active_tasks=100, **timeout) as dag:
        EmptyOperator(task_id="sibling")
        group: Any = contextlib.nullcontext()
        if cloud:
            group = polars_compute(
                "etl",
                COMPUTES[backend],
                conn_id="polars_cloud_default",
                prefix_group_id=False,
                start_kwargs=AT_ONCE,
                stop_kwargs=AT_ONCE,
            )
        with group:
            query(variant, mode, {"distributed": False} if cloud else {"compute": COMPUTES[backend]})
    globals()[dag_id] = dag
