"""Who the client is, its workspaces and organisations, and the defaults of a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.wire.control_plane.console import SaidError
from tests.wire.control_plane.instances import ask, ended, started

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.control_plane.conftest import Clients
    from tests.wire.control_plane.console import Console

DEFAULT = "POLARS_CLOUD_DEFAULT_WORKSPACE_ID"
OF_WORKSPACE = "d = pc.Workspace().defaults; [d.instance_type, d.cpus, d.memory, d.storage, d.cluster_size]"
OF_CONTEXT = "c = pc.ComputeContext({}); [c.instance_type, c.cpus, c.memory, c.storage, c.cluster_size]"


def test_a_service_account_is_a_user_with_its_workspace(plane: ControlPlane, shared_client: Console) -> None:
    assert shared_client.say("str(API_CLIENT.get_user().id)") == plane.account.id
    assert shared_client.say("w = pc.Workspace(); [str(w.id), w.name]") == [plane.workspace.id, plane.workspace.name]
    assert shared_client.say("pc.Workspace().aws.is_connected()") is False


def test_the_default_workspace_is_that_of_the_account_where_no_variable_names_one(
    plane: ControlPlane, clients: Clients
) -> None:
    client = clients({name: value for name, value in plane.environment.items() if name != DEFAULT})
    with pytest.raises(SaidError, match=r"WorkspaceResolveError: No .* workspace specified"):
        client.say("pc.Workspace()")

    client.say(f"pc.Workspace({plane.workspace.name!r}).set_default()")

    assert client.say("str(pc.Workspace().id)") == plane.workspace.id
    assert client.say("str(API_CLIENT.get_user().default_workspace_id)") == plane.workspace.id
    plane.reset()
    assert client.say("API_CLIENT.get_user().default_workspace_id") is None


def test_the_workspace_of_somebody_else_is_no_default(plane: ControlPlane, shared_client: Console) -> None:
    other = plane.accounts[1].workspace.id

    with pytest.raises(SaidError, match="no access to the workspace"):
        shared_client.say(f"API_CLIENT.set_user_default_workspace(uuid.UUID({other!r}))")

    assert shared_client.say("API_CLIENT.get_user().default_workspace_id") is None


def test_workspaces_are_found_by_id_and_by_name(plane: ControlPlane, shared_client: Console) -> None:
    here = plane.workspace

    assert shared_client.say(f"pc.Workspace(id=uuid.UUID({here.id!r})).name") == here.name
    assert shared_client.say(f"str(pc.Workspace({here.name!r}).id)") == here.id
    assert shared_client.say(f"str(pc.Workspace({here.name.upper()!r}, organization='development').id)") == here.id
    assert shared_client.say("[w.name for w in pc.Workspace.list()]") == [here.name]
    assert shared_client.say(f"[w.name for w in pc.Workspace.list({here.name[:3]!r})]") == [here.name]
    assert shared_client.say("pc.Workspace.list('nothing of the kind')") == []
    with pytest.raises(SaidError, match=f"WorkspaceResolveError: Workspace '{here.name[:3]}' does not exist"):
        shared_client.say(f"pc.Workspace({here.name[:3]!r})")
    with pytest.raises(SaidError, match="NotFoundError"):
        shared_client.say("pc.Workspace(id=uuid.uuid4())")


def test_organisations_are_found_by_id_and_by_name(plane: ControlPlane, shared_client: Console) -> None:
    organisation_id = shared_client.say("str(pc.Workspace().organization.id)")

    assert shared_client.say("[[str(one.id), one.name] for one in pc.Organization.list()]") == [
        [organisation_id, "development"]
    ]
    assert shared_client.say("str(pc.Organization('Development').id)") == organisation_id
    assert shared_client.say(f"pc.Organization(id=uuid.UUID({organisation_id!r})).name") == "development"
    assert shared_client.say("pc.Organization.list('nothing of the kind')") == []
    with pytest.raises(SaidError, match="OrganizationResolveError"):
        shared_client.say("pc.Organization('dev')")
    with pytest.raises(SaidError, match="NotFoundError"):
        shared_client.say("pc.Organization(id=uuid.uuid4())")
    workspaces = "API_CLIENT.get_workspaces(None, {})"
    assert shared_client.say(f"len({workspaces})".format(f"uuid.UUID({organisation_id!r})")) == 1
    assert shared_client.say(f"len({workspaces})".format("uuid.uuid4()")) == 0


def test_a_context_without_a_machine_needs_the_defaults_of_the_workspace(
    plane: ControlPlane, shared_client: Console
) -> None:
    assert shared_client.say("pc.Workspace().defaults") is None
    with pytest.raises(SaidError, match=r"ComputeClusterMisspecified: .*no defaults available for workspace"):
        shared_client.say("pc.ComputeContext()")
    with pytest.raises(SaidError, match=r"ComputeClusterMisspecified: `cpus` and `memory`"):
        shared_client.say("pc.ComputeContext(cpus=2)")


def set_defaults(client: Console, **given: object) -> None:
    names = ["instance_type", "cpus", "ram_gb", "storage", "cpu_architectures"]
    defaults = {**dict.fromkeys(names), "cluster_size": 1, **given}
    client.say(
        "from polars_cloud.polars_cloud import DBCPUArchitectureModel\n"
        f"API_CLIENT.set_workspace_cluster_defaults(API_CLIENT.get_default_workspace_id(), **{defaults!r})"
    )


def test_a_context_inherits_the_defaults_of_the_workspace_also_what_it_did_not_ask_for(
    plane: ControlPlane, shared_client: Console
) -> None:
    set_defaults(shared_client, cpus=4, ram_gb=16, storage=40, cluster_size=2)

    assert shared_client.say(OF_WORKSPACE) == [None, 4, 16, 40, 2]
    assert shared_client.say(OF_CONTEXT.format("")) == [None, 4, 16, 40, 2]
    assert shared_client.say(OF_CONTEXT.format("cpus=1, memory=2")) == [None, 1, 2, 40, 2]
    shared_client.say("pc.ComputeContext(cpus=1, memory=2, connection_mode='proxy').start()")
    assert plane.instances[0]["vcpus"] == 2


def test_the_defaults_of_a_workspace_may_be_an_instance_type(plane: ControlPlane, shared_client: Console) -> None:
    set_defaults(shared_client, instance_type="m5.xlarge")

    assert shared_client.say(OF_WORKSPACE) == ["m5.xlarge", None, None, None, 1]
    shared_client.say("pc.ComputeContext(connection_mode='proxy').start()")
    assert plane.instances[0]["vcpus"] == 4
    plane.reset()
    assert shared_client.say("pc.Workspace().defaults") is None


def test_defaults_that_are_no_machine_are_refused(plane: ControlPlane, shared_client: Console) -> None:
    path = f"workspace/{plane.workspace.id}/cluster-defaults"

    for machine in ({}, {"specs": {"cpus": 1, "ram_gb": 1}, "instance_type": {"standard": "m5.large"}}):
        refused = ask(plane, shared_client, "PUT", path, {"instance_specs": machine, "cluster_size": 1})
        assert (refused.status_code, [*refused.json()["errors"]]) == (422, ["instance_specs"])

    assert ask(plane, shared_client, "GET", path).json() is None


def test_each_account_sees_its_own_instances_and_manifests_alone_while_both_have_some(
    plane: ControlPlane, shared_client: Console, stranger: Console
) -> None:
    clients = (shared_client, stranger)
    theirs = [[started(client, mode="Proxy")] for client in clients]
    for client, own, cpus in zip(clients, theirs, (2, 4), strict=True):
        client.say(f"ctx = pc.ComputeContext(cpus={cpus}, memory=4, idle_timeout_mins=600, connection_mode='proxy')")
        client.say("ctx.register('nightly etl'); ctx = pc.ComputeContext(name='nightly etl'); ctx.start()")
        own.append(client.say("str(ctx._compute_id)"))

    listed = "[str(ctx._compute_id) for ctx, _ in pc.ComputeContext.list(None)]"
    assert [client.say(listed) for client in clients] == theirs
    found = {instance["id"]: (instance["workspace_id"], instance["name"]) for instance in plane.instances}
    assert found == {
        instance_id: (account.workspace.id, name)
        for account, own in zip(plane.accounts, theirs, strict=True)
        for instance_id, name in zip(own, (None, "nightly etl"), strict=True)
    }
    stranger.say("ctx.unregister(); ctx.stop()")
    ended(plane, theirs[1][1])
    assert shared_client.say("pc.ComputeContext(name='nightly etl').cpus") == 2
    assert theirs[0][1] in plane.running
