"""A stop: sure of the end, harmless when repeated, and blind to what is not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars import CloudCompute, compute_lifecycle
from airflow_provider_polars.dev_cluster.registry import started_at
from tests.wire.cloud.tasks import STOP_CALL, CloudTasks, refused, retried

if TYPE_CHECKING:
    from tests.wire.gates import Gate


def test_a_stop_waits_for_the_end_and_forgets_the_manifest(cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__POLARS__VCPU_HOUR_PRICE", "0.5")
    handle = cloud.started()
    pids = cloud.plane.instances[0]["pids"]

    report = cloud.stop(handle).result

    (instance,) = cloud.plane.instances
    assert instance["state"] == "Stopped"
    assert [pid for pid in pids if started_at(pid) is not None] == []
    assert {name: report[name] for name in ("compute_id", "vcpus", "end", "cancelled")} == {
        "compute_id": handle["compute_id"],
        "vcpus": 2,
        "end": "StoppedByUser",
        "cancelled": [],
    }
    assert report["minutes"] == pytest.approx(instance["billable_seconds"] / 60, abs=0.25)
    assert report["cost"] == pytest.approx(report["minutes"] / 60 * 2 * 0.5, abs=1e-4)
    assert len(cloud.plane.recorder.calls("DELETE workspace/*/manifest")) == 1


def test_a_second_stop_is_fine(cloud: CloudTasks) -> None:
    handle = cloud.started()
    first = cloud.stop(handle).result

    second = cloud.stop(handle)

    assert second.state == "success"
    assert second.result["end"] == first["end"]
    assert len(cloud.plane.recorder.calls(STOP_CALL)) == 1


def test_a_limit_of_starts_that_is_none_keeps_nothing_from_its_stop(
    cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = cloud.started()
    monkeypatch.setenv("AIRFLOW__POLARS__MAX_VCPUS", "many")

    assert cloud.stop(handle).state == "success"

    assert cloud.plane.running == []
    assert refused(cloud.start(run_id="second")).startswith("ConfigurationError: [polars] max_vcpus must be a whole")
    assert len(cloud.plane.started) == 1


def test_nothing_started_is_nothing_to_stop(cloud: CloudTasks) -> None:
    assert cloud.stop(None).state == "success"
    assert cloud.plane.recorder.calls() == []


def test_what_was_never_started_cannot_be_stopped(cloud: CloudTasks) -> None:
    message = refused(cloud.stop(CloudCompute(cpus=2, memory=4)))
    assert "is not one that was started. Give compute= what PolarsStartComputeOperator returns." in message


@pytest.mark.parametrize("fault", [{"do": "drop"}, {"do": "answer", "status": 503}])
def test_a_stop_whose_answer_is_lost_is_told_again(
    cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr(compute_lifecycle, "SAY_AGAIN_SECONDS", 0.1)
    handle = cloud.started()
    cloud.plane.faults.add(STOP_CALL, **fault)

    assert cloud.stop(handle).state == "success"

    assert cloud.plane.running == []


def test_a_control_plane_that_is_away_for_a_while_is_waited_for(cloud: CloudTasks) -> None:
    handle = cloud.started()
    cloud.plane.faults.add("* workspace/*", "answer", status=503, times=12)

    assert cloud.stop(handle).state == "success"

    assert cloud.plane.running == []


def test_a_stop_that_is_not_confirmed_is_tried_again(cloud: CloudTasks) -> None:
    handle = cloud.started()
    cloud.plane.faults.add("* workspace/*", "answer", status=503, times=None)

    message = retried(cloud.stop(handle, stop_timeout=0.3))

    assert message.startswith("ComputeStopError: ")
    assert "has not within 0.3 seconds" in message
    cloud.plane.faults.clear()
    assert cloud.stop(handle).state == "success"
    assert cloud.plane.running == []


def test_an_instance_that_has_failed_is_stopped(cloud: CloudTasks) -> None:
    handle = cloud.started()
    cloud.plane.kill(handle["compute_id"], "the machine was lost")

    report = cloud.stop(handle).result

    assert report["end"] == "Failed: the machine was lost"
    assert cloud.plane.recorder.calls(STOP_CALL) == []


def test_an_instance_that_has_lost_our_mark_is_not_stopped(cloud: CloudTasks) -> None:
    """Its name is another one, and the manifest of our mark has another instance."""
    other = cloud.started(run_id="someone else")
    handle = cloud.started()

    message = refused(cloud.stop({**handle, "compute_id": other["compute_id"]}))

    assert message.startswith(f"ConfigurationError: The instance {other['compute_id']} runs, and carries the mark")
    assert set(cloud.plane.running) == {handle["compute_id"], other["compute_id"]}


@pytest.mark.parametrize("mode", ["direct", "proxy"])
def test_queries_that_still_run_are_cancelled_and_named(cloud: CloudTasks, gate: Gate, mode: str) -> None:
    """Their task was lost: nobody waits for them any more."""
    from tests.wire.cloud.tasks import compute

    handle = cloud.started(compute(connection_mode=mode, cluster_size=2))
    lost = cloud.query(handle, lambda: gate.frame("held"), task_id="lost", wait=False)
    assert lost.state == "success"
    gate.wait_until_started("held")
    done = cloud.query(handle, task_id="done")
    assert done.state == "success"

    stopped = cloud.stop(handle, users=("lost", "done"))

    assert stopped.result["cancelled"] == [lost.result["query_id"]]
    assert cloud.plane.running == []


def test_queries_that_cannot_be_asked_about_do_not_keep_an_instance_alive(cloud: CloudTasks) -> None:
    handle = cloud.started()
    assert cloud.query(handle).state == "success"
    cloud.plane.faults_of(handle["compute_id"]).add("GetQueryStatus", "answer", status="UNAVAILABLE", times=None)

    stopped = cloud.stop(handle, users=("query",))

    assert stopped.state == "success"
    assert cloud.plane.running == []


@pytest.mark.parametrize("status", [401, 403, 409])
def test_a_stop_that_is_refused_for_a_moment_is_told_again(cloud: CloudTasks, status: int) -> None:
    handle = cloud.started()
    cloud.plane.faults.add(STOP_CALL, "answer", status=status, body={"message": "not now", "errors": {}}, times=2)

    assert cloud.stop(handle).state == "success"

    assert cloud.plane.running == []


def test_an_instance_is_stopped_although_instances_may_not_be_listed(cloud: CloudTasks) -> None:
    cloud.plane.faults.add("GET workspace/*/compute", "answer", status=403, body={"message": "no lists"}, times=None)
    handle = cloud.started()

    assert cloud.stop(handle).state == "success"

    assert cloud.plane.running == []


def test_a_stop_of_an_old_instance_leaves_a_newer_one_of_the_same_mark_alone(cloud: CloudTasks) -> None:
    old = cloud.started()
    cloud.plane.kill(old["compute_id"])
    new = cloud.started(try_number=2, max_tries=2)

    assert cloud.stop(old).state == "success"

    assert cloud.plane.running == [new["compute_id"]]
