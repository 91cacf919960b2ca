"""A cell under way: its task, its query, its instance, and what becomes of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import polars as pl

from airflow_provider_polars.dev_cluster.dev_client import DevApiError
from airflow_provider_polars.labels import airflow_labels
from airflow_provider_polars.marks import Owner
from tests.faults.cells import CLUSTER, DIRECT, LOCAL, Cell, Fault, Outcome
from tests.faults.world import DEPLOYMENT, World
from tests.harness.rest_client import RestError
from tests.harness.waiting import wait_for

T = TypeVar("T")
SECONDS = 600.0
NOT_FOUND, SERVER_ERROR = 404, 500
POLL = 0.5
TASK = "query"
OVER = ("success", "failed", "skipped", "upstream_failed", "removed")


class Case:
    """The run of one cell."""

    size = 1
    """How many instances the task has."""

    def __init__(self, world: World, fault: Fault, cell: Cell) -> None:
        self.world = world
        self.rest = world.rest
        self.fault = fault
        self.cell = cell
        self.cluster = world.take_cluster() if cell.backend == CLUSTER else None
        self.dag_id = "_".join(filter(None, ("faults", cell.backend, cell.mode, fault.variant)))
        self.run_id = f"{fault.name}-{time.time_ns():x}"
        self.folder = world.folder / self.run_id
        self.folder.mkdir()
        self._submissions: list[dict[str, Any]] = []
        self._queries: dict[str, str] = {}

    def trigger(self, **conf: Any) -> None:
        """Run the DAG."""
        conf = {"folder": str(self.folder), **(self.fault.conf or {}), **conf}
        if self.cluster is not None:
            conf |= {"uri": self.cluster.uri, "observatory": self.cluster.observatory}
        self.rest.wait_for_dag(self.dag_id)
        self.rest.trigger(self.dag_id, conf=conf, run_id=self.run_id)

    # -- waiting ------------------------------------------------------------------------------------------------------

    def wait(self, probe: Callable[[], T | None], what: str, seconds: float = SECONDS, interval: float = 0.05) -> T:
        """Wait until a probe has found something; an Airflow that does not answer now has not."""

        def look() -> T | None:
            try:
                return probe()
            except (httpx.TransportError, RestError) as error:
                if isinstance(error, RestError) and error.status < SERVER_ERROR and error.status != NOT_FOUND:
                    raise
                return None

        return wait_for(look, seconds, lambda: f"{what}\n{self.told()}", interval=interval)

    def task(self) -> dict[str, Any]:
        """Return the task instance."""
        return self.rest.task_instance(self.dag_id, self.run_id, TASK)

    def tasks(self) -> list[dict[str, Any]]:
        """Return all instances of the task."""
        return [task for task in self.rest.task_instances(self.dag_id, self.run_id) if task["task_id"] == TASK]

    def wait_for_state(self, *states: str, number: int = 0) -> None:
        """Wait until the task is in one of the states, in that try or a later one."""

        def reached() -> bool | None:
            task = self.task()
            return (task["state"] in states and task["try_number"] >= number) or None

        self.wait(reached, f"{states} of try {number}", interval=POLL)

    def held(self, point: str) -> dict[str, int]:
        """Wait until the task is held at a point; return the ids of its process and of its supervisor."""
        return self._json(f"{point}.held")

    def release(self, point: str) -> None:
        """Let a task that is held go on."""
        (self.folder / f"{point}.go").touch()

    def wait_until_begun(self, number: int = 1) -> dict[str, Any]:
        """Wait until a try has submitted its query, or adopted one; return the ids of process, supervisor, queries."""
        return self._json(f"{number}.begun")

    def wait_until_started(self, number: int = 1) -> int:
        """Wait until the query of a try runs; return the id of its process."""
        file = self.folder / f"{number}.starts"

        def last() -> int | None:
            """Return the last id; a moment after the file is made it is empty."""
            pids = file.read_text().split() if file.exists() else []
            return int(pids[-1]) if pids else None

        return self.wait(last, f"start of {file.name}")

    def wait_until_awaited(self) -> dict[str, Any]:
        """Wait until the query runs, and its task or a trigger waits for it; see :meth:`wait_until_begun`."""
        begun = self.wait_until_begun()
        self.wait_until_started()
        if self.cell.mode == "deferred":
            self.wait_until_triggered()
        return begun

    def wait_until_triggered(self, not_by: int | None = None) -> dict[str, Any]:
        """Wait until a trigger runs for the task; return the job of its triggerer.

        One that Airflow has not begun to run when its task ends is never told.

        :param not_by: the job of one that does not count.
        """

        def triggered() -> dict[str, Any] | None:
            jobs = [task["triggerer_job"] for task in self.tasks() if task["state"] == "deferred"]
            there = len(jobs) == self.size and all(job and job["id"] != not_by for job in jobs)
            return dict(jobs[0]) if there else None

        job = self.wait(triggered, f"a triggerer, not {not_by}", interval=POLL)
        if self.size == 1 and not_by is None:
            self.wait_for_word_of(job["id"], "starting")
        return job

    def wait_for_word_of(self, job: int, words: str) -> None:
        """Wait until a triggerer has said something in the log of the first try of the task."""
        folder = self.world.stack.home / "task_logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"
        file = folder / f"task_id={TASK}" / f"attempt=1.log.trigger.{job}.log"
        self.wait(lambda: (file.exists() and words in file.read_text()) or None, f"{words!r} in {file.name}")

    def wait_for_hits(self, fault: int, hits: int) -> None:
        """Wait until so many calls have gone wrong."""
        self.wait(lambda: self.faults.hits(fault) >= hits or None, f"{hits} calls that go wrong")

    def open(self, name: str = "all") -> None:
        """Let queries end: those of a try, or all."""
        (self.folder / f"{name}.go").touch()

    # -- hitting ------------------------------------------------------------------------------------------------------

    def kill(self, pid: int, signum: signal.Signals = signal.SIGKILL) -> None:
        """Signal a process."""
        os.kill(pid, signum)

    def set_run_state(self, state: str) -> None:
        """Mark the run, as a user does."""
        self.rest.request("PATCH", f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}", body={"state": state})

    @property
    def faults(self) -> Any:
        """Faults of what takes the queries and tells of them."""
        if self.cluster is not None:
            return self.cluster.faults
        return self.world.plane.faults_of(self.instance_id) if self.cell.backend == DIRECT else self.world.plane.faults

    @property
    def instances(self) -> list[dict[str, Any]]:
        """Instances that were started for the run."""
        owner = Owner(deployment=DEPLOYMENT, dag_id=self.dag_id, run_id=self.run_id, task_id="etl_start_compute")
        return [instance for instance in self.world.plane.instances if instance["name"] == owner.mark]

    @property
    def instance_id(self) -> str:
        """Id of the newest one."""
        return str(self.instances[-1]["id"])

    def restart_scheduler(self, *, memory: bool) -> None:
        """Restart the Polars scheduler of the query."""
        if self.cluster is not None:
            self.cluster.restart(memory=memory)
        else:
            self.world.plane.restart(self.instance_id, memory=memory)

    def kill_worker(self) -> None:
        """End the process that the query runs in."""
        (running,) = [query for query in self._all_queries() if query["state"] == "IN_PROGRESS"]
        if self.cluster is not None:
            self.cluster.kill_worker(running["workers"][0])
        else:
            self.world.plane.kill_worker(self.instance_id, running["workers"][0])

    # -- its end ------------------------------------------------------------------------------------------------------

    def conclude(self) -> str:
        """Let the query of the last try end, and wait for the end of the task; return its state."""

        def ended() -> str | None:
            task = self.task()
            if task["state"] in OVER:
                return str(task["state"])
            if (
                self.fault.opens
                and (self.folder / f"{task['try_number']}.begun").exists()
                and (starts := self._starts())
            ):
                self.open(str(max(starts)))
            return None

        return self.wait(ended, "end of the task", interval=POLL)

    def measure(self, state: str) -> Outcome:
        """Return what has become of everything once the task has ended; ends the run."""
        deadline = time.monotonic() + self.fault.settle
        while (running := self.running()) and time.monotonic() < deadline:
            time.sleep(POLL)
        submissions = len(self.submissions()) if self.cell.backend != LOCAL else sum(self._starts().values())
        self.release("stop")
        if self.cell.is_cloud:
            self.wait(self._run_over, "end of the run", interval=POLL)
        instances = self.instances if self.cell.is_cloud else []
        left = [instance for instance in instances if instance["state"] not in ("Stopped", "Failed")]
        return Outcome(submissions, running, len(instances), len(left), self.rows(), state)

    def clean(self) -> None:
        """Let everything end that still runs."""
        self.open()
        self.release("stop")
        for point in ("before_submit", "between", "after_store", "after_result", "before_report"):
            self.release(point)
        with contextlib.suppress(RestError, httpx.TransportError):
            if not self._run_over():
                self.set_run_state("failed")
        if self.cluster is not None:
            self.world.give_back(self.cluster)

    def _run_over(self) -> bool | None:
        return self.rest.get(f"/dags/{self.dag_id}/dagRuns/{self.run_id}")["state"] in ("success", "failed") or None

    def submissions(self) -> list[str]:
        """Return the ids of queries of the task that were taken in."""
        self._look()
        return [
            call["query_id"]
            for call in self._submissions
            if call.get("query_id") and "refused" not in call and self.is_own(call["labels"])
        ]

    def running(self) -> int:
        """Return how many queries of the task run, or will."""
        if self.cell.backend == LOCAL:
            return sum(_is_alive(pid) for pid in self._unfinished())
        return sum(self._queries.get(query_id) in ("SCHEDULED", "IN_PROGRESS") for query_id in self.submissions())

    def is_own(self, labels: list[str]) -> bool:
        """Say whether a query with these labels is of the task."""
        return set(airflow_labels(self.dag_id, TASK, self.run_id)) <= set(labels)

    def _look(self) -> None:
        """Ask what takes the queries, if it is there."""
        if self.cluster is not None:
            self._submissions, queries = self.cluster.recorder.submissions, self.cluster.queries
        else:
            plane = self.world.plane
            if not (instances := self.instances):
                return
            of_instance = f"/instances/{instances[-1]['id']}/_dev"
            try:
                queries = plane.get(f"{of_instance}/queries")
                records = plane.get(f"{of_instance}/records") if self.cell.backend == DIRECT else plane.recorder.calls()
            except DevApiError:  # it has ended, and what ran there
                self._queries = {}
                return
            self._submissions = [record for record in records if record["call"] == "SubmitQuery"]
        self._queries = {query["id"]: query["state"] for query in queries}

    def _all_queries(self) -> list[dict[str, Any]]:
        if self.cluster is not None:
            return [query for query in self.cluster.queries if self.is_own(query["labels"])]
        return list(self.world.plane.get(f"/instances/{self.instance_id}/_dev/queries"))

    def _starts(self) -> dict[int, int]:
        """Return how often the queries of each try have started."""
        return {int(file.stem): len(file.read_text().split()) for file in self.folder.glob("*.starts")}

    def _unfinished(self) -> list[int]:
        found = []
        for file in self.folder.glob("*.starts"):
            ends = file.with_suffix(".ends")
            ended = ends.read_text().split() if ends.exists() else []
            found += [int(pid) for pid in file.read_text().split() if pid not in ended]
        return found

    def rows(self) -> int:
        """Return the number of rows at the target."""
        return self.rows_in(self.folder)

    @staticmethod
    def rows_in(folder: Path) -> int:
        """Return the number of rows at the target in a folder."""
        files = [file for file in (folder / "result").glob("*.parquet") if not file.name.startswith(".")]
        return sum(pl.scan_parquet(file).select(pl.len()).collect().item() for file in files)

    def _json(self, name: str) -> dict[str, Any]:
        file = self.folder / name
        return dict(self.wait(lambda: json.loads(file.read_text()) if file.exists() else None, name))

    def told(self) -> str:
        """Return what there is to know when a wait was in vain."""
        there = sorted(file.name for file in self.folder.iterdir())
        try:
            states = self.rest.task_states(self.dag_id, self.run_id)
            log = self.rest.log_text(self.dag_id, self.run_id, TASK)[-6000:]
        except Exception as error:
            states, log = {}, repr(error)
        return f"{self.cell.name} {self.run_id}: {states} {there} {self._queries}\n{log}"


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
