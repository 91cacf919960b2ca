"""``polars_compute``: a task group whose tasks share one compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import TaskGroup
from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.operators.arguments import check_group, check_values
from airflow_provider_polars.operators.base import as_compute, enclosing_compute_group
from airflow_provider_polars.operators.remote import PolarsRemoteOperator
from airflow_provider_polars.query.options import QueryOptions


class PolarsComputeGroup(TaskGroup):
    """A TaskGroup whose Polars tasks run on ``compute`` unless they name one of their own.

    :param group_id: id of the group.
    :param compute: (templated, in each task's context) what the tasks run on.
    :param kwargs: those of Airflow's ``TaskGroup``.
    """

    def __init__(self, group_id: str, compute: Compute, **kwargs: Any) -> None:
        self.compute = as_compute(compute)
        super().__init__(group_id=group_id, **kwargs)

    def __exit__(self, *args: Any) -> None:
        """Close the group; refuse a task whose sink or options its compute cannot serve."""
        super().__exit__(*args)  # type: ignore[no-untyped-call]
        if args[0] is not None:
            return
        for task in self:
            if enclosing_compute_group(task).group_id != self.group_id:
                continue
            if isinstance(task, PolarsRemoteOperator):
                given = task.given_arguments()
            elif isinstance(task, MappedOperator) and issubclass(task.operator_class, PolarsRemoteOperator):
                expanded = task.expand_input.value
                if not isinstance(expanded, Mapping) or "compute" in expanded:
                    continue
                given = task.partial_kwargs
            else:
                continue
            if given.get("wait") is False:
                check_group(task, QueryOptions(wait=False))
            if given.get("compute") is None:
                check_values({**given, "compute": self.compute})


def polars_compute(group_id: str, compute: Compute, **kwargs: Any) -> PolarsComputeGroup:
    """Return a task group, for ``with``, whose Polars tasks run on ``compute`` unless they name one of their own."""
    return PolarsComputeGroup(group_id, compute, **kwargs)
