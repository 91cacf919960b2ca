"""A backend that runs nothing and says what a script says, and a store that tells what it kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

# Its first import sets logging up, which within a test would take the lines from caplog.
import airflow.sdk.observability.stats  # noqa: F401

from airflow_provider_polars.backends.base import Backend, Run, RunState, RunStatus, Submission
from airflow_provider_polars.compute.local import LocalCompute
from airflow_provider_polars.kept_runs import Try
from airflow_provider_polars.lifecycle import Lifecycle
from airflow_provider_polars.query.result import ResultRef
from airflow_provider_polars.query.sinks import ParquetSink
from tests.unit.backends.local_runs import LOG, MemoryStore, submission

Statuses = list[RunStatus | Exception]
QUEUED, RUNNING = RunStatus(state=RunState.QUEUED), RunStatus(state=RunState.RUNNING)
SUCCEEDED, LOST = RunStatus(state=RunState.SUCCEEDED), RunStatus(state=RunState.LOST)


def failed(error: Exception | None) -> RunStatus:
    return RunStatus(state=RunState.FAILED, error=error)


class Cluster:
    """A compute that outlives the processes of its tasks: what it is told, and the script it follows.

    :ivar obeys: whether a query that is cancelled ends at once.
    :ivar adoptable: whether a later try may take over what is submitted now.
    :ivar handed_over: whether a submission that fails may have been heard.
    :ivar place: which compute it is.
    """

    def __init__(self) -> None:
        self.events: list[str] = []
        self.statuses: dict[str, Statuses] = {}
        self.submit_errors: dict[str, Exception] = {}
        self.result_error: Exception | None = None
        self.watching = threading.Event()
        self.obeys = True
        self.adoptable = True
        self.handed_over = False
        self.place = ""

    def status_of(self, query_id: str) -> RunStatus:
        """Return the next status of the script, or raise it if it is an error; the last one stays."""
        script = self.statuses.get(query_id, [LOST])
        status = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(status, Exception):
            raise status
        return status


class ScriptedBackend(Backend[LocalCompute]):
    """Runs nothing; says what the script of its cluster says."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(LocalCompute())
        self.cluster = cluster

    def submit(self, submission: Submission, keep: Callable[[Run], None]) -> None:
        for output in submission.outputs:
            if error := self.cluster.submit_errors.get(output.name):
                raise error
            query_id = f"q{sum(event.startswith('submit') for event in self.cluster.events) + 1}"
            self.cluster.events.append(f"submit {query_id}")
            run = Run(
                query_id=query_id,
                output=output.name,
                compute=self.compute.to_dict(),
                submitted_at=time.time(),
                details={"node": 3},
                adoptable=self.cluster.adoptable,
            )
            keep(run)

    @property
    def handed_over(self) -> bool:
        return self.cluster.handed_over

    @property
    def place(self) -> str:
        return self.cluster.place

    def poll(self, run: Run) -> RunStatus:
        return self.cluster.status_of(run.query_id)

    def watch(self, runs: Sequence[Run], seconds: float) -> None:
        self.cluster.watching.set()

    def cancel(self, runs: Sequence[Run]) -> None:
        for run in runs:
            self.cluster.events.append(f"cancel {run.query_id}")
            last = self.cluster.statuses.get(run.query_id, [LOST])[-1]
            if self.cluster.obeys and isinstance(last, RunStatus) and not last.state.is_terminal:
                self.cluster.statuses[run.query_id] = [RunStatus(state=RunState.CANCELLED)]

    def result(self, run: Run) -> ResultRef:
        if self.cluster.result_error is not None:
            raise self.cluster.result_error
        self.cluster.events.append(f"result {run.query_id}")
        return ResultRef.build(
            locations=["/r"],
            root="/r",
            format="parquet",
            rows=1,
            bytes=1,
            schema=[],
            query_id=run.query_id,
            timings={},
        )

    def close(self) -> None:
        self.cluster.events.append("close")


class RecordingStore(MemoryStore):
    """A store that says in the cluster's list of events what it kept, and refuses what is not JSON."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster

    def set(self, key: str, value: Any) -> None:
        super().set(key, json.loads(json.dumps(value)))
        self.cluster.events.append("store " + " ".join(run["query_id"] for run in value["runs"]))

    def delete(self, key: str) -> None:
        super().delete(key)
        self.cluster.events.append("forget")


class Tries:
    """Tries of one task, each in a process of its own: what is announced is an event of the cluster too."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.store = RecordingStore(self.cluster)
        self.number = 0

    def new(self, max_tries: int = 9, attempt: Try | None = None, **options: Any) -> Lifecycle:
        """Return the life cycle of another try, the first one after a clear where ``max_tries`` is another."""
        self.number += 1
        return Lifecycle(
            ScriptedBackend(self.cluster),
            self.store,
            attempt=attempt or Try(self.number, max_tries, 1),
            log=LOG,
            announce=lambda run: self.cluster.events.append(f"announce {run.query_id}"),
            **options,
        )

    def leave_behind(self, given: Submission) -> None:
        """Let a try die right after it stored its Runs, as by a power cut; they run on."""
        runs = self.new()._begin(given)
        self.cluster.statuses = {run.query_id: [RUNNING] for run in runs}
        self.cluster.events[:] = [event for event in self.cluster.events if event.startswith("submit")]


def one(**options: Any) -> Submission:
    return submission("package:query", ParquetSink("/data/a"), **options)


def two(**options: Any) -> Submission:
    return submission("package:query", {name: ParquetSink(f"/data/{name}") for name in "ab"}, **options)
