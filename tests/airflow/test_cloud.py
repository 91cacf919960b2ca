"""Instances of Polars Cloud on real Airflow processes: started once, and gone at the end, whatever happens between.

The control plane is the development one; scheduler, workers, triggerer and client are real. Each test looks at the
recorder and at the process table: one start for each compute, and no process of an instance left.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.dev_cluster.registry import started_at
from airflow_provider_polars.marks import Owner
from airflow_provider_polars.testing import ControlPlane, start_control_plane
from tests.harness.rest import AirflowRest
from tests.harness.rest_client import RestError
from tests.harness.stack import AirflowStack
from tests.harness.waiting import wait_for

DAGS = Path(__file__).parent / "cloud_dags"
DEPLOYMENT = "stack"
SECONDS = 240.0
STARTING_SECONDS, STOPPING_SECONDS = 4, 4
START_CALL, STOP_CALL = "POST workspace/*/manifest/start", "POST workspace/*/compute/*/stop"
pytestmark = pytest.mark.own_stack


@dataclass(frozen=True)
class Run:
    """A run of one of the DAGs, and the folder that its queries tell of themselves in."""

    rest: AirflowRest
    plane: ControlPlane
    dag_id: str
    run_id: str
    folder: Path

    def instances(self, start: str = "etl.start_compute", map_index: int = -1) -> list[dict[str, Any]]:
        """Return the instances that were started for the run, oldest first, as their mark tells."""
        owner = Owner(deployment=DEPLOYMENT, dag_id=self.dag_id, run_id=self.run_id, task_id=start, map_index=map_index)
        return [instance for instance in self.plane.instances if instance["name"] == owner.mark]

    def instance_in(self, *states: str) -> dict[str, Any]:
        """Wait until the newest instance of the run is in one of the states, and return it."""

        def look() -> dict[str, Any] | None:
            found = self.instances()
            return found[-1] if found and found[-1]["state"] in states else None

        return wait_for(look, SECONDS, lambda: f"{states}: {self.instances()}\n{self.told()}", interval=0.02)

    def kill_task(self, task_id: str) -> None:
        """End the process of a task that runs, by SIGKILL."""
        title = f"airflow worker -- {self.rest.task_instance(self.dag_id, self.run_id, task_id)['id']}"
        (pid,) = wait_for(lambda: processes(title) or None, SECONDS, lambda: f"a process {title!r}\n{self.told()}")
        os.kill(pid, signal.SIGKILL)

    def wait_until_started(self, name: str) -> int:
        """Wait until a query runs on the instance; return the process id of its task."""
        starts = self.folder / f"{name}.starts"
        wait_for(lambda: starts.exists() or None, SECONDS, self.told)
        return int((self.folder / f"{name}.task").read_text())

    def wait_until_kept(self, task_id: str) -> None:
        """Wait until a task has kept what it takes to find its query again; the query may start before that."""

        def kept() -> bool | None:
            with contextlib.suppress(RestError):
                return bool(self.rest.xcom(self.dag_id, self.run_id, task_id, "polars_queries"))
            return None

        wait_for(kept, SECONDS, self.told)

    def wait_for_link(self, task_id: str, name: str) -> str:
        """Wait until a task has an extra link, and return its address."""
        return wait_for(
            lambda: str(self.rest.extra_links(self.dag_id, self.run_id, task_id).get(name) or "") or None,
            SECONDS,
            self.told,
        )

    def starts(self, name: str) -> int:
        """Return how often a query has started."""
        return (self.folder / f"{name}.starts").stat().st_size

    def go(self, name: str) -> None:
        """Let a query end."""
        (self.folder / f"{name}.go").touch()

    def end(self) -> str:
        """Wait for the end of the run, and of all that it has started; return its state."""
        state = self.rest.wait_for_run(self.dag_id, self.run_id, timeout=SECONDS)
        for index in (-1, 0, 1, 2):
            for instance in self.instances(map_index=index) or self.instances("region.etl.start_compute", index):
                assert instance["state"] in ("Stopped", "Failed"), f"{instance}\n{self.told()}"
                assert [pid for pid in instance["pids"] if started_at(pid) is not None] == []
        return state

    def tries(self, task_id: str) -> int:
        """Return which try of a task is the last."""
        return int(self.rest.task_instance(self.dag_id, self.run_id, task_id)["try_number"])

    def told(self) -> str:
        """Return what there is to know when a wait was in vain."""
        states = self.rest.task_states(self.dag_id, self.run_id)
        return f"{self.dag_id} {self.run_id}: {states}\n{self.plane.instances}\n{self.rest.diagnose()}"


def processes(title: str) -> list[int]:
    """Return the ids of the processes of that title."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace") == title:
                found.append(int(process.name))
    return found


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Run a control plane whose instances take some seconds to start and to stop."""
    times = ("--starting-seconds", str(STARTING_SECONDS), "--stopping-seconds", str(STOPPING_SECONDS))
    with start_control_plane(*times) as plane:
        yield plane


@pytest.fixture(scope="module")
def stack(plane: ControlPlane) -> Iterator[AirflowStack]:
    """Start Airflow with a connection to the control plane, and without the account in the environment."""
    connection = {"conn_type": "polars_cloud", "login": plane.account.id, "password": plane.account.secret}
    leading = {name: value for name, value in plane.environment.items() if name.startswith(("POLARS_", "SSL_"))}
    own = {
        "POLARS_CLOUD_CLIENT_ID": "",
        "POLARS_CLOUD_CLIENT_SECRET": "",
        "AIRFLOW_CONN_POLARS_CLOUD_DEFAULT": json.dumps(connection),
        "AIRFLOW__POLARS__DEPLOYMENT_ID": DEPLOYMENT,
        "AIRFLOW__POLARS__VCPU_HOUR_PRICE": "0.05",
        "AIRFLOW__CORE__PARALLELISM": "8",
    }
    with AirflowStack(DAGS, env=leading | own) as stack:
        yield stack


@pytest.fixture(scope="module")
def trigger(stack: AirflowStack, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Return ``trigger(dag_id, **params)``, which runs a DAG."""

    def start(dag_id: str, **params: Any) -> Run:
        folder = tmp_path_factory.mktemp(dag_id)
        stack.rest.wait_for_dag(dag_id)
        run_id = stack.rest.trigger(dag_id, conf={"folder": str(folder), **params})
        return Run(stack.rest, plane, dag_id, run_id, folder)

    return start


