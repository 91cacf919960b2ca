"""Starts, queries and stops that wait in a real triggerer: one instance each, none left, whatever is done to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from airflow_provider_polars.testing import ControlPlane, start_control_plane
from tests.airflow.test_cloud import SECONDS, Run, stack, trigger  # noqa: F401
from tests.harness.waiting import wait_for

STARTING_SECONDS, STOPPING_SECONDS = 12, 6
START, STOP, HELD = "etl.start_compute", "etl.stop_compute", "etl.held"
pytestmark = pytest.mark.own_stack


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Run a control plane whose instances take long enough to do something to the tasks that wait for them."""
    times = ("--starting-seconds", str(STARTING_SECONDS), "--stopping-seconds", str(STOPPING_SECONDS))
    with start_control_plane(*times) as plane:
        yield plane


def wait_until_deferred(run: Run, task_id: str) -> None:
    """Wait until a trigger waits for a task: one that Airflow has not begun to run when its task ends is never told."""

    def is_waited_for() -> bool | None:
        instance = run.rest.task_instance(run.dag_id, run.run_id, task_id)
        if instance["state"] != "deferred":
            return None
        began = f"/{instance['task_id']}/-1/{instance['try_number']} (ID {instance['trigger']['id']}) starting"
        return began in run.rest.log_text(run.dag_id, run.run_id, task_id) or None

    wait_for(is_waited_for, SECONDS, run.told, interval=0.5)


def test_a_group_holds_no_worker_while_it_waits(trigger: Callable[..., Run]) -> None:  # noqa: F811
    run = trigger("cloud_deferred")

    wait_until_deferred(run, START)
    run.wait_until_started("held")
    wait_until_deferred(run, HELD)
    run.go("held")
    wait_until_deferred(run, STOP)

    assert run.end() == "success"
    (instance,) = run.instances()
    report = run.rest.xcom(run.dag_id, run.run_id, STOP)
    assert (report["compute_id"], report["end"], report["cancelled"]) == (instance["id"], "StoppedByUser", [])
    assert report["minutes"] == pytest.approx(instance["billable_seconds"] / 60, abs=0.1)
    assert run.starts("held") == 1
    assert [run.tries(task_id) for task_id in (START, HELD, STOP)] == [1, 1, 1]


def test_a_run_that_is_marked_failed_while_its_start_is_deferred_leaves_nothing(
    trigger: Callable[..., Run],  # noqa: F811
) -> None:
    run = trigger("cloud_deferred")
    wait_until_deferred(run, START)

    run.rest.request("PATCH", f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}", body={"state": "failed"})

    run.instance_in("Stopped")
    assert run.end() == "failed"
    assert len(run.instances()) == 1


def test_a_start_that_is_cleared_while_it_is_deferred_starts_anew_and_leaves_nothing(
    trigger: Callable[..., Run],  # noqa: F811
) -> None:
    run = trigger("cloud_deferred")
    run.go("held")
    wait_until_deferred(run, START)

    run.rest.clear(run.dag_id, run.run_id, [START])

    assert run.end() == "success"
    assert [instance["state"] for instance in run.instances()] == ["Stopped"] * len(run.instances())
    assert run.starts("held") == 1


def test_a_run_that_is_marked_failed_while_its_query_is_deferred_stops_query_and_instance(
    trigger: Callable[..., Run],  # noqa: F811
) -> None:
    run = trigger("cloud_deferred")
    run.wait_until_started("held")
    wait_until_deferred(run, HELD)

    run.rest.request("PATCH", f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}", body={"state": "failed"})

    run.instance_in("Stopped")
    assert run.end() == "failed"
    assert len(run.instances()) == 1
    assert run.rest.wait_for_task(run.dag_id, run.run_id, STOP) == "success"
