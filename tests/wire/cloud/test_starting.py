"""A start: once for its owner, whatever happens to it, and found again by its mark."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars import CloudCompute, compute_lifecycle
from airflow_provider_polars.marks import Owner
from tests.harness.waiting import wait_for
from tests.wire.cloud.tasks import REGISTER_CALL, START_CALL, CloudTasks, compute, refused, retried

if TYPE_CHECKING:
    from pathlib import Path


def test_an_instance_is_started_under_the_mark_of_its_owner(cloud: CloudTasks) -> None:
    handle = cloud.started(compute(labels=["nightly"], env_vars={"REGION": "eu"}, connection_mode="proxy"))

    (instance,) = cloud.plane.instances
    owner = Owner(deployment="tests", dag_id="in_memory", run_id="first", task_id="start")
    assert handle["compute_id"] == instance["id"]
    assert handle["mark"] == instance["name"] == owner.mark
    assert instance["state"] == "Idle"
    assert instance["mode"] == "Proxy"
    assert instance["vcpus"] == 2
    assert instance["labels"] == ["airflow", "dag:in_memory", "task:start", "run:first", "nightly"]
    assert cloud.plane.workspace.id == handle["workspace"]


def test_a_second_try_and_a_clear_adopt_what_lives(cloud: CloudTasks) -> None:
    first = cloud.started()
    again = cloud.started(try_number=2, max_tries=2)
    cleared = cloud.started(try_number=3, max_tries=4)

    assert {each["compute_id"] for each in (first, again, cleared)} == set(cloud.plane.started)
    assert len(cloud.plane.started) == 1
    assert len(cloud.plane.recorder.calls(START_CALL)) == 1


def test_other_runs_tasks_and_indexes_have_instances_of_their_own(cloud: CloudTasks) -> None:
    handles = [
        cloud.started(),
        cloud.started(run_id="second"),
        cloud.started(task_id="another"),
        cloud.started(map_index=0),
        cloud.started(map_index=1),
    ]

    assert len({handle["compute_id"] for handle in handles}) == len(cloud.plane.running) == 5


def test_after_the_end_of_an_instance_another_one_is_started_as_it_is_asked_for_then(cloud: CloudTasks) -> None:
    handle = cloud.started()
    cloud.stop(handle)

    another = cloud.started(compute(cpus=4, memory=8))

    assert another["compute_id"] != handle["compute_id"]
    assert [instance["vcpus"] for instance in cloud.plane.instances] == [2, 4]
    assert len(cloud.plane.running) == 1


@pytest.fixture
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not look for long for what may come of a start that has failed."""
    monkeypatch.setattr(compute_lifecycle, "UNDO_SECONDS", 0.5)


@pytest.mark.usefixtures("short_search")
def test_a_start_after_one_that_only_registered_takes_what_is_asked_for_now(cloud: CloudTasks) -> None:
    cloud.plane.faults.add(START_CALL, "answer", status=503, times=None)
    assert retried(cloud.start(max_tries=1)).startswith("ControlPlaneUnavailableError")
    cloud.plane.faults.clear()

    handle = cloud.started(compute(cpus=4, memory=8))

    assert [instance["vcpus"] for instance in cloud.plane.instances] == [4]
    assert cloud.plane.running == [handle["compute_id"]]


@pytest.mark.parametrize("call", [REGISTER_CALL, START_CALL])
def test_an_answer_that_is_lost_is_not_a_second_instance(cloud: CloudTasks, call: str) -> None:
    lost = cloud.plane.faults.add(call, "drop")

    handle = cloud.started()

    assert cloud.plane.faults.hits(lost) == 1
    assert cloud.plane.running == cloud.plane.started == [handle["compute_id"]]


def test_a_start_that_is_lost_before_it_arrives_is_sent_again(cloud: CloudTasks) -> None:
    cloud.plane.faults.add(START_CALL, "answer", status=503)

    handle = cloud.started()

    assert cloud.plane.started == [handle["compute_id"]]
    assert len(cloud.plane.recorder.calls(START_CALL)) == 2


