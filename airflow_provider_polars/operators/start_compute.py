"""``PolarsStartComputeOperator``: starts a compute for the tasks that come after it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_polars.compute_lifecycle import ComputeLifecycle, Pending
from airflow_provider_polars.exceptions import ComputeStartError, PolarsProviderError
from airflow_provider_polars.hooks import settings
from airflow_provider_polars.hooks.polars import make_hook
from airflow_provider_polars.lineage.record import Lineage
from airflow_provider_polars.links.portal import PolarsComputeLink, push
from airflow_provider_polars.operators.arguments import check_names, check_waiting, positive
from airflow_provider_polars.operators.base import PolarsBaseOperator, as_compute
from airflow_provider_polars.operators.compute_waiting import DEFER_AFTER_SECONDS, ComputeWaitingOperator
from airflow_provider_polars.operators.owners import owner_of

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from airflow_provider_polars.compute.base import Compute

START_SECONDS = 900.0
STORE_KEY = "polars_start"
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class PolarsStartComputeOperator(ComputeWaitingOperator):
    """Start a compute, wait until it is ready, and return its handle, for ``compute=`` of other tasks.

    One compute lives for a task instance, however often it is tried or cleared: what lives already is adopted. A start
    that fails stops what there was of it. ``polars_compute`` makes this task and the one that stops.

    :param compute: (templated) what to start, such as ``CloudCompute(cpus=8, memory=32)``.
    :param conn_id: (templated) Airflow connection.
    :param start_timeout: (templated) seconds until it must be ready, from when it is known; default 900.
    :param users: ids of the tasks that use it. If none of them is left to run, nothing is started and this task is
        skipped; default none, which starts it in any case.
    :param deferrable: give the worker back while a compute starts that is not ready after ``defer_after`` seconds;
        default ``[operators] default_deferrable``.
    :param defer_after: seconds; a deferral takes about three by itself. Default 10.
    :return: the compute as a dict, with what it takes to find it.
    """

    template_fields: Sequence[str] = (*PolarsBaseOperator.template_fields, "start_timeout")
    operator_extra_links: Collection[BaseOperatorLink] = (PolarsComputeLink(),)
    ui_color = "#d7f5dd"

    def __init__(
        self,
        *,
        compute: Compute | Mapping[str, Any],
        start_timeout: float = START_SECONDS,
        users: Sequence[str] = (),
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        defer_after: float = DEFER_AFTER_SECONDS,
        **kwargs: Any,
    ) -> None:
        check_names(type(self).__name__, kwargs, type(self))
        super().__init__(compute=compute, deferrable=deferrable, defer_after=defer_after, **kwargs)
        self.start_timeout = start_timeout
        self.users = tuple(users)
        self._owner: Any = None
        self._killed = False

    def perform(self, context: Context) -> Any:
        compute, patience = as_compute(self.compute), self._patience()
        check_waiting(compute, self.defer_after, cancel_on_kill=True)

        def get(lifecycle: ComputeLifecycle[Any], timeout: float) -> Any:
            if (handle := lifecycle.adopt(self._owner, timeout, patience=patience)) is not None:
                return handle
            if not self._is_waited_for(context):
                raise AirflowSkipException("Nothing is started: none of the tasks that would use it is left to run.")
            settings.vcpu_hour_price()  # or it is known at the end alone that it is wrong
            return lifecycle.start(self._owner, timeout, patience=patience)

        return self._until_ready(compute, context, self._deadline(), get)

    def go_on(self, context: Context, event: dict[str, Any]) -> Any:
        """Take over the start that a trigger has waited for."""
        patience, pending = self._patience_after(event), _pending(event)
        if event["status"] == "ready":
            pending = dataclasses.replace(pending, ready_at=event["at"])
        return self._until_ready(
            pending.handle,
            context,
            event["deadline"] or math.inf,
            lambda lifecycle, timeout: lifecycle.resume(self._owner, pending, timeout, patience=patience),
        )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as Airflow does; when a trigger has failed, what it was to wait for is stopped."""
        if next_method == TRIGGER_FAIL_REPR:
            self._abandon(context)
        return super().resume_execution(next_method, next_kwargs, context)

    def _abandon(self, context: Context) -> None:
        stored: Any = context["task_state_store"].get(STORE_KEY)
        pending = _pending(stored)
        try:
            lifecycle = self._make_lifecycle(pending.handle, context, math.inf)
            with contextlib.closing(lifecycle.manager):
                lifecycle.abandon(self._owner, pending, "its trigger has failed")
        except PolarsProviderError as error:
            self.log.warning("%r may run on: %s", pending.handle, error)

    def _until_ready(
        self,
        compute: Compute,
        context: Context,
        deadline: float,
        get: Callable[[ComputeLifecycle[Any], float], Any],
    ) -> Any:
        """Return the handle that is got, if it is ready; else defer."""
        self.operator_extra_links = ()
        timeout = positive(self.start_timeout, "start_timeout=", "seconds")
        lifecycle = self._make_lifecycle(compute, context, deadline)
        try:
            handle = get(lifecycle, timeout)
        finally:
            lifecycle.manager.close()
        self.lineage = Lineage.of_compute(handle)
        if self._killed:
            raise ComputeStartError(f"The task was killed; {handle!r} is to stop, unless other tasks may use it.")
        if (pending := lifecycle.pending) is not None:
            must_end, _ = lifecycle.must_end(pending.since, timeout)
            owner = dataclasses.asdict(self._owner)
            self._let_wait(handle, "ready", pending.since, must_end, owner=owner, adopted=pending.adopted)
        return handle.to_dict()

    def _make_lifecycle(self, compute: Compute, context: Context, deadline: float) -> ComputeLifecycle[Any]:
        def keep(pending: Pending[Any]) -> None:
            stored = {"handle": pending.handle.to_dict(), "since": pending.since, "adopted": pending.adopted}
            context["task_state_store"].set(STORE_KEY, stored)

        self._owner = owner_of(context)
        manager = make_hook(compute, self.conn_id).get_manager(compute)
        lifecycle = self._lifecycle = ComputeLifecycle(
            manager,
            log=self.log,
            announce=lambda handle: self._show(manager.link(handle), context),
            keep=keep,
            deadline=deadline,
        )
        if self._killed:
            lifecycle.kill(self._owner)
        return lifecycle

    def on_kill(self) -> None:
        """Undo the start; :meth:`execute` then ends with an error."""
        self._killed = True
        if self._lifecycle is not None:
            self._lifecycle.kill(self._owner)

    def _show(self, link: str, context: Context) -> None:
        if link:
            self.compute_link = link
            self.operator_extra_links = type(self).operator_extra_links
            push(context, link)

    def _is_waited_for(self, context: Context) -> bool:
        if not self.users:
            return True
        ti = context["ti"]
        index = ti.map_index if ti.map_index is not None and ti.map_index >= 0 else None
        found = ti.get_task_states(
            dag_id=ti.dag_id, task_ids=list(self.users), run_ids=[ti.run_id], map_index=index
        ).get(ti.run_id, {})
        return not all(self._states_of(user, found) <= ENDED for user in self.users)

    @staticmethod
    def _states_of(user: str, found: Mapping[str, Any]) -> set[Any]:
        """Return the states of the instances of a task, ``{None}`` if there is none; mapped ones have an index."""
        key = re.compile(rf"{re.escape(user)}(_\d+)?")
        return {state for name, state in found.items() if key.fullmatch(name)} or {None}


def _pending(told: Mapping[str, Any]) -> Pending[Any]:
    return Pending(handle=as_compute(told["handle"]), since=told["since"], adopted=told["adopted"])
