"""Tasks that start a compute, use it and stop it, run one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from airflow_provider_polars import (
    CloudCompute,
    PolarsStartComputeOperator,
    PolarsStopComputeOperator,
    polars_task,
)
from airflow_provider_polars.kept_runs import STORE_KEY
from tests.harness.waiting import wait_for

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.harness.in_memory import InMemoryAirflow, TaskOutcome

MACHINE = {"cpus": 2, "memory": 4, "idle_timeout_mins": 600}
START_CALL = "POST workspace/*/manifest/start"
REGISTER_CALL = "POST workspace/*/manifest"
STOP_CALL = "POST workspace/*/compute/*/stop"
LOOK_CALL = "GET workspace/*/compute/*"
SECONDS = 60.0


def compute(**fields: Any) -> CloudCompute:
    """Return a small machine."""
    machine = {} if {"name", "compute_id", "instance_type"} & fields.keys() else {"cpus": 2, "memory": 4}
    idle = {} if "name" in fields else {"idle_timeout_mins": 600}
    return CloudCompute(**{**machine, **idle, **fields})


def numbers() -> Any:
    """Return a query of three rows."""
    return pl.LazyFrame({"a": [1, 2, 3]})


class CloudTasks:
    """Runs tasks of one run of a DAG in this process, each try as a real task runner does.

    :ivar run: the arguments of all tries, such as ``run_id``.
    """

    def __init__(self, airflow: InMemoryAirflow, plane: ControlPlane) -> None:
        self.airflow = airflow
        self.plane = plane
        self.run: dict[str, Any] = {"run_id": "first"}

    def start(self, asked: CloudCompute | None = None, *, task_id: str = "start", **options: Any) -> TaskOutcome:
        """Run the task that starts a compute."""
        run = {
            name: options.pop(name) for name in ("run_id", "try_number", "max_tries", "map_index") if name in options
        }
        task = PolarsStartComputeOperator(task_id=task_id, compute=asked or compute(), **options)
        return self.airflow.run_task(task, **{**self.run, **run})

    def started(self, asked: CloudCompute | None = None, **options: Any) -> dict[str, Any]:
        """Run the task that starts a compute, and return its handle."""
        outcome = self.start(asked, **options)
        if outcome.error is not None:
            raise outcome.error
        handle: dict[str, Any] = outcome.result
        return handle

    def stop(self, handle: Any, **options: Any) -> TaskOutcome:
        """Run the task that stops a compute."""
        task = PolarsStopComputeOperator(task_id="stop", compute=handle, **options)
        return self.airflow.run_task(task, max_tries=3, **self.run)

    def query(self, handle: Any, function: Any = numbers, *, task_id: str = "query", **options: Any) -> TaskOutcome:
        """Run a query on a compute."""
        run = {name: options.pop(name) for name in ("try_number", "max_tries") if name in options}
        options.setdefault("distributed", False)
        task = polars_task(task_id=task_id, compute=handle, **options)(function)
        return self.airflow.run_task(task(), **{**self.run, **run})

    def wait_until_ended(self) -> None:
        """Return when nothing of any instance is left: it has ended, and so have its processes."""
        wait_for(
            lambda: all(each["state"] in ("Stopped", "Failed") for each in self.plane.instances) or None,
            SECONDS,
            lambda: str(self.plane.instances),
            interval=0.05,
        )

    def wait_until_kept(self) -> None:
        """Return when a query is kept for the next try: it may start before the answer to its submission is there."""
        wait_for(
            lambda: any(STORE_KEY in values for values in list(self.airflow.task_state_store.values())) or None,
            SECONDS,
            lambda: "no Run is kept",
            interval=0.02,
        )

    def records(self, handle: Any, call: str = "SubmitQuery") -> list[dict[str, Any]]:
        """Return the calls for queries that an instance which lives has received, by whichever way."""
        place = f"/instances/{handle['compute_id']}" if handle["connection_mode"] == "direct" else ""
        records: list[dict[str, Any]] = self.plane.get(f"{place}/_dev/records?since=0")
        mine = [record for record in records if record.get("compute_id", handle["compute_id"]) == handle["compute_id"]]
        return [record for record in mine if record["call"] == call]


def refused(outcome: TaskOutcome) -> str:
    """Return class and message of the error of a task that is not tried again."""
    assert outcome.state == "failed", f"{outcome.state}: {outcome.error}"
    return f"{type(outcome.error).__name__}: {outcome.error}"


def retried(outcome: TaskOutcome) -> str:
    """Return class and message of the error of a task that is tried again."""
    assert outcome.state == "up_for_retry", f"{outcome.state}: {outcome.error}"
    return f"{type(outcome.error).__name__}: {outcome.error}"
