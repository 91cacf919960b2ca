"""Tasks on a cluster whose queries end only when they are told to: killed, tried again, cleared, and side by side."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
from airflow.sdk import dag

from airflow_provider_polars import ClusterCompute, ParquetSink, PolarsRemoteOperator

FOLDER = "{{ params.folder }}"
PARAMS = {"folder": "", "uri": "", "observatory": ""}
COMPUTE = ClusterCompute(uri="{{ params.uri }}", observatory="{{ params.observatory }}", scaling="single-node")


def waiting(folder: str, name: str) -> pl.LazyFrame:
    """Return a query of one row whose part on the cluster waits until the file ``<name>.go`` or ``all.go`` exists.

    The id of the task's process is in ``<name>.task``, and each start of the query adds a letter to ``<name>.starts``.
    """

    def wait(frame: Any) -> Any:
        import time

        with (place / f"{name}.starts").open("a") as file:
            file.write("x")
        while not any((place / f"{ending}.go").exists() for ending in (name, "all")):
            time.sleep(0.02)
        if name.startswith("broken"):
            raise ValueError(f"{name} by design")
        return frame

    place = Path(folder)
    draft = place / f".{name}.task"
    draft.write_text(str(os.getpid()))
    draft.rename(place / f"{name}.task")
    return pl.LazyFrame({"name": [name]}).map_batches(wait)


def by_itself(folder: str, name: str) -> Any:
    """Submit the query and wait for it here."""
    return waiting(folder, name).remote().single_node().execute()  # type: ignore[attr-defined]


QUERIES: dict[str, Callable[..., Any]] = {"returned": waiting, "by_itself": by_itself}


@dag(schedule=None, params=PARAMS)
def cluster_killed() -> None:
    """One task for each way to submit; tests mark them."""
    for way, query in QUERIES.items():
        PolarsRemoteOperator(
            task_id=way, query=query, query_kwargs={"folder": FOLDER, "name": "{{ task.task_id }}"}, compute=COMPUTE
        )


@dag(schedule=None, params=PARAMS)
def cluster_retried() -> None:
    """Tasks whose first try does not end by itself, and one that is cleared while it runs."""
    for task_id in ("returned", "by_itself", "cleared"):
        PolarsRemoteOperator(
            task_id=task_id,
            query=QUERIES.get(task_id, waiting),
            query_kwargs={"folder": FOLDER, "name": "{{ task.task_id }}-{{ ti.try_number }}"},
            compute=COMPUTE,
            sink=None if task_id == "by_itself" else ParquetSink(f"{FOLDER}/{task_id}.parquet"),
            retries=1,
            retry_delay=timedelta(seconds=0),
        )


@dag(schedule=None, params=PARAMS)
def cluster_mapped() -> None:
    """Three instances of one task at a time; one of them fails."""
    PolarsRemoteOperator.partial(
        task_id="spread",
        query=waiting,
        compute=COMPUTE,
        sink=ParquetSink(FOLDER + "/spread-{{ ti.map_index }}.parquet"),
    ).expand(query_kwargs=[{"folder": FOLDER, "name": name} for name in ("first", "broken", "last")])


cluster_killed()
cluster_retried()
cluster_mapped()