def test_a_start_that_is_answered_late_is_not_sent_again(cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_polars.clients import instances

    monkeypatch.setattr(instances, "START_SECONDS", 0.5)
    cloud.plane.faults.add(START_CALL, "delay", seconds=1.0)

    handle = cloud.started()

    assert handle["compute_id"] in cloud.plane.started
    wait_for(lambda: len(cloud.plane.recorder.calls(START_CALL)) >= 1 or None, 10, lambda: "the late start")
    assert cloud.plane.running == cloud.plane.started == [handle["compute_id"]]


def test_what_two_starts_of_one_name_make_beyond_one_is_stopped(cloud: CloudTasks) -> None:
    """The stand-in makes one; the manifest of the first is gone here when the second comes, as a service may race."""
    first = cloud.started()
    from airflow_provider_polars.hooks.cloud import PolarsCloudHook

    plane = PolarsCloudHook().control_plane()
    plane.delete(f"workspace/{first['workspace']}/manifest", {"name": first["mark"]})
    plane.close()

    second = cloud.started()

    assert second["compute_id"] != first["compute_id"]
    assert cloud.plane.running == [second["compute_id"]]
    assert cloud.plane.stopped == [first["compute_id"]]


def test_a_failed_start_carries_the_reason_and_the_next_try_starts_another_one(cloud: CloudTasks) -> None:
    cloud.plane.fail_starts("no machine of this size is to be had")

    message = retried(cloud.start(max_tries=1))

    assert message.startswith("ComputeStartError: ")
    assert "Failed: no machine of this size is to be had" in message
    assert cloud.plane.running == []
    handle = cloud.started(try_number=2, max_tries=1)
    assert cloud.plane.running == [handle["compute_id"]]


def test_a_start_that_is_not_ready_in_time_is_stopped(cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.plane.faults.add("GET workspace/*/compute/*", "answer", status=503, times=20)

    message = retried(cloud.start(start_timeout=0.3, max_tries=1))

    assert message.startswith("ComputeStartError: ")
    assert "was not ready within 0.3 seconds" in message
    assert cloud.plane.running == []


def test_a_control_plane_that_is_away_while_an_instance_starts_is_asked_again(cloud: CloudTasks) -> None:
    cloud.plane.faults.add("GET workspace/*/compute/*", "answer", status=503, times=5)

    handle = cloud.started()

    assert cloud.plane.running == [handle["compute_id"]]


def test_a_larger_machine_than_allowed_is_refused_before_anything_is_started(
    cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__POLARS__MAX_VCPUS", "8")

    message = refused(cloud.start(compute(cpus=4, memory=8, cluster_size=3), max_tries=1))

    assert message.startswith("ConfigurationError: CloudCompute() asks for 12 vCPUs, all nodes together, and [polars]")
    assert cloud.plane.started == []


def test_an_instance_type_that_turns_out_too_large_is_stopped_at_once(
    cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__POLARS__MAX_VCPUS", "8")

    message = refused(cloud.start(compute(instance_type="m5.4xlarge"), max_tries=1))

    assert message.startswith("ConfigurationError: CloudCompute() asks for 16 vCPUs")
    assert cloud.plane.running == []


def test_the_default_machine_of_the_workspace_is_taken_where_none_is_named(cloud: CloudTasks) -> None:
    nobody = refused(cloud.start(CloudCompute(), max_tries=1))
    assert nobody.startswith(
        "ConfigurationError: CloudCompute() names no machine, and its workspace has no default one"
    )

    machine = {"specs": {"cpus": 3, "ram_gb": 6, "cpu_architectures": ["X86_64"]}}
    put_defaults(cloud, {"instance_specs": machine, "cluster_size": 2})
    handle = cloud.started(CloudCompute())

    assert (handle["cpus"], handle["memory"], handle["cluster_size"]) == (3, 6, 2)
    assert cloud.plane.instances[-1]["vcpus"] == 6


def put_defaults(cloud: CloudTasks, defaults: dict[str, Any]) -> None:
    """Set the default machine of the workspace."""
    import httpx

    headers = {"authorization": f"Bearer {cloud.plane.access_token()}"}
    url = f"{cloud.plane.api}/api/v1/workspace/{cloud.plane.workspace.id}/cluster-defaults"
    assert httpx.put(url, json=defaults, headers=headers, trust_env=False).status_code == 204


def test_requirements_are_read_on_the_worker(cloud: CloudTasks, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    missing = refused(cloud.start(compute(requirements=str(file)), max_tries=1))
    assert f"CloudCompute(requirements={str(file)!r}) cannot be read on this worker" in missing
    file.write_text("numpy==2.0")

    cloud.started(compute(requirements=str(file)))

    assert len(cloud.plane.running) == 1


def test_the_deployment_must_have_a_name(cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__POLARS__DEPLOYMENT_ID", "")
    assert refused(cloud.start(max_tries=1)).startswith("ConfigurationError: [polars] deployment_id is not set.")
    assert cloud.plane.recorder.calls() == []


def test_an_instance_that_runs_already_is_used_and_not_stopped(cloud: CloudTasks) -> None:
    other = cloud.started(run_id="someone else")

    handle = cloud.started(CloudCompute(compute_id=other["compute_id"]))

    assert handle["compute_id"] == other["compute_id"]
    assert "mark" not in handle
    assert cloud.query(handle).state == "success"
    assert cloud.stop(handle).result is None
    assert cloud.plane.running == [other["compute_id"]]
    assert len(cloud.plane.started) == 1


def test_an_instance_that_has_ended_cannot_be_used_again(cloud: CloudTasks) -> None:
    other = cloud.started(run_id="someone else")
    cloud.stop(other)

    message = retried(cloud.start(CloudCompute(compute_id=other["compute_id"]), max_tries=1))

    assert message.startswith("ComputeLostError: CloudCompute(compute_id=")
    assert "is Stopped (StoppedByUser)" in message
    assert cloud.plane.running == []


def test_a_start_that_breaks_off_after_the_instance_was_started_stops_it(
    cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_polars.backends.cloud_manager import CloudManager
    from airflow_provider_polars.exceptions import CredentialsUnavailableError

    def broken(*_: Any) -> None:
        raise CredentialsUnavailableError("the token service is down")

    monkeypatch.setattr(CloudManager, "_only", broken)

    message = retried(cloud.start(max_tries=1))

    assert message.startswith("CredentialsUnavailableError: the token service is down")
    assert len(cloud.plane.started) == 1
    assert cloud.plane.running == []


def test_a_list_of_instances_that_is_refused_does_not_end_a_start(cloud: CloudTasks) -> None:
    cloud.plane.faults.add("GET workspace/*/compute", "answer", status=403, body={"message": "no lists", "errors": {}})

    handle = cloud.started()

    assert cloud.plane.running == [handle["compute_id"]]


def test_an_instance_that_is_not_known_yet_right_after_its_start_is_waited_for(cloud: CloudTasks) -> None:
    cloud.plane.faults.add("GET workspace/*/compute/*", "answer", status=404, body={"message": "no"}, times=3)

    handle = cloud.started()

    assert cloud.plane.running == cloud.plane.started == [handle["compute_id"]]


@pytest.mark.parametrize("status", [401, 403])
def test_a_look_that_is_refused_for_a_moment_does_not_end_a_start(cloud: CloudTasks, status: int) -> None:
    cloud.plane.faults.add("GET workspace/*/compute/*", "answer", status=status, body={"message": "no"}, times=2)

    handle = cloud.started()

    assert cloud.plane.running == cloud.plane.started == [handle["compute_id"]]


@pytest.mark.usefixtures("short_search")
def test_a_start_that_is_refused_after_a_lost_answer_keeps_its_mark(cloud: CloudTasks) -> None:
    """The first answer is lost, and the service refuses the second start for what the first one has made."""
    cloud.plane.faults.add(START_CALL, "answer", status=503)
    cloud.plane.faults.add(START_CALL, "answer", status=400, body={"message": "already running", "errors": {}})

    message = refused(cloud.start(max_tries=1))

    assert message.startswith("ControlPlaneRefusedError: ")
    assert cloud.plane.recorder.calls("DELETE workspace/*/manifest") == []


def test_an_instance_that_comes_after_the_time_of_the_task_is_over_is_stopped(cloud: CloudTasks) -> None:
    """The service goes on with a start whose answer nobody waits for any more."""
    cloud.plane.faults.add(START_CALL, "delay", seconds=3.0)

    assert "Timeout" in retried(cloud.start(max_tries=1, execution_timeout=timedelta(seconds=1)))

    assert len(cloud.plane.started) == 1
    assert cloud.plane.stopped == cloud.plane.started


def test_an_instance_type_that_is_too_large_is_refused_after_a_lost_answer_too(
    cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__POLARS__MAX_VCPUS", "8")
    cloud.plane.faults.add(START_CALL, "drop")

    message = refused(cloud.start(compute(instance_type="m5.4xlarge"), max_tries=1))

    assert message.startswith("ConfigurationError: CloudCompute() asks for 16 vCPUs")
    assert cloud.plane.running == []
