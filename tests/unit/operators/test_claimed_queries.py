"""Which queries on a compute a task knows to be others', before it takes one for its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG

from airflow_provider_polars import CloudCompute, PolarsRemoteOperator, polars_compute

HANDLE = CloudCompute(compute_id="11111111-1111-1111-1111-111111111111")


class TaskInstance:
    """A task instance as far as it is asked here: of every other task of the run a query was told."""

    def __init__(self, map_index: int = -1) -> None:
        self.map_index = map_index

    def xcom_pull(self, *, task_ids: list[str], **_: Any) -> list[list[str]]:
        return [[f"query of {task_id}"] for task_id in task_ids]


def in_group(**options: Any) -> PolarsRemoteOperator:
    """Return a task of a group of three, of the DAG that keeps it alive."""
    with DAG("claims", schedule=None) as dag, polars_compute("etl", CloudCompute(cpus=2, memory=4)):
        task = PolarsRemoteOperator(task_id="mine", query="lake:paid", **options)
        for name in ("second", "third"):
            PolarsRemoteOperator(task_id=name, query="lake:paid")
    assert dag.has_task("etl.mine")
    return task


def claimed(task: PolarsRemoteOperator, map_index: int = -1) -> set[str] | None:
    context: Any = {"ti": TaskInstance(map_index)}
    return task._claimed(HANDLE, context)


def test_what_other_tasks_of_the_group_have_told_of_is_theirs() -> None:
    assert claimed(in_group()) == {"query of etl.second", "query of etl.third"}


def test_nobody_else_uses_the_compute_of_a_single_task() -> None:
    task = PolarsRemoteOperator(task_id="alone", query="lake:paid")
    task._own = SimpleNamespace()  # type: ignore[assignment]
    assert claimed(task) == set()


def test_of_a_mapped_task_nobody_knows_what_its_other_instances_do() -> None:
    assert claimed(in_group(), map_index=0) is None


def test_of_a_compute_that_was_handed_over_nobody_knows_who_uses_it() -> None:
    assert claimed(PolarsRemoteOperator(task_id="handed", query="lake:paid", compute=HANDLE)) is None
    assert claimed(in_group(compute=HANDLE)) is None
