"""What tests of groups look at whose compute is started: tasks, and the edges between them."""

from __future__ import annotations

from typing import Any

import polars as pl
from airflow.sdk import DAG, task

from airflow_provider_polars import CloudCompute, polars_task

SMALL = CloudCompute(cpus=2, memory=4)
LARGE = CloudCompute(cpus=64, memory=256)
ADDED = ("start_compute", "tasks_done", "stop_compute")
"""Tasks that a group adds."""

RUNNING = CloudCompute(compute_id="0b9d0d4a-3d5f-4c39-9f1e-6a2f4f2c7a10")


@polars_task
def numbers(start: int = 0) -> pl.LazyFrame:
    """Return one number."""
    return pl.LazyFrame({"a": [start]})


@task
def note() -> None:
    """Do something that has nothing to do with Polars."""


def query(task_id: str, *upstream: Any, **arguments: Any) -> Any:
    """Make a task with a query, after others."""
    made = numbers.override(task_id=task_id, **arguments)()
    for other in upstream:
        other >> made
    return made


def plain(task_id: str, *upstream: Any, **arguments: Any) -> Any:
    """Make a task without a query, after others."""
    made = note.override(task_id=task_id, **arguments)()
    for other in upstream:
        other >> made
    return made


def edges(dag: Any) -> set[str]:
    """Return all edges, but those between the three tasks that each group adds."""
    found = ((one.task_id, other) for one in dag.tasks for other in one.downstream_task_ids)
    return {f"{one} >> {other}" for one, other in found if not _group_of(one) or _group_of(one) != _group_of(other)}


def _group_of(task_id: str) -> str:
    """Return the group that has added a task, "" for those that people have written."""
    name = next((name for name in ADDED if task_id.endswith(name)), None)
    return task_id.removesuffix(name) if name else ""


def after(dag: DAG, task_id: str) -> set[str]:
    """Return the tasks directly after one."""
    return set(dag.get_task(task_id).downstream_task_ids)


def before(dag: DAG, task_id: str) -> set[str]:
    """Return the tasks directly before one."""
    return set(dag.get_task(task_id).upstream_task_ids)
