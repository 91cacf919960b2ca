"""The sweep: stops what this deployment has started and nobody stops any more, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars import CloudCompute, PolarsSweepComputeOperator
from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from tests.wire.cloud.tasks import STOP_CALL, CloudTasks, compute, refused, retried

if TYPE_CHECKING:
    from tests.harness.in_memory import TaskOutcome


@pytest.fixture
def sweep(cloud: CloudTasks) -> Any:
    """Return ``sweep(**arguments)``, which runs the task in a DAG of its own."""

    def run(**arguments: Any) -> TaskOutcome:
        task = PolarsSweepComputeOperator(task_id="sweep", compute=CloudCompute(), **arguments)
        return cloud.airflow.run_task(task, run_id="hourly", max_tries=1)

    return run


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["compute_id"] for row in rows]


def test_what_belongs_to_a_run_that_has_ended_is_stopped(cloud: CloudTasks, sweep: Any) -> None:
    handles = {run: cloud.started(run_id=run) for run in ("done", "broken", "going", "queued", "deleted")}
    states = {"done": "success", "broken": "failed", "going": "running", "queued": "queued"}
    cloud.airflow.dag_run_states.update({("in_memory", run): state for run, state in states.items()})

    report = sweep().result

    stopped = {handles[run]["compute_id"] for run in ("done", "broken", "deleted")}
    kept = {handles[run]["compute_id"] for run in ("going", "queued")}
    assert set(ids(report["stopped"])) == stopped
    assert set(ids(report["kept"])) == set(cloud.plane.running) == kept
    why = {row["run_id"]: row["why"] for place in ("stopped", "kept") for row in report[place]}
    assert why["done"] == "the run done of in_memory has ended, or does not exist any more"
    assert why["queued"] == "the run queued of in_memory is active"


def test_what_lives_for_too_long_is_stopped_whatever_its_run_does(cloud: CloudTasks, sweep: Any) -> None:
    cloud.airflow.dag_run_states["in_memory", "first"] = "running"
    short = cloud.started(compute(max_lifetime=0.00001))
    long = cloud.started(task_id="other")

    assert ids(sweep().result["stopped"]) == [short["compute_id"]]
    assert cloud.plane.running == [long["compute_id"]]
    assert ids(sweep(max_lifetime=0.00001).result["stopped"]) == [long["compute_id"]]
    assert cloud.plane.running == []


def test_two_deployments_in_one_workspace_leave_each_other_alone(
    cloud: CloudTasks, sweep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their runs and tasks have the same names, as those of one DAG in development and production have."""
    mine = cloud.started()
    monkeypatch.setenv("AIRFLOW__POLARS__DEPLOYMENT_ID", "prod")
    theirs = cloud.started()
    assert theirs["compute_id"] != mine["compute_id"]
    cloud.airflow.dag_run_states["in_memory", "first"] = "success"

    monkeypatch.setenv("AIRFLOW__POLARS__DEPLOYMENT_ID", "tests")
    report = sweep().result

    assert ids(report["stopped"]) == [mine["compute_id"]]
    assert ids(report["not_ours"]) == cloud.plane.running == [theirs["compute_id"]]
    assert report["not_ours"][0]["why"] == "not ours"
    assert cloud.stop(mine).state == "success"
    assert cloud.plane.running == [theirs["compute_id"]]


def test_what_people_have_started_is_listed_and_left_alone(cloud: CloudTasks, sweep: Any) -> None:
    import polars_cloud as pc

    pc.authenticate(interactive=False)
    pc.ComputeContext(cpus=2, memory=4, connection_mode="proxy", idle_timeout_mins=600).start()
    named = pc.ComputeContext(cpus=2, memory=4, connection_mode="proxy", idle_timeout_mins=600)
    named.register("af-tests-by hand")
    named.start()

    report = sweep().result

    assert set(ids(report["not_ours"])) == set(cloud.plane.running)
    assert len(cloud.plane.running) == 2
    assert (report["stopped"], report["kept"]) == ([], [])
    assert cloud.plane.recorder.calls(STOP_CALL) == []


def test_one_of_ours_whose_manifest_is_gone_is_kept_until_its_time_is_up(cloud: CloudTasks, sweep: Any) -> None:
    handle = cloud.started()
    plane = PolarsCloudHook().control_plane()
    plane.delete(f"workspace/{handle['workspace']}/manifest", {"name": handle["mark"]})
    plane.close()

    (row,) = sweep().result["kept"]
    assert row["why"] == "whose it is, is not known: its manifest does not say"
    assert ids(sweep(max_lifetime=0.00001).result["stopped"]) == [handle["compute_id"]]
    assert cloud.plane.running == []


def test_a_report_alone_stops_nothing(cloud: CloudTasks, sweep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__POLARS__VCPU_HOUR_PRICE", "0.5")
    handle = cloud.started()
    cloud.airflow.dag_run_states["in_memory", "first"] = "success"

    report = sweep(report_only="{{ true }}").result

    (row,) = report["stopped"]
    assert row["compute_id"] == handle["compute_id"]
    assert row["age_minutes"] >= 0
    assert row["cost_at_most"] >= 0
    assert cloud.plane.running == [handle["compute_id"]]


def test_the_run_of_the_sweep_itself_counts_as_running(cloud: CloudTasks, sweep: Any) -> None:
    handle = cloud.started(run_id="hourly")
    assert ids(sweep().result["kept"]) == [handle["compute_id"]]


def test_those_that_cannot_be_stopped_are_told_and_the_next_sweep_stops_them(cloud: CloudTasks, sweep: Any) -> None:
    cloud.started()
    cloud.started(task_id="other")
    cloud.plane.faults.add(STOP_CALL, "answer", status=409, body={"message": "busy", "errors": {}}, times=None)

    message = retried(sweep(stop_timeout=2.0))

    assert message.startswith("ComputeStopError: 2 computes could not be judged or stopped: CloudCompute(")
    assert "Polars Cloud answers 409, busy" in message
    cloud.plane.faults.clear()
    assert len(sweep().result["stopped"]) == 2
    assert cloud.plane.running == []


def test_what_is_not_started_cannot_be_swept(cloud: CloudTasks) -> None:
    from airflow_provider_polars import LocalCompute

    task = PolarsSweepComputeOperator(task_id="sweep", compute=LocalCompute())
    message = refused(cloud.airflow.run_task(task, max_tries=1))
    assert message == ("ConfigurationError: LocalCompute() is neither started nor stopped: there is nothing to sweep.")