@pytest.fixture(scope="module", autouse=True)
def undisturbed(trigger: Callable[..., Run]) -> dict[str, Run]:
    """Trigger the runs that nothing disturbs, to go on beside the other tests."""
    return {
        "direct": trigger("cloud_sales", mode="direct"),
        "proxy": trigger("cloud_sales", mode="proxy"),
        "broken": trigger("cloud_broken"),
        "regions": trigger("cloud_regions"),
        "twenty": trigger("cloud_twenty", mode="proxy"),
    }


@pytest.mark.parametrize("mode", ["direct", "proxy"])
def test_tasks_share_one_instance_which_is_gone_at_the_end(undisturbed: dict[str, Run], mode: str) -> None:
    run = undisturbed[mode]

    assert run.end() == "success"

    (instance,) = run.instances()
    assert pl.read_parquet(run.folder / "by_customer").to_dicts() == [
        {"customer_id": 1, "amount": 1},
        {"customer_id": 2, "amount": 5},
    ]
    report = run.rest.xcom(run.dag_id, run.run_id, "etl.stop_compute")
    assert (report["compute_id"], report["vcpus"], report["end"]) == (instance["id"], 4, "StoppedByUser")
    assert report["minutes"] == pytest.approx(instance["billable_seconds"] / 60, abs=0.3)
    assert report["cost"] == pytest.approx(report["minutes"] / 60 * 4 * 0.05, abs=1e-3)


def test_a_task_that_fails_leaves_nothing(undisturbed: dict[str, Run]) -> None:
    run = undisturbed["broken"]

    assert run.end() == "failed"

    assert len(run.instances()) == 1
    states = run.rest.task_states(run.dag_id, run.run_id)
    assert (states["etl.after"], states["etl.stop_compute"]) == ("upstream_failed", "success")


def test_start_query_and_stop_that_are_killed_go_on_with_the_same_instance_and_query(
    trigger: Callable[..., Run],
) -> None:
    run = trigger("cloud_held")

    started = run.instance_in("Starting")
    run.kill_task("etl.start_compute")
    process = run.wait_until_started("held")
    run.wait_until_kept("etl.held")
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: run.tries("etl.held") == 2 or None, SECONDS, run.told)
    run.rest.wait_for_log(run.dag_id, run.run_id, "etl.held", "Adopted query", try_number=2, timeout=SECONDS)
    run.go("held")
    run.instance_in("Stopping")
    run.kill_task("etl.stop_compute")

    assert run.end() == "success"
    assert [instance["id"] for instance in run.instances()] == [started["id"]]
    assert run.starts("held") == 1
    assert (run.tries("etl.start_compute"), run.tries("etl.held"), run.tries("etl.stop_compute")) == (2, 2, 2)


