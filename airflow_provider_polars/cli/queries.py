"""Queries as commands see them: what a workspace lists, what tasks have kept, and the end of one."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import itertools
import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_polars.backends.base import Run, RunState
from airflow_provider_polars.backends.cloud_refusals import refused
from airflow_provider_polars.backends.remote import RemoteBackend, state_of
from airflow_provider_polars.cli import database, places
from airflow_provider_polars.cli.database import KeptQuery
from airflow_provider_polars.clients import workspace_queries
from airflow_provider_polars.clients.control_plane import ControlPlane
from airflow_provider_polars.clients.proxy_plane import CODES
from airflow_provider_polars.clients.workspace_queries import ListedQuery
from airflow_provider_polars.clients.workspaces import Workspace, find_workspace
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.compute.cloud import CloudCompute
from airflow_provider_polars.exceptions import (
    ClusterUnreachableError,
    ConfigurationError,
    PolarsProviderError,
    QueryFailedError,
)
from airflow_provider_polars.hooks.polars import make_hook

COLUMNS = ("query_id", "state", "dag_id", "task_id", "run_id", "submitted", "seconds", "compute_id")
PAGES = 5
CANCEL_SECONDS = 30.0
"""Until a query must have ended that was cancelled."""

_AT_ONCE = -1.0
"""Seconds for which a cluster may be out of reach: a person who asks wants to know."""

_log = logging.getLogger(__name__)
Row = dict[str, Any]


def listed(conn_id: str | None, compute_id: str | None, most: int) -> list[Row]:
    """Return the queries of the place that a connection is for, the newest first.

    :param compute_id: only those of this instance.
    :raises ConfigurationError: if there is no such connection, or it has no instances and ``compute_id`` is given.
    """
    compute = places.compute_of(conn_id)
    kept = [query for query in _kept() if query.run.compute.get("kind") == compute.kind]
    if isinstance(compute, CloudCompute):
        rows = _of_workspace(compute, conn_id, compute_id, kept, most)
    else:
        _refuse_instance(compute_id, conn_id)
        rows = list(itertools.islice(_of_cluster(compute, conn_id, kept), most))
    return sorted(rows, key=lambda row: row["submitted"] or "", reverse=True)[:most]


def cancelled(query_id: str, conn_id: str | None, compute_id: str | None) -> tuple[RunState, RunState]:
    """Cancel a query, wait until it has ended, and return its state before and now.

    :raises ConfigurationError: if it is not known where the query runs.
    :raises QueryFailedError: if it is not known, or has not ended in time.
    """
    try:
        query_id = str(uuid.UUID(query_id))
    except ValueError:
        raise ConfigurationError(f"QUERY_ID must be the id of a query, a UUID, got {query_id!r}.") from None
    run, compute = _found(query_id, conn_id, compute_id)
    with _backend(compute, conn_id) as backend:
        before = backend.poll(run).state
        if before is RunState.LOST:
            raise QueryFailedError(f"The query {query_id} is not known to {compute!r}. Check the id and --conn-id.")
        if before.is_terminal:
            return before, before
        backend.cancel([run])
        return before, _ended(backend, run)


def _ended(backend: RemoteBackend[Any], run: Run) -> RunState:
    """Wait until a query has ended that was told to, and return its state; what is out of reach is asked again."""
    deadline, known = time.monotonic() + CANCEL_SECONDS, "not known to have ended"
    while True:
        try:
            state = backend.poll(run).state
            if state.is_terminal:
                return state
            known = f"{state.value} still"
        except ClusterUnreachableError as error:
            _log.warning("%s", error)
        if (left := deadline - time.monotonic()) <= 0:
            raise QueryFailedError(
                f"The query {run.query_id} was told to end, and is {known} after {CANCEL_SECONDS:g} seconds. "
                "Try again, or stop its compute."
            )
        backend.watch([run], min(left, 1.0))


def _of_workspace(
    compute: CloudCompute, conn_id: str | None, compute_id: str | None, kept: Sequence[KeptQuery], most: int
) -> list[Row]:
    with _workspace(compute, conn_id) as (plane, workspace), refused("asked for its queries", compute):
        listed: dict[str, ListedQuery] = {}
        for query in workspace_queries.newest(plane, workspace, PAGES):
            if len(listed) == most:
                break
            if compute_id in (None, query.compute_id):
                listed[query.id] = query
    tasks = _tasks_of(listed) | {run.query_id: task for task, run, _ in kept}
    rows = [_listed_row(query, tasks.get(query.id)) for query in listed.values()]
    by_instance: dict[str, list[KeptQuery]] = {}

    def is_further(query: KeptQuery) -> bool:
        handle = query.run.compute
        here = handle.get("workspace") in (None, workspace.id, compute.workspace)
        return here and query.run.query_id not in listed and compute_id in (None, handle.get("compute_id"))

    for each in itertools.islice(filter(is_further, kept), most):
        by_instance.setdefault(str(each.run.compute.get("compute_id")), []).append(each)
    return rows + [row for there in by_instance.values() for row in _of_instance(conn_id, there)]


def _of_instance(conn_id: str | None, kept: Sequence[KeptQuery]) -> list[Row]:
    """Return kept queries of one instance; it is asked only for those whose tasks had no result yet."""
    handle = kept[0].run.compute
    states = {query.run.query_id: RunState.SUCCEEDED.value for query in kept if query.has_result}
    try:
        if len(states) < len(kept):
            with _backend(Compute.from_dict(handle), conn_id) as backend:
                for query in kept:
                    states.setdefault(query.run.query_id, backend.poll(query.run).state.value)
    except PolarsProviderError as error:
        _log.warning("What became of queries on the instance %s is not known: %s", handle.get("compute_id"), error)
    return [
        _kept_row(query, states.get(query.run.query_id, "not known")) | {"compute_id": handle.get("compute_id")}
        for query in kept
    ]


def _of_cluster(compute: Compute, conn_id: str | None, kept: Sequence[KeptQuery]) -> Iterator[Row]:
    """Yield those of the kept queries that a cluster knows."""
    with _backend(compute, conn_id) as backend:
        for query in kept:
            if "cluster" in query.run.details:  # the function of the task has named another one
                continue
            state = backend.poll(query.run).state
            if state is not RunState.LOST:
                yield _kept_row(query, state.value)


def _found(query_id: str, conn_id: str | None, compute_id: str | None) -> tuple[Run, Compute]:
    """Return a query and what it runs on."""
    compute = places.compute_of(conn_id)
    kept = next((each.run for each in _kept(query_id) if each.run.compute.get("kind") == compute.kind), None)
    run = kept or Run(query_id=query_id, output="return_value", compute=compute.to_dict(), submitted_at=time.time())
    if not isinstance(compute, CloudCompute):
        _refuse_instance(compute_id, conn_id)
        return run, compute
    if compute_id is None and kept is not None:
        return run, Compute.from_dict(kept.compute)
    if compute_id is None:
        with _workspace(compute, conn_id) as (plane, workspace), refused("asked for a query", compute):
            query = workspace_queries.find(plane, workspace, query_id)
        if query is None or query.compute_id is None:
            raise ConfigurationError(
                f"Neither the workspace nor this Airflow knows where the query {query_id} runs. Name its instance with "
                "--compute-id; airflow polars computes lists them."
            )
        compute_id = query.compute_id
    return run, CloudCompute(compute_id=compute_id, workspace=compute.workspace, organization=compute.organization)


@contextlib.contextmanager
def _backend(compute: Compute, conn_id: str | None) -> Iterator[RemoteBackend[Any]]:
    backend: Any = make_hook(compute, conn_id).get_backend(compute)
    backend.unreachable_seconds = _AT_ONCE
    with contextlib.closing(backend):
        yield backend


@contextlib.contextmanager
def _workspace(compute: CloudCompute, conn_id: str | None) -> Iterator[tuple[ControlPlane, Workspace]]:
    hook: Any = make_hook(compute, conn_id)
    plane, complete = hook.control_plane(), hook.complete(dataclasses.replace(compute, mark=None))
    with contextlib.closing(plane), refused("found", compute):
        yield plane, find_workspace(plane, complete.workspace, complete.organization)


def _kept(query_id: str | None = None) -> list[KeptQuery]:
    try:
        return database.kept_queries(query_id)
    except ConfigurationError as error:
        _log.warning("Queries of tasks are not known: %s", error)
        return []


def _tasks_of(query_ids: Any) -> dict[str, database.Task]:
    try:
        return database.recorded_tasks(set(query_ids))
    except ConfigurationError:
        return {}


def _refuse_instance(compute_id: str | None, conn_id: str | None) -> None:
    if compute_id is not None:
        raise ConfigurationError(
            f"--compute-id is for instances of Polars Cloud; the connection {conn_id!r} is for a cluster. Leave it out."
        )


def _listed_row(query: ListedQuery, task: database.Task | None) -> Row:
    end = query.ended or time.time()
    seconds = None if query.requested is None else round(end - query.requested, 1)
    row: Row = {
        "query_id": query.id,
        "state": state_of(CODES.get(query.status)).value if query.status in CODES else query.status,
        "submitted": _time(query.requested),
        "seconds": seconds,
        "compute_id": query.compute_id,
    }
    return row | (task._asdict() if task else {})


def _kept_row(query: KeptQuery, state: str) -> Row:
    run = query.run
    running = state in (RunState.QUEUED.value, RunState.RUNNING.value)
    return {
        "query_id": run.query_id,
        "state": state,
        "submitted": _time(run.submitted_at),
        "seconds": round(time.time() - run.submitted_at, 1) if running else None,
        **query.task._asdict(),
    }


def _time(seconds: float | None) -> str | None:
    return (
        None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat(timespec="seconds")
    )
