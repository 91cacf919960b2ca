"""``QueryWaitingOperator``: runs a submission to its end, on the worker and beyond it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from airflow.sdk import conf
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR

from airflow_provider_polars.backends.base import Output, Run, Submission
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import ClusterUnreachableError, ComputeLostError, PolarsProviderError
from airflow_provider_polars.hooks import settings
from airflow_provider_polars.hooks.metrics import Metrics
from airflow_provider_polars.hooks.polars import make_hook
from airflow_provider_polars.kept_runs import Try, stored_runs
from airflow_provider_polars.lifecycle import Lifecycle
from airflow_provider_polars.lineage import record
from airflow_provider_polars.lineage.listening import is_listened_to
from airflow_provider_polars.lineage.operator import LineageOperator
from airflow_provider_polars.links import observatory, portal
from airflow_provider_polars.operators.base import (
    PolarsBaseOperator,
    as_compute,
    enclosing_compute_group,
    without_retry,
)
from airflow_provider_polars.operators.outputs import announce, replace_handles
from airflow_provider_polars.operators.own_compute import OwnCompute
from airflow_provider_polars.operators.queries_of_compute import queries_of, tell
from airflow_provider_polars.operators.run_record import leave_record
from airflow_provider_polars.operators.summary import Ended, Summary, cost
from airflow_provider_polars.operators.supervised import supervisor
from airflow_provider_polars.query.options import QueryOptions

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_polars.query.result import ResultRef

DEFER_AFTER_SECONDS = 10.0


class Awaited(NamedTuple):
    """What a task waits for.

    :param single: the task returns the one result itself, rather than a dict of them.
    """

    outputs: tuple[Output, ...]
    options: QueryOptions
    single: bool


class QueryWaitingOperator(LineageOperator, PolarsBaseOperator):
    """Base of operators that submit queries and hand on their results. Subclasses say what with :meth:`awaited`.

    :param deferrable: give the worker back while a query runs that is not done after ``defer_after`` seconds, and that
        does not end with the worker; default ``[operators] default_deferrable``.
    :param defer_after: seconds; a deferral takes about three by itself. Default 10.
    :param durable: whether a retry takes over the query of an earlier try that still runs, or has ended well, rather
        than submit it again. Clearing the task always submits anew.
    :param cancel_on_kill: whether the query is cancelled when the task is marked, cleared or killed; default True.
    :param openlineage_inject_parent_job_info: whether an on-premises cluster, which emits lineage of its queries by
        itself, is told of the task's run; default ``[openlineage] spark_inject_parent_job_info``.
    """

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        defer_after: float = DEFER_AFTER_SECONDS,
        durable: bool = True,
        cancel_on_kill: bool = True,
        openlineage_inject_parent_job_info: bool = conf.getboolean(
            "openlineage", "spark_inject_parent_job_info", fallback=False
        ),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.defer_after = defer_after
        self.durable = durable
        self.cancel_on_kill = cancel_on_kill
        self.openlineage_inject_parent_job_info = openlineage_inject_parent_job_info
        self.query_link = ""
        self.compute_link = ""
        self._lifecycle: Lifecycle | None = None
        self._began_at = math.inf
        self._killed = False
        self._own: OwnCompute | None = None
        self._summary: Summary | None = None

    def execute(self, context: Context) -> Any:
        """Run the task; its ``execution_timeout`` counts from here, whatever comes before the query."""
        self._began_at = time.time()
        return super().execute(context)

    def awaited(self, context: Context) -> Awaited:
        """Return what a task writes that goes on after a deferral, and its options."""
        raise NotImplementedError

    def submit(self, submission: Submission, compute: Compute, context: Context) -> list[Run]:
        """Submit, and do not wait."""
        lifecycle = self._make_lifecycle(compute, context, math.inf)
        runs = lifecycle.submit(submission)
        self._keep_lineage(lifecycle, Awaited(submission.outputs, submission.options, submission.single), {})
        return runs

    def run_query(self, submission: Submission, compute: Compute, context: Context) -> Any:
        """Submit, wait, and return what the task returns; defer if it takes long."""
        timeout = self.execution_timeout
        deadline = self._began_at + timeout.total_seconds() if timeout and self.deferrable else math.inf
        lifecycle = self._make_lifecycle(compute, context, deadline)
        awaited = Awaited(submission.outputs, submission.options, submission.single)
        return self._finish(lambda: lifecycle.execute(submission, patience=self._patience(compute)), awaited, context)

    def go_on(self, context: Context, event: dict[str, Any]) -> Any:
        """Take over the queries that a trigger has waited for."""
        self.operator_extra_links = ()
        runs = [Run.from_dict(run) for run in event["runs"]]
        compute = as_compute(runs[0].compute)
        with self._own_again(compute, context, event.get("owner") is not None):
            return self._take_over(runs, compute, event, context)

    def make_own(self, compute: Compute, context: Context) -> OwnCompute:
        """Return what starts and stops a compute for this task alone."""
        own = OwnCompute(
            compute,
            self._conn_id,
            context,
            self.log,
            lambda link: self._show(link, context),
            lambda usage: self._tell(self._summary, cost(usage, settings.known_vcpu_hour_price())),
        )
        self._own = own
        if self._killed:
            own.kill()
        return own

    def _own_again(self, handle: Compute, context: Context, is_own: bool) -> contextlib.AbstractContextManager[None]:
        """Stop a compute at the end of the block if an earlier process has started it for this task alone."""
        return self.make_own(handle, context).taken_over() if is_own else contextlib.nullcontext()

    def _take_over(self, runs: list[Run], compute: Compute, event: dict[str, Any], context: Context) -> Any:
        awaited = self.awaited(context)
        lifecycle = self._make_lifecycle(compute, context, event["deadline"] or math.inf)
        trouble = ClusterUnreachableError(event["message"]) if event["status"] == "unreachable" else None
        timeout, patience = awaited.options.timeout, self._patience(compute)
        if event["status"] == "failed":
            self.log.warning("The wait without a worker has ended: %s", event["message"])
            patience = math.inf
        return self._finish(
            lambda: lifecycle.resume(runs, timeout=timeout, patience=patience, trouble=trouble), awaited, context
        )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as Airflow does; when a trigger has failed, its queries are left to the next try, or cancelled."""
        if next_method == TRIGGER_FAIL_REPR:
            with contextlib.suppress(PolarsProviderError):
                self._abandon(context)
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the query, or see to it that none is submitted; :meth:`execute` then ends with an error."""
        self._killed = True
        if self._own is not None:  # its end is that of the query, and a killed task has few seconds
            self._own.kill()
        if self._lifecycle is not None:
            self._lifecycle.kill(cancel=self._own is None)

    def _finish(self, work: Callable[[], dict[str, ResultRef] | None], awaited: Awaited, context: Context) -> Any:
        """Return what the task returns for the results of ``work``, or defer if there are none yet."""
        lifecycle = self._lifecycle
        assert lifecycle is not None
        try:
            results = work()
        except BaseException as error:
            self._keep_lineage(lifecycle, awaited, {})
            leave_record(context, lifecycle, outcome="failed", error=error)
            if isinstance(error, ComputeLostError):  # a retry starts no other one, but where this task started it
                raise without_retry(error, always=self._own is None) from error.__cause__
            raise
        leave_record(context, lifecycle, outcome="deferred" if results is None else "succeeded", results=results)
        if results is None:
            self._defer(lifecycle, awaited.options.timeout)
        self._keep_lineage(lifecycle, awaited, results)
        summary = _summary(lifecycle, results)
        if self._own is None:
            self._tell(summary)
        else:
            self._summary = summary  # what it has cost is known once it has ended
        announce(results, awaited.outputs, awaited.options.labels or (), context)
        if (returned := lifecycle.backend.returned()) is not None:
            return replace_handles(returned, results)
        if awaited.single:
            return dict(results["return_value"])
        return {name: dict(result) for name, result in results.items()}

    def _keep_lineage(self, lifecycle: Lifecycle, awaited: Awaited, results: Mapping[str, ResultRef]) -> None:
        if not lifecycle.runs or not is_listened_to():
            return
        with contextlib.suppress(Exception):  # no error of lineage keeps a task from its end
            self.lineage = record.found(lifecycle, awaited.outputs, awaited.options.engine, results)

    def _defer(self, lifecycle: Lifecycle, timeout: float | None) -> NoReturn:
        from airflow_provider_polars.triggers.query import PolarsQueryTrigger

        deadline, _ = lifecycle.must_end(timeout)
        self.log.info("The query runs on; the task waits without a worker")
        trigger = PolarsQueryTrigger(
            runs=[run.to_dict() for run in lifecycle.runs],
            conn_id=self._conn_id,
            deadline=deadline if deadline < math.inf else None,
            cancel_on_kill=self.cancel_on_kill,
            owner=dataclasses.asdict(self._own.owner) if self._own is not None else None,
        )
        self.defer(trigger=trigger, method_name="resume")

    def _patience(self, compute: Compute) -> float:
        """Return the seconds after which the task defers; a query that ends with its worker is waited for there."""
        return self.defer_after if self.deferrable and isinstance(compute, RemoteCompute) else math.inf

    def _abandon(self, context: Context) -> None:
        if runs := stored_runs(context["task_state_store"]):
            compute = as_compute(runs[0].compute)
            trouble = ClusterUnreachableError("The trigger of the task has failed.")
            with self._own_again(compute, context, self.resolve_compute(context).needs_start):
                self._make_lifecycle(compute, context, math.inf).resume(runs, timeout=None, trouble=trouble)

    @property
    def _conn_id(self) -> str | None:
        """The connection of the task, else that of its group."""
        return self.conn_id or getattr(enclosing_compute_group(self), "conn_id", None)

    def _make_lifecycle(self, compute: Compute, context: Context, deadline: float) -> Lifecycle:
        runs: list[str] = []

        def announce_run(run: Run) -> None:
            runs.append(run.query_id)
            if compute.managed and self._own is None:
                tell(runs, context)
            if run.link and not self.query_link:
                self.query_link = run.link
                self.operator_extra_links = (*self.operator_extra_links, observatory.PolarsObservatoryLink())
                observatory.push(context, run.link)

        ti = context["ti"]
        lifecycle = self._lifecycle = Lifecycle(
            make_hook(compute, self._conn_id).get_backend(compute),
            context["task_state_store"],
            attempt=Try(ti.try_number, ti.max_tries, self.retries or 0),
            log=self.log,
            announce=announce_run,
            durable=self.durable,
            cancel_on_kill=self.cancel_on_kill,
            deadline=deadline,
            claimed=lambda: self._claimed(compute, context),
            supervisor=supervisor(),
            metrics=Metrics(dag_id=ti.dag_id, task_id=ti.task_id, compute=compute.kind),
        )
        if self._killed:
            lifecycle.kill()
        return lifecycle

    def _claimed(self, compute: Compute, context: Context) -> set[str] | None:
        """Return the queries on a compute that other tasks of the run have told of, None if nobody knows who uses it.

        Of a mapped task the other instances use it too.
        """
        if self._own is not None:
            return set()
        start, index = getattr(enclosing_compute_group(self), "start", None), context["ti"].map_index
        if start is None or self.compute is not None or (index is not None and index >= 0):
            return None
        others = [task_id for task_id in start.users if task_id != self.task_id]
        return {run.query_id for run in queries_of(others, compute, context)}

    def _show(self, link: str, context: Context) -> None:
        """Let people look at the compute that this task has started."""
        if link:
            self.compute_link = link
            self.operator_extra_links = (*self.operator_extra_links, portal.PolarsComputeLink())
            portal.push(context, link)

    def _tell(self, summary: Summary | None, used: str = "") -> None:
        for line in summary.lines(used) if summary is not None else ():
            self.log.info("%s", line)


def _summary(lifecycle: Lifecycle, results: Mapping[str, ResultRef]) -> Summary | None:
    now, runs = time.time(), lifecycle.runs
    ended = [
        Ended(
            query_id=run.query_id,
            output=run.output,
            seconds=now - run.submitted_at,
            result=results[run.output],
            link=run.link,
        )
        for run in runs
    ]
    return Summary(queries=ended, where=lifecycle.backend.where(runs[0])) if ended else None
