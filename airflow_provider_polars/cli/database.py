"""What Airflow's database tells commands: which runs are active, and which queries tasks have submitted."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.compute_sweep import ACTIVE_RUNS
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.kept_runs import STORE_KEY
from airflow_provider_polars.marks import Owner
from airflow_provider_polars.operators.run_record import KEY as RECORD_KEY

RECORDS = 1000
"""What tasks have left that is looked through at most, the newest first."""

_log = logging.getLogger(__name__)


class Task(NamedTuple):
    """A task instance, as people call it."""

    dag_id: str
    task_id: str
    run_id: str


class KeptQuery(NamedTuple):
    """A query as its task has kept it for its next try.

    :param has_result: whether the task has had its result.
    """

    task: Task
    run: Run
    has_result: bool


def is_active(owner: Owner) -> bool:
    """Return whether the run of an owner is queued or running.

    :raises ConfigurationError: if the database has no run of its DAG at all, so that it may be that of another Airflow.
    """
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    with _session() as session:
        runs = select(DagRun.state).where(DagRun.dag_id == owner.dag_id)
        state = session.scalar(runs.where(DagRun.run_id == owner.run_id))
        if state is None and session.scalar(runs.limit(1)) is None:
            raise ConfigurationError(
                f"the database of this Airflow has no run of the DAG {owner.dag_id!r}. Is it the one that has started "
                f"{owner.mark}? Check [database] sql_alchemy_conn, or stop it by hand"
            )
    return state in ACTIVE_RUNS


def kept_queries(query_id: str | None = None) -> list[KeptQuery]:
    """Return the queries that tasks have kept, those of the tasks that have kept something last.

    None are known where Airflow keeps the state of tasks elsewhere (``[workers] state_store_backend``).

    :param query_id: that one alone.
    """
    from airflow.models.task_state_store import TaskStateStoreModel as Kept
    from sqlalchemy import select

    wanted = select(Kept).where(Kept.key == STORE_KEY).order_by(Kept.updated_at.desc()).limit(RECORDS)
    if query_id is not None:
        wanted = wanted.where(Kept.value.contains(query_id))
    found = []
    with _session() as session:
        for row in session.scalars(wanted):
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                task, kept = _task(row.dag_id, row.task_id, row.run_id, row.map_index), json.loads(row.value)
                runs = [Run.from_dict(run) for run in kept.get("runs", ())]
                found += [KeptQuery(task, run, has_result="results" in kept) for run in runs]
    return [query for query in found if query_id in (None, query.run.query_id)]


def recorded_tasks(query_ids: Collection[str]) -> dict[str, Task]:
    """Return the tasks of queries, as far as the newest records tell that tasks leave when they leave a worker."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    columns = (XComModel.dag_id, XComModel.task_id, XComModel.run_id, XComModel.map_index, XComModel.value)
    newest = select(*columns).where(XComModel.key == RECORD_KEY).order_by(XComModel.timestamp.desc()).limit(RECORDS)
    found = {}
    with _session() as session:
        for dag_id, task_id, run_id, map_index, value in session.execute(newest):
            with contextlib.suppress(ValueError, TypeError, AttributeError, LookupError):
                record = json.loads(value) if isinstance(value, str) else value
                for query in record["queries"]:
                    if query["query_id"] in query_ids:
                        found[query["query_id"]] = _task(dag_id, task_id, run_id, map_index)
    return found


def _task(dag_id: str, task_id: str, run_id: str, map_index: int) -> Task:
    return Task(dag_id, task_id if map_index < 0 else f"{task_id}[{map_index}]", run_id)


@contextlib.contextmanager
def _session() -> Iterator[Any]:
    """Give a session.

    :raises ConfigurationError: if the database does not answer, or lacks Airflow's tables.
    """
    from airflow.utils.session import create_session
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with create_session() as session:
            yield session
    except SQLAlchemyError as error:
        _log.debug("%s", error)
        raise ConfigurationError(
            f"Airflow's database cannot be asked ({type(error).__name__}). Check [database] sql_alchemy_conn; airflow "
            "db check says more."
        ) from None
