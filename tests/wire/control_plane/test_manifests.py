"""Manifests: instances under a name, as the real client registers, finds and starts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.wire.control_plane.console import SaidError
from tests.wire.control_plane.instances import ask, ended, found, started, until

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.control_plane.console import Console

REGISTER = "ctx = pc.ComputeContext(cpus={}, memory=4, connection_mode='proxy'); ctx.register('nightly etl')"
NAMED = "ctx = pc.ComputeContext(name='nightly etl')"
LIVE = "API_CLIENT.get_compute_cluster_manifest(API_CLIENT.get_default_workspace_id(), 'nightly etl').live_cluster_id"
START_CALL = "POST workspace/*/manifest/start"


def order(client: Console, **given: Any) -> dict[str, Any]:
    """Return what registers a manifest."""
    python, polars = client.say("pc.polars_cloud.python_version(), pc.polars_cloud.polars_version()")
    version = dict(zip(("major", "minor", "patch"), map(int, python.split(".")), strict=True))
    rest = {"specs": {"cpus": 2, "ram_gb": 4}, "mode": "Proxy", "python_version": version, "polars_version": polars}
    return {"name": "nightly etl", **rest, **given}


def test_a_manifest_is_registered_and_found_by_its_name(plane: ControlPlane, shared_client: Console) -> None:
    shared_client.say(
        "ctx = pc.ComputeContext(cpus=2, memory=4, storage=20, cluster_size=3, connection_mode='proxy',"
        " env_vars={'A': 'b'}, idle_timeout_mins=20, log_level='debug', requirements=b'numpy')\n"
        "ctx.register('nightly etl')"
    )

    shared_client.say(NAMED)
    assert shared_client.say("[ctx.cpus, ctx.memory, ctx.storage, ctx.cluster_size, ctx.connection_mode]") == [
        *(2, 4, 20, 3, "proxy")
    ]
    assert shared_client.say("[ctx.env_vars, ctx._idle_timeout_mins, ctx.log_level.as_str()]") == [
        *({"A": "b"}, 20, "debug")
    ]
    assert shared_client.say("ctx.get_status().name") == "UNINITIALIZED"
    assert plane.started == []


def test_an_instance_carries_the_name_of_its_manifest_and_is_found_by_it(
    plane: ControlPlane, shared_client: Console
) -> None:
    shared_client.say(REGISTER.format(2))
    shared_client.say("ctx.start()")

    (instance,) = plane.instances
    assert (instance["name"], instance["vcpus"]) == ("nightly etl", 2)
    shared_client.say(NAMED)
    assert shared_client.say("str(ctx._compute_id)") == shared_client.say(f"str({LIVE})") == instance["id"]
    assert shared_client.say("ctx.get_status().is_available()")


def test_a_start_while_an_instance_lives_returns_that_one(plane: ControlPlane, shared_client: Console) -> None:
    shared_client.say(REGISTER.format(2))
    shared_client.say(f"{NAMED}; first = ctx; {NAMED}; second = ctx; first.start(); second.start()")

    assert shared_client.say("str(first._compute_id), str(second._compute_id)") == plane.started * 2
    assert len(plane.recorder.calls(START_CALL)) == 2
    until(plane, plane.started[0], "Idle")
    shared_client.say(f"{NAMED}; ctx.start()")
    assert len(plane.recorder.calls(START_CALL)) == 2  # the client knows from the manifest that it runs
    assert len(plane.started) == 1


def test_a_start_after_the_end_of_an_instance_starts_another_one(plane: ControlPlane, shared_client: Console) -> None:
    shared_client.say(REGISTER.format(2))
    shared_client.say("ctx.start(); ctx.stop()")
    ended(plane, plane.started[0])
    assert shared_client.say(LIVE) is None

    shared_client.say(f"{NAMED}; ctx.start()")

    assert len(plane.started) == 2
    assert shared_client.say(f"str({LIVE})") == plane.started[1]


def test_a_start_that_failed_is_not_live(plane: ControlPlane, shared_client: Console) -> None:
    shared_client.say(REGISTER.format(2))
    plane.fail_starts("no machine is to be had")
    shared_client.say("ctx.start()")
    until(plane, plane.started[0], "Failed")

    assert shared_client.say(LIVE) is None


def test_unregister_stops_nothing(plane: ControlPlane, shared_client: Console) -> None:
    shared_client.say(REGISTER.format(2))
    shared_client.say("ctx.start()")
    until(plane, plane.started[0], "Idle")

    shared_client.say("ctx.unregister()")

    with pytest.raises(SaidError, match="NotFoundError: "):
        shared_client.say(NAMED)
    assert found(plane, plane.started[0])["state"] == "Idle"
    assert shared_client.say("ctx.get_status().name") == "IDLE"


def test_a_taken_name_is_refused_and_start_then_starts_the_other_manifest(
    plane: ControlPlane, shared_client: Console
) -> None:
    shared_client.say(REGISTER.format(2))

    with pytest.raises(SaidError, match=r"(?s)ValueError: .*'nightly etl' is registered already"):
        shared_client.say(REGISTER.format(16))

    assert shared_client.say("ctx.cpus") == 16
    shared_client.say("ctx.start()")
    assert [instance["vcpus"] for instance in plane.instances] == [2]
    again = ask(plane, shared_client, "POST", f"workspace/{plane.workspace.id}/manifest", order(shared_client))
    assert again.status_code == 409


def test_a_manifest_of_another_python_patch_or_polars_cannot_be_used(
    plane: ControlPlane, shared_client: Console
) -> None:
    path = f"workspace/{plane.workspace.id}/manifest"
    right = order(shared_client)
    other_patch = {**right["python_version"], "patch": right["python_version"]["patch"] + 1}
    assert ask(plane, shared_client, "POST", path, {**right, "python_version": other_patch}).status_code == 200
    other_polars = {**right, "name": "other polars", "polars_version": "1.0.0"}
    assert ask(plane, shared_client, "POST", path, other_polars).status_code == 200

    with pytest.raises(SaidError, match=r"ComputeClusterMisspecified: .*python version"):
        shared_client.say(NAMED)
    with pytest.raises(SaidError, match=r"ComputeClusterMisspecified: .*polars version"):
        shared_client.say("pc.ComputeContext(name='other polars')")
    assert plane.started == []


def test_a_start_with_a_polars_that_no_interpreter_has_is_refused(plane: ControlPlane, shared_client: Console) -> None:
    path = f"workspace/{plane.workspace.id}"
    body = {**order(shared_client), "polars_version": "1.0.0"}

    for refused in (
        ask(plane, shared_client, "POST", f"{path}/compute/start", body),
        ask(plane, shared_client, "POST", f"{path}/manifest", body)
        and ask(plane, shared_client, "POST", f"{path}/manifest/start", body),
    ):
        assert refused.status_code == 400
        assert refused.json()["message"] == f"no image with Polars 1.0.0; this control plane has {plane.polars[0]}"
    assert plane.started == []


def test_an_unknown_name_is_not_found(plane: ControlPlane, shared_client: Console) -> None:
    with pytest.raises(SaidError, match="NotFoundError: "):
        shared_client.say(NAMED)
    shared_client.say(REGISTER.format(2))
    shared_client.say("other = ctx; other.unregister(); ctx._name = 'nightly etl'")
    with pytest.raises(SaidError, match="NotFoundError: "):
        shared_client.say("ctx.unregister()")
    with pytest.raises(SaidError, match="NotFoundError: "):
        shared_client.say("ctx.start()")


def test_a_name_that_cannot_be_and_a_second_name_are_refused(plane: ControlPlane, shared_client: Console) -> None:
    for name in ("ab", "a" * 33, "- - -", "a/b/c"):
        with pytest.raises(SaidError, match=r"(?s)ValueError: .*3 to 32 letters"):
            shared_client.say(f"pc.ComputeContext(cpus=2, memory=4).register({name!r})")
    shared_client.say(REGISTER.format(2))
    with pytest.raises(SaidError, match="cannot specify both `name` and any other specs"):
        shared_client.say("pc.ComputeContext(name='nightly etl', cpus=2)")
    with pytest.raises(SaidError, match="AttributeError: "):
        shared_client.say(f"{NAMED}; ctx.register('another name')")


def test_a_manifest_and_an_instance_without_one_have_nothing_in_common(
    plane: ControlPlane, shared_client: Console
) -> None:
    started(shared_client, mode="Proxy")
    shared_client.say(REGISTER.format(2))

    assert [instance["name"] for instance in plane.instances] == [None]
    assert shared_client.say(LIVE) is None
