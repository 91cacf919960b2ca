"""Tries of one task on a cluster: what is kept of its queries, how functions wait for them, what happens meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import polars as pl
import polars_cloud as pc
from polars_cloud.query.dst import TmpDst

from airflow_provider_polars import lifecycle, polars_task
from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.kept_runs import STORE_KEY
from tests.harness.waiting import wait_for
from tests.wire.gates import START_SECONDS

if TYPE_CHECKING:
    import pytest

    from airflow_provider_polars import ClusterCompute
    from airflow_provider_polars.testing import DevCluster
    from tests.harness.in_memory import InMemoryAirflow, TaskOutcome
    from tests.wire.gates import Gate


class Tasks:
    """Runs tries of one task on a cluster.

    :param options: of ``polars_task``, for each.
    """

    def __init__(self, airflow: InMemoryAirflow, cluster: DevCluster, compute: ClusterCompute, **options: Any) -> None:
        self.airflow = airflow
        self.cluster = cluster
        self.options = {"compute": compute, "task_id": "query", **options}

    def run(
        self, function: Callable[[], Any], *, try_number: int = 1, max_tries: int = 0, **options: Any
    ) -> TaskOutcome:
        """Run one try of the task, with a function as its query."""
        task = polars_task(**{**self.options, **options})(function)()
        return self.airflow.run_task(task, try_number=try_number, max_tries=max_tries)

    @property
    def stored(self) -> list[Run]:
        """The Runs that are kept for the next try now."""
        kept = [values[STORE_KEY] for values in list(self.airflow.task_state_store.values()) if STORE_KEY in values]
        return [Run.from_dict(run) for value in kept for run in value["runs"]]

    @property
    def submitted(self) -> list[str]:
        """Ids of the queries that the cluster has taken, in that order."""
        return [each["query_id"] for each in self.cluster.recorder.submissions if "refused" not in each]

    @property
    def states(self) -> list[str]:
        """States of these queries."""
        submitted = self.submitted
        by_id = {query["id"]: query["state"] for query in self.cluster.queries}
        return [by_id[query_id] for query_id in submitted]


def frame(rows: int = 3) -> pl.LazyFrame:
    """Return a query of a column ``a``."""
    return pl.LazyFrame({"a": range(rows)})


def broken(reason: str = "by design") -> pl.LazyFrame:
    """Return a query that fails once it runs."""

    def fail(column: pl.Series) -> pl.Series:
        raise ZeroDivisionError(reason)

    return frame().select(pl.col("a").map_batches(fail, return_dtype=pl.Int64))


Form = Callable[[pl.LazyFrame], Any]


def poll_by_hand(query: pl.LazyFrame) -> str:
    handle = query.remote().execute(blocking=False)
    while not handle.get_status().is_done():
        time.sleep(0.05)
    return "done"


WAITING: dict[str, Form] = {
    "returned": lambda lf: lf,
    "execute()": lambda lf: lf.remote().execute(),
    "await_result()": lambda lf: lf.remote().execute(blocking=False).await_result(),
    "collect()": lambda lf: lf.remote().collect().height,
    "collect_batches()": lambda lf: len(list(lf.remote().collect_batches())),
    "show()": lambda lf: lf.remote().show().height,
    "spawn_many_blocking()": lambda lf: pc.spawn_many_blocking([lf], dst=TmpDst()),
    "get_status()": poll_by_hand,
    "not waited for": lambda lf: lf.remote().execute(blocking=False),
}


class Meanwhile:
    """Does something while the test's own thread runs a task; kills that, and raises in the test, what goes wrong.

    :param work: done in a thread.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self.at = 0.0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
            self.at = time.monotonic()
        except BaseException as error:
            self._error = error
            with contextlib.suppress(RuntimeError):
                kill_task()

    def join(self) -> None:
        """Wait until it is done."""
        self._thread.join()
        if self._error:
            raise self._error


def kill_task() -> None:
    """Do what Airflow does to a task that is marked failed, or whose worker is told to end.

    :raises RuntimeError: if no task runs, so that the tests would end instead.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        raise RuntimeError("no task runs that could be killed")
    os.kill(os.getpid(), signal.SIGTERM)


def when_kept(tasks: Tasks, gate: Gate, name: str, work: Callable[[], None], *, runs: int = 1) -> Meanwhile:
    """Do ``work`` once a query runs and its Run is kept: it may start before the answer to its submission is there.

    :param runs: how many have to be kept.
    """

    def wait_and_work() -> None:
        gate.wait_until_started(name)
        wait_for(
            lambda: len(tasks.stored) >= runs or None,
            START_SECONDS,
            lambda: f"{runs} Runs of {tasks.submitted}",
            interval=0.01,
        )
        work()

    return Meanwhile(wait_and_work)


def let_pass(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have time limits of queries end as if so much time had passed."""
    ahead = SimpleNamespace(time=lambda: time.time() + seconds, monotonic=time.monotonic)
    monkeypatch.setattr(lifecycle, "time", ahead)


def when_started(gate: Gate, name: str, work: Callable[[], None]) -> Meanwhile:
    """Do ``work`` once a query runs."""

    def wait_and_work() -> None:
        gate.wait_until_started(name)
        work()

    return Meanwhile(wait_and_work)
