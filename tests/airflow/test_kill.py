"""Killed tasks on real Airflow processes: their queries end at once, and nothing good is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from tests.harness.rest import AirflowRest
from tests.harness.stack import AirflowStack
from tests.harness.waiting import wait_for

START_TIMEOUT = 180.0
END_TIMEOUT = 60.0
DEADLINE = 5
AT_ONCE = 4.0
"""Seconds within which a query ends once its task has been told to: about one, and before Airflow's SIGKILL after 5."""

PLACES = ("in_process", "in_runner")
each_place = pytest.mark.parametrize("place", PLACES)


@dataclass(frozen=True)
class Kills:
    """A run of one of the DAGs of slow queries, and the folder that they tell their process ids in."""

    stack: AirflowStack
    dag_id: str
    run_id: str
    folder: Path

    @property
    def rest(self) -> AirflowRest:
        """Client of the API server."""
        return self.stack.rest

    def running_query(self, name: str) -> dict[str, int]:
        """Wait until the query runs; return the process ids of its task and of itself."""
        file = self.folder / f"{name}.json"
        wait_for(lambda: file.exists() or None, START_TIMEOUT, lambda: f"query {name}\n{self.rest.diagnose()}")
        ids: dict[str, int] = json.loads(file.read_text())
        return ids

    def failure(self, task_id: str, error: str) -> str:
        """Wait until the task has failed; return its log, which names ``error``."""
        assert self.rest.wait_for_task(self.dag_id, self.run_id, task_id) == "failed"
        return self.rest.wait_for_log(self.dag_id, self.run_id, task_id, error)

    def staged(self, task_id: str) -> set[Path]:
        """Return the folders in which tries of the task stage their result."""
        return set(self.folder.glob(f".{task_id}.parquet.*.staging"))


@pytest.fixture(scope="module")
def killed(airflow_stack: AirflowStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kills]:
    """Start one slow query for each place and way to end."""
    yield from start(airflow_stack, "killed", tmp_path_factory.mktemp("killed"))


@pytest.fixture(scope="module")
def retried(airflow_stack: AirflowStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kills]:
    """Start the tasks that are retried, with an earlier result where each writes."""
    folder = tmp_path_factory.mktemp("retried")
    for place in PLACES:
        pl.DataFrame({"name": ["earlier"]}).write_parquet(folder / f"{place}.parquet")
    yield from start(airflow_stack, "killed_and_retried", folder)


def start(stack: AirflowStack, dag_id: str, folder: Path) -> Iterator[Kills]:
    """Run the DAG until the tests are done with it."""
    stack.rest.wait_for_dag(dag_id)
    run_id = stack.rest.trigger(dag_id, conf={"folder": str(folder)})
    yield Kills(stack, dag_id, run_id, folder)
    stack.rest.request("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", body={"state": "failed"})


def ended(*pids: int) -> bool:
    """Say whether no process of these ids runs any more."""
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                return False
    return True


def wait_until_ended(*pids: int) -> None:
    """Wait until no process of these ids runs any more."""
    wait_for(lambda: ended(*pids) or None, END_TIMEOUT, lambda: f"end of {pids}", interval=0.01)


def logged_at(log: str, text: str) -> float:
    """Return when the first line with ``text`` was logged, in epoch seconds."""
    line = next(line for line in log.splitlines() if text in line)
    return datetime.fromisoformat(line.split()[0].replace("Z", "+00:00")).timestamp()


