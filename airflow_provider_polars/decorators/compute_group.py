"""``polars_compute``: a task group whose tasks share one compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from airflow.sdk import BaseOperator, TaskGroup
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import DuplicateTaskIdFound

from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.decorators.group_wiring import refuse_duplicate, users_of, wire
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.operators.arguments import check_group, check_values
from airflow_provider_polars.operators.base import as_compute, enclosing_compute_group
from airflow_provider_polars.operators.remote import PolarsRemoteOperator
from airflow_provider_polars.operators.start_compute import PolarsStartComputeOperator
from airflow_provider_polars.operators.stop_compute import RETRIES, PolarsStopComputeOperator
from airflow_provider_polars.query.options import QueryOptions

START_RETRIES = 2
NOT_INHERITED: dict[str, Any] = {
    "depends_on_past": False,
    "wait_for_downstream": False,
    "execution_timeout": None,
    "do_xcom_push": True,
}
"""What start and stop do not take from ``default_args``, which are about queries: with the first two a compute would
run on because of an earlier run, start and stop have time limits of their own, and XCom tells what to stop."""

OURS = ("compute", "users", "trigger_rule", "task_id", "task_group", "dag", "do_xcom_push")
"""Arguments of start and stop that the group gives them."""


class PolarsComputeGroup(TaskGroup):
    """A TaskGroup whose Polars tasks run on ``compute`` unless they name one of their own.

    A compute that has to be started is started by a setup task before the first of them, and stopped by a teardown
    task after the last, whatever becomes of them. The run fails if a task fails, and if the stop does. Between tasks
    and stop there is a task that does nothing, and that no worker runs: see :mod:`.group_wiring`.

    :param group_id: id of the group.
    :param compute: (templated) what the tasks run on.
    :param conn_id: (templated) connection of start and stop, and of the tasks of the group that name none; before
        that of the DAG's ``default_args``.
    :param pool: pool of the tasks of the group that name none.
    :param queue: queue of the tasks of the group that name none.
    :param start_kwargs: further arguments of :class:`PolarsStartComputeOperator`.
    :param stop_kwargs: further arguments of :class:`PolarsStopComputeOperator`.
    :param kwargs: those of Airflow's ``TaskGroup``.
    :ivar start: the task that starts the compute, None if it needs none.
    :ivar done: the task that does nothing between the group's tasks and ``stop``.
    :ivar stop: the task that stops it.
    """

    def __init__(
        self,
        group_id: str,
        compute: Compute,
        *,
        conn_id: str | None = None,
        pool: str | None = None,
        queue: str | None = None,
        start_kwargs: Mapping[str, Any] | None = None,
        stop_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.compute = as_compute(compute)
        self.conn_id = conn_id
        self.start: PolarsStartComputeOperator | None = None
        self.done: BaseOperator | None = None
        self.stop: PolarsStopComputeOperator | None = None
        self._start_kwargs = dict(start_kwargs or {})
        self._stop_kwargs = dict(stop_kwargs or {})
        if not self.compute.needs_start and (unused := [*self._start_kwargs, *self._stop_kwargs]):
            raise ConfigurationError(
                f"{type(self.compute).__name__} of the group {group_id!r} is not started: {', '.join(unused)} would do "
                "nothing. Remove start_kwargs= and stop_kwargs=."
            )
        if mine := [name for name in (*self._start_kwargs, *self._stop_kwargs) if name in OURS]:
            raise ConfigurationError(
                f"start_kwargs= and stop_kwargs= of the group {group_id!r} cannot have {', '.join(mine)}: the group "
                "sets that itself."
            )
        given = {"conn_id": conn_id, "pool": pool, "queue": queue}
        known = {name: value for name, value in given.items() if value is not None}
        kwargs["default_args"] = {**(kwargs.get("default_args") or {}), **known}
        refuse_duplicate(group_id, kwargs)
        super().__init__(group_id=group_id, **kwargs)

    def __enter__(self) -> PolarsComputeGroup:
        """Open the group; its start and stop are there already, for tasks that name them."""
        if self.compute.needs_start and self.start is None:
            self._add_start_and_stop()  # before the group is the current one: what raises now leaves nothing open
        super().__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        """Close the group; refuse a task whose sink or options its compute cannot serve; wire start and stop."""
        super().__exit__(*args)  # type: ignore[no-untyped-call]
        if args[0] is not None:
            return
        for task in self:
            if enclosing_compute_group(task).group_id == self.group_id:
                self._check(task)
        if self.start is not None:
            wire(self, users_of(self))

    def _add_start_and_stop(self) -> None:
        from airflow.providers.standard.operators.empty import EmptyOperator

        prefix = "" if self.prefix_group_id else f"{self._group_id}_"
        common: dict[str, Any] = {**NOT_INHERITED, "task_group": self, "dag": self.dag}
        start = {"retries": START_RETRIES, **common, **self._start_kwargs}
        stop = {"retries": RETRIES, **common, **self._stop_kwargs}
        try:
            self.start = PolarsStartComputeOperator(
                task_id=f"{prefix}start_compute", compute=self.compute, trigger_rule="all_success", **start
            )
            self.done = EmptyOperator(task_id=f"{prefix}tasks_done", **common)
            handle = cast("Any", self.start.output)
            self.stop = PolarsStopComputeOperator(task_id=f"{prefix}stop_compute", compute=handle, **stop)
        except DuplicateTaskIdFound as error:
            raise ConfigurationError(
                f"There are two groups {self._group_id!r} in the DAG whose tasks have the same ids: {error}. Give each "
                "polars_compute() a name of its own, or leave out prefix_group_id=False."
            ) from error

    def _check(self, task: Any) -> None:
        if isinstance(task, PolarsRemoteOperator):
            given = task.given_arguments()
        elif isinstance(task, MappedOperator) and issubclass(task.operator_class, PolarsRemoteOperator):
            expanded = task.expand_input.value
            if not isinstance(expanded, Mapping) or "compute" in expanded:
                return
            given = task.partial_kwargs
        else:
            return
        if given.get("wait") is False:
            check_group(task, QueryOptions(wait=False))
        if given.get("compute") is None:
            check_values({**given, "compute": self.compute})


def polars_compute(group_id: str, compute: Compute, **kwargs: Any) -> PolarsComputeGroup:
    """Return a task group, for ``with``, whose Polars tasks run on ``compute`` unless they name one of their own.

    Takes the arguments of :class:`PolarsComputeGroup`: ``conn_id``, ``pool``, ``queue``, ``start_kwargs``,
    ``stop_kwargs`` and those of Airflow's ``TaskGroup``.
    """
    return PolarsComputeGroup(group_id, compute, **kwargs)
