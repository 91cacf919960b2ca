"""The edges between the tasks of a compute group and those that start and stop its compute.

Start precedes the tasks alone that no other user precedes, and stop follows those alone that no other user follows: an
edge to each task would forbid trigger rules in the group (Airflow allows ``all_success`` alone after a setup).

A teardown that fails the run if it fails hides, in Airflow 3.3, the failures of the tasks right before it: only the
last tasks count for the state of a run, and these are not the last then. So between them and the stop there is one more
teardown, which does nothing and counts for nothing: tasks that only such a teardown follows are last ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from airflow.sdk import TaskGroup, TriggerRule
from airflow.sdk.definitions._internal.contextmanager import DagContext, TaskGroupContext
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.xcom_arg import PlainXComArg

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.operators.base import enclosing_compute_group
from airflow_provider_polars.operators.remote import PolarsRemoteOperator


def users_of(group: Any) -> list[Any]:
    """Return the tasks that need the compute of a group: all that are in it, and have no compute of their own.

    Those of a group within that has a compute of its own are not among them, unless they name what the start of this
    one returns. A task that is not one of ours may use the compute in its own way, and counts.
    """
    ours = {each.task_id for each in (group.start, group.done, group.stop)}
    return [task for task in group if task.task_id not in ours and _uses_compute_of(group, task)]


def wire(group: Any, users: Sequence[Any]) -> None:
    """Have the start precede the users of a compute, and the stop follow them as their teardown. It may be repeated.

    :raises ConfigurationError: if nothing uses the compute, or the trigger rule of a first user cannot be.
    """
    start, done, stop = group.start, group.done, group.stop
    if not users:
        raise ConfigurationError(
            f"No task in the group {group.group_id!r} uses its compute: {group.compute!r} would be started and stopped "
            "for nothing. Put tasks into it, or use a plain TaskGroup."
        )
    ids = {task.task_id for task in users}
    first = [task for task in users if not _reaches(task, ids, "upstream_task_ids", group.dag)]
    last = [task for task in users if not _reaches(task, ids, "downstream_task_ids", group.dag)]
    for task in first:
        if task.trigger_rule != TriggerRule.ALL_SUCCESS:
            raise ConfigurationError(
                f"The task {task.task_id!r} is one of the first of the group {group.group_id!r}: it follows the task "
                f"that starts the compute, where Airflow allows no trigger_rule="
                f"{TriggerRule(task.trigger_rule).value!r}. Leave the rule out, or move the task out of the group."
            )
    start.users = stop.users = tuple(sorted(ids))
    for task in first:
        start.set_downstream(task)
    for task_id in sorted(_common_upstreams(first, group)):
        start.set_upstream(group.dag.get_task(task_id))
    for task in last:
        task.set_downstream(done)
    if not stop.is_teardown:
        done.as_teardown(setups=start)
        done.set_downstream(stop)
        stop.as_teardown(setups=start, on_failure_fail_dagrun=True)


def refuse_duplicate(group_id: str, kwargs: Mapping[str, Any]) -> None:
    """Refuse a second group of one name; Airflow's own words do not say where to look.

    :raises ConfigurationError: naming the group.
    """
    parent = kwargs.get("parent_group") or TaskGroupContext.get_current()
    dag = kwargs.get("dag") or DagContext.get_current()
    if kwargs.get("add_suffix_on_collision") or (parent is None and dag is None):
        return
    parent = parent or getattr(dag, "task_group")  # noqa: B009
    if parent.child_id(group_id) in parent.used_group_ids:
        raise ConfigurationError(
            f"There are two groups {parent.child_id(group_id)!r} in the DAG. Give each polars_compute() a name of its "
            "own, or add_suffix_on_collision=True."
        )


def _uses_compute_of(group: Any, task: Any) -> bool:
    compute = _own_compute(task)
    if compute is None:
        return bool(enclosing_compute_group(task).group_id == group.group_id)
    return isinstance(compute, PlainXComArg) and compute.operator.task_id == group.start.task_id


def _own_compute(task: Any) -> Any:
    """Return what a task of ours names as its compute, None if it names none."""
    if isinstance(task, PolarsRemoteOperator):
        return task.compute
    if isinstance(task, MappedOperator) and issubclass(task.operator_class, PolarsRemoteOperator):
        expanded = task.expand_input.value
        given = {**task.partial_kwargs, **(expanded if isinstance(expanded, Mapping) else {})}
        return given.get("compute")
    return None


def _reaches(task: Any, ids: Collection[str], direction: str, dag: Any) -> bool:
    """Return whether another one of ``ids`` is upstream or downstream of a task, over any way."""
    seen: set[str] = set()
    waiting = list(getattr(task, direction))
    while waiting:
        if (task_id := waiting.pop()) in seen:
            continue
        if task_id in ids:
            return True
        seen.add(task_id)
        waiting += getattr(dag.get_task(task_id), direction)
    return False


def _common_upstreams(first: Sequence[Any], group: TaskGroup) -> set[str]:
    """Return the tasks outside of the group that all its first tasks wait for: there is no use in starting earlier."""
    inside = {task.task_id for task in group}
    return set.intersection(*(set(task.upstream_task_ids) for task in first)) - inside