def runners(home: Path) -> list[str]:
    """Return the process ids of the runners that were started from the Airflow of this home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            started_here = f"AIRFLOW_HOME={home}\0".encode() in (process / "environ").read_bytes()
            if started_here and b"airflow_provider_polars/runner\0" in (process / "cmdline").read_bytes():
                found.append(process.name)
    return found


@each_place
@pytest.mark.parametrize(
    ("way", "error"),
    [("execution_timeout", "AirflowTaskTimeout"), ("timeout", "QueryTimeoutError: query ")],
    ids=["execution_timeout", "timeout"],
)
def test_query_ends_at_its_deadline(killed: Kills, place: str, way: str, error: str) -> None:
    """Airflow's ``execution_timeout`` and the task's own ``timeout`` of five seconds both end the query."""
    ids = killed.running_query(f"{way}_{place}")
    log = killed.failure(f"{way}_{place}", error)
    lasted = logged_at(log, "Task failed with exception") - logged_at(log, "Submitted query")
    assert lasted < DEADLINE + AT_ONCE
    assert f"did not end within timeout={DEADLINE} seconds" in log or way == "execution_timeout"
    wait_until_ended(ids["query"], ids["task"])


@each_place
def test_query_ends_at_once_when_its_task_is_terminated(killed: Kills, place: str) -> None:
    """A termination signal to the task's process ends the query, and the task fails as cancelled."""
    task_id = f"terminated_{place}"
    ids = killed.running_query(task_id)
    assert (ids["query"] != ids["task"]) == (place == "in_runner")
    assert bool(runners(killed.stack.home)) or place == "in_process"
    sent = time.monotonic()
    os.kill(ids["task"], signal.SIGTERM)
    wait_until_ended(ids["query"])
    assert time.monotonic() - sent < AT_ONCE
    assert "was cancelled" in killed.failure(task_id, "QueryCancelledError: The task was killed")


@each_place
def test_query_in_native_code_ends_when_its_task_is_marked_failed(killed: Kills, place: str) -> None:
    """Once Airflow notices and signals the task, the query ends at once, although it never comes back to Python."""
    task_id = f"marked_{place}"
    ids = killed.running_query(task_id)
    killed.rest.set_task_state(killed.dag_id, killed.run_id, task_id, "failed")
    wait_until_ended(ids["query"], ids["task"])
    end = time.time()
    log = killed.rest.wait_for_log(killed.dag_id, killed.run_id, task_id, "QueryCancelledError: The task was killed")
    assert end - logged_at(log, "Terminating process") < AT_ONCE


def test_killed_queries_leave_nothing(killed: Kills) -> None:
    """Neither runners nor staged files nor results are left of any of them."""
    assert killed.rest.wait_for_run(killed.dag_id, killed.run_id) == "failed"
    wait_for(lambda: not runners(killed.stack.home) or None, END_TIMEOUT, lambda: "end of the runners")
    tasks = killed.rest.task_states(killed.dag_id, killed.run_id)
    assert set(tasks.values()) == {"failed"}
    assert [path for task_id in tasks for path in killed.staged(task_id)] == []
    assert list(killed.folder.glob("*.parquet")) == []


@each_place
def test_retry_after_a_lost_process_replaces_the_earlier_result_only_at_its_end(retried: Kills, place: str) -> None:
    """A killed process takes its query along; the retry removes what it staged; only success replaces the result."""
    result = retried.folder / f"{place}.parquet"
    first = retried.running_query(f"{place}-1")
    staged_first = retried.staged(place)
    assert len(staged_first) == 1
    os.kill(first["task"], signal.SIGKILL)
    wait_until_ended(first["query"])
    second = retried.running_query(f"{place}-2")
    assert ended(first["task"], first["query"])
    assert len(retried.staged(place)) == 1
    assert not retried.staged(place) & staged_first
    assert pl.read_parquet(result)["name"].to_list() == ["earlier"]
    (retried.folder / f"{place}-2.go").touch()
    assert retried.rest.wait_for_task(retried.dag_id, retried.run_id, place) == "success"
    assert retried.rest.task_instance(retried.dag_id, retried.run_id, place)["try_number"] == 2
    assert pl.read_parquet(result)["name"].to_list() == [f"{place}-2"]
    assert retried.staged(place) == set()
    wait_until_ended(second["task"], second["query"])
