"""``PolarsQuerySensor``: waits for queries that a task has submitted and not waited for."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import PokeReturnValue

from airflow_provider_polars.backends.base import Backend, Run, RunState, RunStatus
from airflow_provider_polars.backends.remote import RemoteBackend
from airflow_provider_polars.exceptions import (
    ClusterUnreachableError,
    PolarsProviderError,
    QueryCancelledError,
    QueryFailedError,
    QueryTimeoutError,
)
from airflow_provider_polars.hooks.polars import make_hook
from airflow_provider_polars.lineage import record
from airflow_provider_polars.lineage.listening import is_listened_to
from airflow_provider_polars.lineage.operator import LineageOperator
from airflow_provider_polars.links.observatory import PolarsObservatoryLink, push
from airflow_provider_polars.operators.base import as_compute, without_retry
from airflow_provider_polars.operators.summary import Ended, Summary
from airflow_provider_polars.query_failures import names
from airflow_provider_polars.sensors.base import PolarsBaseSensor
from airflow_provider_polars.sensors.runs import Tree, changed, leaves, read_runs

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context
    from airflow.triggers.base import BaseTrigger

    from airflow_provider_polars.query.result import ResultRef

Looked = list[tuple[Run, RunStatus]]


class PolarsQuerySensor(LineageOperator, PolarsBaseSensor):
    """Wait until queries have ended that a task with ``wait=False`` has submitted, and hand on their results.

    It fails, without a retry, if one of them did not succeed, once all have ended. It cancels none.

    :param run: (templated) what that task returns; or a list or dict of that, at any depth.
    :param conn_id: (templated) Airflow connection of the compute that the queries are on.
    :param deferrable: see :class:`PolarsBaseSensor`.
    :return: the :class:`ResultRef` of each query, as a plain dict, arranged as ``run`` is.
    """

    template_fields: Sequence[str] = ("run", "conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"run": "json"}
    operator_extra_links: Collection[BaseOperatorLink] = (PolarsObservatoryLink(),)
    taken_arguments: ClassVar[frozenset[str]] = frozenset({"compute"})

    def __init__(self, *, run: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run = run
        self.query_link = ""
        self._living: list[Run] = []

    def look(self, context: Context) -> PokeReturnValue | PolarsProviderError:
        self.operator_extra_links = ()
        tree = read_runs(self.run)
        self._living = list(leaves(tree))
        self._show(self._living, context)
        with contextlib.ExitStack() as stack:
            backends: dict[str, Backend[Any]] = {}
            for run in leaves(tree):
                if _place(run) not in backends:
                    compute = as_compute(run.compute)
                    backend = make_hook(compute, self.conn_id).get_backend(compute)
                    backends[_place(run)] = stack.enter_context(contextlib.closing(backend))
            looked = _poll_each(leaves(tree), backends)
            self._keep_lineage(looked, {})
            if living := [run for run, status in looked if not status.state.is_terminal]:
                self._living = living
                return _why_living(looked)
            if (failure := _failure(looked)) is not None:
                raise without_retry(failure, always=True) from failure.__cause__
            return PokeReturnValue(True, self._results(tree, looked, backends))

    def _results(self, tree: Tree, looked: Looked, backends: Mapping[str, Backend[Any]]) -> Tree:
        """Return the results, arranged as their Runs are, and write their summary."""
        ended: list[Ended] = []

        def result(run: Run) -> dict[str, Any]:
            ref = backends[_place(run)].result(run)
            ended.append(Ended(query_id=run.query_id, output=run.output, seconds=None, result=ref, link=run.link))
            return dict(ref)

        results = changed(tree, result)
        self._keep_lineage(looked, {each.query_id: each.result for each in ended})
        where = dict.fromkeys(backends[_place(run)].where(run) for run in leaves(tree))
        for line in Summary(queries=ended, where="; ".join(where)).lines():
            self.log.info("%s", line)
        return results

    def _keep_lineage(self, looked: Looked, results: Mapping[str, ResultRef]) -> None:
        if not is_listened_to():
            return
        with contextlib.suppress(Exception):  # no error of lineage keeps a task from its end
            self.lineage = record.waited_for([(run, status.state) for run, status in looked], results)

    def _show(self, runs: Iterable[Run], context: Context) -> None:
        """Let people look at the first query that has a page."""
        link = next((run.link for run in runs if run.link), "")
        if link:
            self.operator_extra_links = type(self).operator_extra_links
            if not self.query_link:
                push(context, link)
            self.query_link = link

    def make_trigger(self, deadline: float) -> BaseTrigger | None:
        """Return what waits for the queries on one compute; those on others are waited for after that."""
        from airflow_provider_polars.triggers.query import PolarsQueryTrigger

        if any("cluster" in run.details for run in self._living):  # that its function chose; a trigger cannot ask it
            return None
        first = _place(self._living[0])
        runs = [run.to_dict() for run in self._living if _place(run) == first]
        return PolarsQueryTrigger(runs=runs, conn_id=self.conn_id, deadline=deadline, cancel_on_kill=False)


def _place(run: Run) -> str:
    return json.dumps(run.compute, sort_keys=True)


def _poll_each(runs: Iterable[Run], backends: Mapping[str, Backend[Any]]) -> Looked:
    """Return the state of each Run; where one cannot be asked about, the others there are not asked about either.

    Polars Cloud may take a query for running whose instance has ended, so that is asked about too.
    """
    looked: Looked = []
    away: dict[tuple[str, Any], RunStatus] = {}
    lost: dict[str, Exception | None] = {}
    for run in runs:
        backend, there = backends[_place(run)], (_place(run), run.details.get("cluster", {}).get("uri"))
        status = away.get(there) or backend.poll(run)
        if status.progress:
            away[there] = status
        elif not status.state.is_terminal and isinstance(backend, RemoteBackend):
            if _place(run) not in lost:
                lost[_place(run)] = backend.lost(run)
            if (reason := lost[_place(run)]) is not None:
                status = RunStatus(state=RunState.FAILED, error=reason)
        looked.append((run, status))
    return looked


def _why_living(looked: Looked) -> PolarsProviderError:
    """Return what a timeout that comes now says."""
    living = [(run, status) for run, status in looked if not status.state.is_terminal]
    troubles = dict.fromkeys(status.progress for _, status in living if status.progress)
    if troubles:
        return ClusterUnreachableError(" ".join(troubles))
    states = dict.fromkeys(status.state.value for _, status in living)
    return QueryTimeoutError(f"{names([run for run, _ in living])} is {' or '.join(states)} still.")


def _failure(looked: Looked) -> PolarsProviderError | None:
    """Return the error for queries that have ended, None if all have succeeded."""
    failed = [(run, _error(run, status)) for run, status in looked if status.state is not RunState.SUCCEEDED]
    if not failed:
        return None
    first = failed[0][1]
    if len(looked) == 1:
        return first
    kinds = {type(error) for _, error in failed}
    kind = kinds.pop() if len(kinds) == 1 else QueryFailedError
    reasons = "; ".join(f"{names([run])}: {str(error).rstrip('. ')}" for run, error in failed)
    combined = kind(f"{len(failed)} of {len(looked)} queries did not succeed. {reasons}.")
    combined.__cause__ = first
    return combined


def _error(run: Run, status: RunStatus) -> PolarsProviderError:
    name, place = names([run]), as_compute(run.compute)
    if isinstance(status.error, PolarsProviderError):
        return status.error
    if status.error is not None:
        error = QueryFailedError(f"{name} failed with {type(status.error).__name__}: {status.error}")
        error.__cause__ = status.error
        return error
    if status.state is RunState.CANCELLED:
        return QueryCancelledError(f"{name} was cancelled.")
    if status.state is RunState.LOST:
        return QueryFailedError(f"{name} is not known to {place!r}: it was forgotten, or is on another cluster.")
    return QueryFailedError(f"{name} failed and {place!r} gave no reason; see its log.")
