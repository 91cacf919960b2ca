"""What cannot be: each is said clearly, and nothing is left running."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars import CloudCompute, compute_lifecycle
from airflow_provider_polars.backends import cloud_manager
from airflow_provider_polars.backends.cloud import CloudBackend
from airflow_provider_polars.backends.cloud_orders import order
from airflow_provider_polars.clients.instances import Instances
from airflow_provider_polars.clients.workspaces import Workspace
from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from airflow_provider_polars.marks import Owner
from tests.wire.cloud.tasks import START_CALL, CloudTasks, compute, refused, retried

if TYPE_CHECKING:
    from tests.wire.gates import Gate

OWNER = Owner(deployment="tests", dag_id="in_memory", run_id="first", task_id="start")


@pytest.fixture
def instances(cloud: CloudTasks) -> Iterator[Instances]:
    """Return calls of the workspace, as somebody else with the same account makes them."""
    plane = PolarsCloudHook().control_plane()
    yield Instances(plane, Workspace(cloud.plane.workspace.id, ""))
    plane.close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is tried again be tried again at once."""
    monkeypatch.setattr(cloud_manager, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(compute_lifecycle, "UNDO_SECONDS", 0.3)


def body(compute_: CloudCompute, owner: Owner, **fields: Any) -> dict[str, Any]:
    return {**order(compute_, owner, requirements=None, env_vars={}, labels=()), **fields}


# ---- who, and where


def test_a_wrong_secret_is_told_before_anything_is_started(cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_CLOUD_CLIENT_SECRET", "wrong-horse-battery-staple")

    message = refused(cloud.start(max_tries=1))

    assert message.startswith("CredentialsError: Polars Cloud refuses the service account from environment variables")
    assert "wrong-horse-battery-staple" not in message
    assert [call["call"] for call in cloud.plane.recorder.calls()] == ["POST token"]


def test_an_identity_service_that_is_down_is_told_apart_from_that(cloud: CloudTasks) -> None:
    cloud.plane.shut("token")

    message = retried(cloud.start(max_tries=1))

    assert message.startswith("CredentialsUnavailableError: Whether Polars Cloud accepts the service account")
    assert cloud.plane.started == []


def test_an_unknown_workspace_is_told_with_those_that_there_are(cloud: CloudTasks) -> None:
    message = refused(cloud.start(compute(workspace="develpment"), max_tries=1))
    assert message.startswith("WorkspaceError: The service account from environment variables")
    assert "sees no workspace 'develpment'; did you mean 'development'? It sees: development." in message
    assert cloud.plane.started == []


def test_a_workspace_of_another_account_is_forbidden(cloud: CloudTasks) -> None:
    other = cloud.plane.accounts[1].workspace.id
    message = refused(cloud.start(compute(workspace=other), max_tries=1))
    assert message.startswith(f"WorkspaceError: Workspace={other!r} may not be used by the service account")
    assert "answers 403, this service account has no access to the workspace" in message


def test_an_ambiguous_workspace_needs_its_organization(cloud: CloudTasks) -> None:
    rows = [{"id": f"0198e107-0000-7000-8000-00000000000{n}", "organization_id": "o", "name": "etl"} for n in (1, 2)]
    page = {"pagination": {}, "result": rows}
    cloud.plane.faults.add("GET workspace", "answer", status=200, body=page)

    message = refused(cloud.start(compute(workspace="etl"), max_tries=1))

    assert message.startswith("WorkspaceError: There are 2 workspaces 'etl', of different organizations: ")
    assert "Give organization= too" in message
    assert cloud.plane.started == []


def test_what_the_account_may_not_do_is_told_in_the_words_of_the_service(cloud: CloudTasks) -> None:
    cloud.plane.faults.add(START_CALL, "answer", status=403, body={"message": "read only account", "errors": {}})

    message = refused(cloud.start(max_tries=1))

    assert message.startswith("ControlPlaneRefusedError: CloudCompute(cpus=2, memory=4")
    assert "cannot be started: Polars Cloud answers 403, read only account. See what the service account may" in message
    assert cloud.plane.started == []


def test_a_quota_is_waited_for_by_a_retry(cloud: CloudTasks, instances: Instances) -> None:
    message = retried(cloud.start(compute(cpus=48, memory=64, cluster_size=2), max_tries=1))

    assert message.startswith("QuotaExceededError: CloudCompute(")
    assert "quota exceeded: 0 of 64 vCPUs are in use, and 96 more were asked for" in message
    assert cloud.plane.started == []
    assert (
        instances.manifest(Owner(deployment="tests", dag_id="in_memory", run_id="first", task_id="start").mark) is None
    )


def test_a_machine_that_cannot_be_is_told_by_its_fields(cloud: CloudTasks) -> None:
    message = refused(cloud.start(compute(cluster_size=1000), max_tries=1))
    assert message.startswith("ControlPlaneRefusedError: ")
    assert "answers 422, the request is not valid. cluster_size: between 1 and 64" in message
    assert cloud.plane.started == []


def test_what_the_installed_client_does_not_know_is_refused_by_name(
    cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_polars.backends.polars_client import load_client

    def older(
        self: Any, *, name: Any = None, cpus: Any = None, memory: Any = None, idle_timeout_mins: Any = None
    ) -> None:
        raise AssertionError

    monkeypatch.setattr(load_client().module.ComputeContext, "__init__", older)

    message = refused(cloud.start(compute(log_level="debug"), max_tries=1))

    assert message.startswith(
        "RefusedOptionError: CloudCompute(log_level=) is no parameter of ComputeContext in polars_cl"
    )
    assert cloud.plane.recorder.calls() == []


# ---- manifests


def test_a_name_that_is_somebody_elses_is_neither_started_nor_stopped(cloud: CloudTasks, instances: Instances) -> None:
    """Another Airflow of the same deployment name, which nobody should have."""
    mine = OWNER
    stranger = Owner(deployment="tests", dag_id="other", run_id="first", task_id="start")
    instances.register(body(compute(), stranger, name=mine.mark))
    theirs = instances.start(
        mine.mark, {key: body(compute(), mine)[key] for key in ("python_version", "polars_version")}
    )

    message = refused(cloud.start(max_tries=1))

    assert message.startswith(f"ComputeNameTakenError: The manifest {mine.mark!r} in the workspace")
    assert "was not registered for in_memory.start of the run first by this Airflow" in message
    assert cloud.plane.running == cloud.plane.started == [theirs.id]


def test_a_manifest_gives_its_machine_and_stays_as_it_is(cloud: CloudTasks, instances: Instances) -> None:
    template = Owner(deployment="people", dag_id="-", run_id="-", task_id="-")
    given = compute(cpus=4, memory=16, cluster_size=2, connection_mode="proxy", log_level="debug")
    registered = body(given, template, name="airflow-production", env_vars={"PASSWORD_OF_A_STORE": "hunter2hunter2"})
    instances.register(registered)

    handle = cloud.started(CloudCompute(name="airflow-production"))

    (instance,) = cloud.plane.instances
    assert (instance["name"], instance["vcpus"], instance["mode"]) == (handle["mark"], 8, "Proxy")
    assert "hunter2hunter2" not in json.dumps(handle)
    kept = instances.manifest("airflow-production")
    assert kept is not None
    assert kept.live is None
    own = instances.manifest(handle["mark"])
    assert own is not None
    assert own.env_vars["PASSWORD_OF_A_STORE"] == "hunter2hunter2"
    cloud.stop(handle)
    assert instances.manifest("airflow-production") is not None
    assert instances.manifest(handle["mark"]) is None


def test_a_manifest_that_is_not_there_is_told(cloud: CloudTasks) -> None:
    message = refused(cloud.start(CloudCompute(name="airflow-production"), max_tries=1))
    assert message.startswith("ConfigurationError: There is no manifest 'airflow-production' in the workspace.")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("polars_version", "1.44.2", "with Polars 1.44.2, this worker has Polars 2.0.0"),
        (
            "python_version",
            {"major": 3, "minor": 9, "patch": 1},
            f"with Python 3.9.1, this worker has Python {'.'.join(map(str, sys.version_info[:3]))}",
        ),
    ],
)
def test_a_manifest_of_other_versions_is_refused(
    cloud: CloudTasks, instances: Instances, field: str, value: Any, told: str
) -> None:
    template = Owner(deployment="people", dag_id="-", run_id="-", task_id="-")
    instances.register(body(compute(), template, name="airflow-production", **{field: value}))

    message = refused(cloud.start(CloudCompute(name="airflow-production"), max_tries=1))

    assert message.startswith("VersionMismatchError: The manifest 'airflow-production' was registered ")
    assert told in message
    assert cloud.plane.started == []


# ---- the control plane is away


def test_a_control_plane_that_is_down_at_the_start_is_told(cloud: CloudTasks, soon: None) -> None:
    cloud.plane.shut("api")

    message = retried(cloud.start(max_tries=1))

    assert message.startswith("ControlPlaneUnavailableError: Polars Cloud (http://127.0.0.1:")
    assert "gives no answer to GET" in message
    cloud.plane.open("api")
    assert cloud.plane.started == []


@pytest.mark.parametrize("port", ["api", "token"])
def test_a_control_plane_that_is_down_while_a_query_runs_is_not_missed(
    cloud: CloudTasks, mode: str, gate: Gate, monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    """In direct mode the instance itself is asked; in proxy mode the query is taken to run on."""
    handle = cloud.started(compute(connection_mode=mode))
    watches: list[float] = []
    watch = CloudBackend.watch

    def watch_cut_off(self: Any, *args: Any) -> None:
        watches.append(0)
        if len(watches) == 1:
            gate.wait_until_started("held")
            cloud.plane.shut(port)
            gate.open()
        if len(watches) == 3:
            cloud.plane.open(port)
        watch(self, *args)

    monkeypatch.setattr(CloudBackend, "watch", watch_cut_off)
    monkeypatch.setattr("airflow_provider_polars.lifecycle.WATCH_SECONDS", 0.2)

    outcome = cloud.query(handle, lambda: gate.frame("held"))

    assert outcome.error is None
    assert outcome.result["rows"] == 1


def test_a_control_plane_that_is_down_in_the_middle_of_a_proxied_query_is_asked_again(
    cloud: CloudTasks, gate: Gate
) -> None:
    handle = cloud.started(compute(connection_mode="proxy"))
    cloud.query(handle, lambda: gate.frame("held"), wait=False)
    gate.wait_until_started("held")
    gate.open()
    fault = cloud.plane.faults.add("GET workspace/*/query/*", "answer", status=503, times=3)

    adopted = cloud.query(handle, lambda: gate.frame("held"), try_number=2)

    assert adopted.state == "success"
    assert cloud.plane.faults.hits(fault) == 3


# ---- the instance is away


def test_an_instance_that_was_lost_before_a_query_is_told_and_not_retried(cloud: CloudTasks, mode: str) -> None:
    handle = cloud.started(compute(connection_mode=mode))
    cloud.plane.kill(handle["compute_id"], "the machine was lost")

    message = refused(cloud.query(handle, max_tries=1))

    told = f"ComputeLostError: The instance {handle['compute_id']} is Failed (Failed: the machine was lost)."
    assert message.startswith(told)


def test_an_instance_that_is_lost_during_a_query_is_told_and_not_retried(
    cloud: CloudTasks, mode: str, gate: Gate
) -> None:
    handle = cloud.started(compute(connection_mode=mode))
    cloud.query(handle, lambda: gate.frame("held"), wait=False)
    gate.wait_until_started("held")
    cloud.plane.kill(handle["compute_id"], "the machine was lost")

    message = refused(cloud.query(handle, lambda: gate.frame("held"), try_number=2, max_tries=0))

    assert "ComputeLostError" in message
    assert "the machine was lost" in message


def test_an_idle_timeout_before_the_first_query_is_explained(cloud: CloudTasks, mode: str) -> None:
    handle = cloud.started(compute(connection_mode=mode, idle_timeout_mins=10))
    cloud.wait_until_ended()

    message = refused(cloud.query(handle, max_tries=1))

    assert message.startswith(f"ComputeLostError: The instance {handle['compute_id']} is Stopped (StoppedInactive).")
    assert "It had no query for 10 minutes: raise idle_timeout_mins=" in message
    assert cloud.stop(handle).result["end"] == "StoppedInactive"


# ---- tokens


@pytest.mark.parametrize("end", ["expire_tokens", "revoke_tokens"])
def test_a_token_that_is_refused_in_the_middle_is_renewed(
    cloud: CloudTasks, mode: str, gate: Gate, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = cloud.started(compute(connection_mode=mode))
    watch, ended = CloudBackend.watch, []

    def watch_once(self: Any, *args: Any) -> None:
        if not ended:
            gate.wait_until_started("held")
            getattr(cloud.plane, end)()
            ended.append(end)
            gate.open()
        watch(self, *args)

    monkeypatch.setattr(CloudBackend, "watch", watch_once)

    outcome = cloud.query(handle, lambda: gate.frame("held"))

    assert outcome.error is None
    assert ended == [end]
    assert outcome.result["rows"] == 1


def test_an_account_that_is_refused_in_the_middle_is_told_and_no_hang(
    cloud: CloudTasks, mode: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = cloud.started(compute(connection_mode=mode))
    watch = CloudBackend.watch

    def watch_refused(self: Any, *args: Any) -> None:
        cloud.plane.revoke_tokens()
        cloud.plane.faults.add("POST token", "answer", status=401, body={"error": "invalid_grant"}, times=None)
        watch(self, *args)

    monkeypatch.setattr(CloudBackend, "watch", watch_refused)
    monkeypatch.setattr("airflow_provider_polars.lifecycle.CANCEL_SECONDS", 1.0)

    message = refused(cloud.query(handle, lambda: gate.frame("held"), max_tries=1))

    assert message.startswith("CredentialsError: Polars Cloud refuses the service account")