def test_a_run_that_is_marked_failed_stops_its_query_and_its_instance(trigger: Callable[..., Run]) -> None:
    run = trigger("cloud_held", mode="proxy")
    run.wait_until_started("held")
    run.wait_until_kept("etl.held")
    instance = run.instance_in("Idle", "Running")
    assert run.wait_for_link("etl.start_compute", "Polars compute").endswith(f"/compute/{instance['id']}")
    assert "/queries/" in run.wait_for_link("etl.held", "Polars query")
    assert run.rest.task_states(run.dag_id, run.run_id)["etl.held"] == "running"

    run.rest.request("PATCH", f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}", body={"state": "failed"})

    run.instance_in("Stopped")
    assert run.end() == "failed"
    assert len(run.instances()) == 1
    assert run.rest.wait_for_task(run.dag_id, run.run_id, "etl.stop_compute") == "success"


def test_a_start_that_is_marked_failed_stops_what_it_has_started(trigger: Callable[..., Run]) -> None:
    run = trigger("cloud_held")
    run.instance_in("Starting")

    run.rest.set_task_state(run.dag_id, run.run_id, "etl.start_compute", "failed")

    run.instance_in("Stopped")
    assert run.end() == "failed"
    assert len(run.instances()) == 1
    assert run.rest.task_states(run.dag_id, run.run_id)["etl.stop_compute"] == "upstream_failed"


def test_a_cleared_task_uses_the_instance_that_lives_and_else_a_new_one(trigger: Callable[..., Run]) -> None:
    run = trigger("cloud_pair")
    run.wait_until_started("held")
    run.go("quick")
    assert run.rest.wait_for_task(run.dag_id, run.run_id, "etl.quick") == "success"

    run.rest.clear(run.dag_id, run.run_id, ["etl.quick"])  # Airflow clears start and stop along with it
    wait_for(lambda: run.starts("quick") == 2 or None, SECONDS, run.told)
    assert len(run.instances()) == 1
    run.go("held")
    assert run.end() == "success"
    assert len(run.instances()) == 1

    run.rest.clear(run.dag_id, run.run_id, ["etl.quick"])
    wait_for(lambda: run.starts("quick") == 3 or None, SECONDS, run.told)
    assert run.end() == "success"
    assert len(run.instances()) == 2
    assert (run.starts("held"), run.starts("quick")) == (1, 3)


def test_each_index_of_a_mapped_group_has_its_own_and_a_clear_boots_for_nobody_else(
    undisturbed: dict[str, Run],
) -> None:
    run = undisturbed["regions"]
    start = "region.etl.start_compute"
    assert run.end() == "success"
    assert [len(run.instances(start, index)) for index in range(3)] == [1, 1, 1]

    run.rest.clear(run.dag_id, run.run_id, [("region.etl.customers", 1)])

    wait_for(lambda: len(run.instances(start, 1)) == 2 or None, SECONDS, run.told)
    assert run.end() == "success"
    assert [len(run.instances(start, index)) for index in range(3)] == [1, 2, 1]
    states = run.rest.task_states(run.dag_id, run.run_id)
    assert [states[f"{start}[{index}]"] for index in range(3)] == ["skipped", "success", "skipped"]
    assert {states[f"region.etl.customers[{index}]"] for index in range(3)} == {"success"}


def test_twenty_tasks_share_one_instance(undisturbed: dict[str, Run]) -> None:
    twenty = undisturbed["twenty"]
    assert twenty.end() == "success"

    (instance,) = twenty.instances()
    calls = [call for call in twenty.plane.recorder.calls() if call.get("compute_id") == instance["id"]]
    submitted = [call["query_id"] for call in calls if call["call"] == "SubmitQuery"]
    assert len(set(submitted)) == len(submitted) == 20
    names = [call["call"] for call in calls]
    assert [names.count(name) for name in (START_CALL, STOP_CALL)] == [1, 1]


def test_a_sweep_finds_nothing_to_stop(trigger: Callable[..., Run], plane: ControlPlane) -> None:
    """It runs last of those that start: what the tests before have left would be among what it stops."""
    run = trigger("cloud_sweep")
    assert run.end() == "success"
    assert run.rest.xcom(run.dag_id, run.run_id, "sweep")["stopped"] == []
    assert plane.running == []


def test_no_secret_is_in_what_airflow_keeps(stack: AirflowStack, plane: ControlPlane) -> None:
    """The database, all logs and rendered fields are searched for the secret and for tokens of the account."""
    token = base64.b64encode(json.dumps({"sub": plane.account.id}, separators=(",", ":")).encode()[:36])[:40]
    needles = [plane.account.secret.encode(), token]
    assert token.decode() in plane.access_token()
    files = [file for file in stack.home.rglob("*") if file.is_file()]
    assert any(file.name == "airflow.db" for file in files)
    assert len(files) > 30
    assert [file for file in files for needle in needles if needle in file.read_bytes()] == []
