"""The life of an instance, as the real client sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.waiting import wait_for
from tests.wire.control_plane.console import SaidError
from tests.wire.control_plane.instances import (
    SECONDS,
    alive,
    connected,
    ended,
    found,
    hold,
    refuses,
    started,
    status,
    until,
)

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.control_plane.conftest import Clients
    from tests.wire.control_plane.console import Console
    from tests.wire.gates import Gate

STOP = "API_CLIENT.stop_compute_cluster(API_CLIENT.get_default_workspace_id(), uuid.UUID({!r}))"
ONE_QUERY = "pl.LazyFrame({'a': [1]}).remote(ctx).single_node().execute().status.name"
LISTED = """
sorted(str(model.id) for model in API_CLIENT.get_compute_clusters(API_CLIENT.get_default_workspace_id(), status=[
    getattr(pc.polars_cloud.ComputeStatusModel, word) for word in {!r}]))
"""


def charged(instance: dict[str, Any]) -> float:
    """Return the seconds from ready to the order to stop."""
    stop = datetime.fromisoformat(instance["termination"]["termination_time"])
    return float(stop.timestamp() - instance["ready"])


def test_an_instance_runs_a_query_and_is_gone_when_it_is_stopped(
    plane: ControlPlane, shared_client: Console, tmp_path: Path
) -> None:
    client = shared_client
    instance = connected(plane, client)
    assert (instance["state"], instance["vcpus"], instance["mode"]) == ("Idle", 2, "Direct")
    assert alive(instance["pids"]) == instance["pids"] != []
    assert [port for port in instance["ports"] if refuses(port)] == []

    place = str(tmp_path / "a.parquet")
    client.say(f"query = pl.LazyFrame({{'a': [1, 2]}}).remote(ctx).single_node().sink_parquet({place!r})")
    assert client.say("query.await_result().n_rows_total") == 2

    client.say("ctx.stop()")
    gone = ended(plane, instance["id"])
    assert (gone["state"], gone["termination"]["termination_reason"]) == ("Stopped", "StoppedByUser")
    assert (gone["pids"], gone["ports"]) == ([], [])
    assert alive(instance["pids"]) == []
    assert [port for port in instance["ports"] if not refuses(port)] == []
    assert plane.running == []


def test_an_instance_with_a_query_is_running_for_every_process_and_idle_again_afterwards(
    plane: ControlPlane, shared_client: Console, other_client: Console, gate: Gate
) -> None:
    instance = connected(plane, shared_client, cluster_size=2)
    assert status(shared_client) == "IDLE"
    hold(shared_client, gate)
    assert status(shared_client) == "RUNNING"

    other_client.say(f"ctx = pc.ComputeContext.connect({instance['id']!r})")
    assert status(other_client) == "RUNNING"
    assert other_client.say(ONE_QUERY) == "SUCCESS"
    assert shared_client.say("query.get_status().name") == "INPROGRESS"

    gate.open()
    assert shared_client.say("query.await_result().status.name") == "SUCCESS"
    assert until(plane, instance["id"], "Idle")["ready"] == instance["ready"]
    assert status(other_client) == status(shared_client) == "IDLE"


def test_a_stop_ends_the_queries_of_others_as_failed(
    plane: ControlPlane, shared_client: Console, other_client: Console, gate: Gate
) -> None:
    instance = connected(plane, shared_client)
    hold(shared_client, gate)
    shared_client.begin("query.await_result()")

    other_client.say(f"pc.ComputeContext.connect({instance['id']!r}).stop()")

    with pytest.raises(SaidError, match=f"ComputeError: the compute cluster {instance['id']} has ended"):
        shared_client.end()
    assert ended(plane, instance["id"])["state"] == "Stopped"
    assert alive(instance["pids"]) == []


def test_an_instance_stops_by_its_idle_timeout_and_not_while_a_query_runs(
    plane: ControlPlane, shared_client: Console, gate: Gate
) -> None:
    busy = started(shared_client, mode="Proxy", minutes=30)  # of 0.1 s; it takes the query also while it starts
    shared_client.say("ctx = pc.ComputeContext.connect(instance_id)")
    hold(shared_client, gate)
    idle = started(shared_client, minutes=30)

    gone, kept = ended(plane, idle), found(plane, busy)
    assert (gone["state"], gone["termination"]["termination_reason"]) == ("Stopped", "StoppedInactive")
    assert gone["billable_seconds"] >= 3
    assert gone["billable_seconds"] == pytest.approx(charged(gone), abs=0.5)
    assert (kept["state"], kept["ready"] < gone["ready"]) == ("Running", True)
    assert alive(kept["pids"]) == kept["pids"] != []

    gate.open()
    assert ended(plane, busy)["termination"]["termination_reason"] == "StoppedInactive"
    assert alive(kept["pids"]) == []
    reason = f"str(API_CLIENT.get_compute_cluster(API_CLIENT.get_default_workspace_id(), uuid.UUID({busy!r}))"
    assert shared_client.say(f"{reason}.termination.termination_reason)") == "TerminationReasonModel.StoppedInactive"
    assert status(shared_client) == "STOPPED"


def test_a_start_that_fails_in_direct_mode_raises_its_reason_and_leaves_the_id(
    plane: ControlPlane, shared_client: Console
) -> None:
    plane.fail_starts("no machine is to be had")

    with pytest.raises(SaidError, match=r"RuntimeError: .*terminal state \(no machine is to be had\)"):
        shared_client.say("ctx = pc.ComputeContext(cpus=2, memory=4); ctx.start()")

    (instance,) = plane.instances
    assert (instance["state"], instance["ready"], instance["billable_seconds"]) == ("Failed", None, 0)
    assert instance["termination"]["termination_reason"] == "Failed"
    assert shared_client.say("str(ctx._compute_id)") == instance["id"]
    with pytest.raises(SaidError, match="ValueError"):  # the client still takes it for one that starts, and calls
        shared_client.say("ctx.stop()")
    assert plane.recorder.calls("POST workspace/*/compute/*/stop")[0]["refused"]
    assert plane.running == []


def test_a_start_that_fails_in_proxy_mode_is_a_status(plane: ControlPlane, shared_client: Console) -> None:
    plane.fail_starts("no machine is to be had")

    shared_client.say("ctx = pc.ComputeContext(cpus=2, memory=4, connection_mode='proxy'); ctx.start()")

    assert until(plane, plane.started[0], "Failed")["pids"] == []
    assert status(shared_client) == "FAILED"
    with pytest.raises(SaidError, match="RuntimeError: can't start compute in a failed state"):
        shared_client.say("ctx.start()")
    assert len(plane.started) == 1


def test_starts_fail_as_often_as_they_are_told_to(plane: ControlPlane, shared_client: Console) -> None:
    plane.fail_starts("no machine is to be had", times=2)

    ids = [started(shared_client) for _ in range(3)]

    assert [until(plane, one, "Failed", "Idle")["state"] for one in ids] == ["Failed", "Failed", "Idle"]


def test_a_machine_that_is_lost_takes_a_direct_query_with_it(
    plane: ControlPlane, shared_client: Console, gate: Gate
) -> None:
    client = shared_client
    instance = connected(plane, client)
    hold(client, gate)
    client.begin("os.environ['POLARS_TIMEOUT_MS'] = '1000'; query.await_result()")

    plane.kill(instance["id"], "the machine was taken away")

    assert alive(instance["pids"]) == []
    with pytest.raises(SaidError, match="TimeoutError"):  # nobody is left who could say that it has failed
        client.end()
    with pytest.raises(SaidError, match=r"RuntimeError: .*unavailable"):
        client.say("query.get_status()")
    client.say("del os.environ['POLARS_TIMEOUT_MS']")
    assert status(client) == "FAILED"
    model = client.say(
        "t = API_CLIENT.get_compute_cluster(API_CLIENT.get_default_workspace_id(), uuid.UUID(instance_id)).termination;"
        "[str(t.termination_reason), t.termination_message]"
    )
    assert model == ["TerminationReasonModel.Failed", "the machine was taken away"]
    assert plane.running == []


def test_a_client_that_ends_or_is_killed_stops_nothing(
    plane: ControlPlane, clients: Clients, shared_client: Console
) -> None:
    ends, killed = clients(plane.environment), clients(plane.environment)
    instances = [connected(plane, client) for client in (ends, killed)]

    assert ends.leave() == 0
    killed.kill()

    third = shared_client
    for instance in instances:
        third.say(f"ctx = pc.ComputeContext.connect({instance['id']!r})")
        assert third.say(ONE_QUERY) == "SUCCESS"
        assert found(plane, instance["id"])["pids"] == instance["pids"]


def test_a_second_stop_and_a_stop_of_an_unknown_one_are_refused(plane: ControlPlane, shared_client: Console) -> None:
    instance_id = connected(plane, shared_client)["id"]
    shared_client.say("ctx.stop()")
    ended(plane, instance_id)

    with pytest.raises(SaidError, match=r"(?s)ValueError: .*the compute cluster is stopped already"):
        shared_client.say(STOP.format(instance_id))
    with pytest.raises(SaidError, match="NotFoundError: "):
        shared_client.say(STOP.format("00000000-0000-4000-8000-000000000000"))
    with pytest.raises(SaidError, match=r"RuntimeError: .* incorrect state: ComputeContextStatus.STOPPED"):
        shared_client.say(f"pc.ComputeContext.connect({instance_id!r})")


def test_instances_are_listed_by_status(plane: ControlPlane, shared_client: Console) -> None:
    plane.fail_starts("no machine is to be had")
    failed, stopped, idle = (started(shared_client) for _ in range(3))
    shared_client.say(STOP.format(stopped))
    ended(plane, stopped)
    until(plane, idle, "Idle")

    assert shared_client.say(LISTED.format(["Idle"])) == [idle]
    assert shared_client.say(LISTED.format(["Idle", "Failed"])) == sorted([idle, failed])
    assert shared_client.say(LISTED.format(["Running"])) == []
    listed = "[(str(ctx._compute_id), status.name) for ctx, status in pc.ComputeContext.list({!r})]"
    assert shared_client.say(listed.format(plane.workspace.name)) == [
        [failed, "FAILED"],
        [stopped, "STOPPED"],
        [idle, "IDLE"],
    ]


@pytest.mark.parametrize("mode", ["Direct", "Proxy"])
def test_an_instance_has_nodes_while_it_is_up_and_an_address_in_direct_mode(
    plane: ControlPlane, shared_client: Console, mode: str
) -> None:
    instance = connected(plane, shared_client, mode=mode, cluster_size=2, cpus=3)
    asked = "(API_CLIENT.get_default_workspace_id(), uuid.UUID(instance_id))"

    nodes = (
        f"[(node.cpus, node.memory_mb, node.private_address) for node in API_CLIENT.get_compute_cluster_nodes{asked}]"
    )
    assert shared_client.say(nodes) == [[3, 4096, "127.0.0.1"]] * 2
    assert instance["vcpus"] == 6
    address = f"API_CLIENT.get_compute_server_info{asked}.scheduler.address"
    if mode == "Direct":
        assert shared_client.say(address) == f"127.0.0.1:{instance['ports'][0]}"
    else:
        with pytest.raises(SaidError, match="NotFoundError: "):
            shared_client.say(address)

    shared_client.say("ctx.stop()")
    ended(plane, instance["id"])
    assert shared_client.say(nodes) == []
    with pytest.raises(SaidError, match=r"stopped|NotFoundError"):
        shared_client.say(address)


def test_a_reset_leaves_nothing_also_of_a_start_that_a_fault_holds_up(
    plane: ControlPlane, shared_client: Console
) -> None:
    up = connected(plane, shared_client)
    started(shared_client)
    fault = plane.faults.add("POST workspace/*/compute/start", "delay", seconds=600)
    shared_client.begin("late = start(); late")
    wait_for(lambda: plane.faults.hits(fault) or None, SECONDS, lambda: "the start did not come")

    plane.reset()

    assert plane.instances == []
    assert alive(up["pids"]) == []
    late = shared_client.end()  # it was there, and is forgotten
    with pytest.raises(SaidError, match="NotFoundError: "):
        shared_client.say(STOP.format(late))


@pytest.mark.own_cluster
def test_start_up_and_shut_down_take_their_time_and_are_free(
    start_plane: Callable[..., ControlPlane], clients: Clients
) -> None:
    plane = start_plane("--starting-seconds", "2", "--stopping-seconds", "2")
    client = clients(plane.environment)
    up = connected(plane, client)
    assert up["ready"] - up["requested"] > 1.99
    assert client.say(ONE_QUERY) == "SUCCESS"

    begun = time.monotonic()
    client.say("ctx.stop()")

    stopped = ended(plane, up["id"])
    assert time.monotonic() - begun >= 2
    assert stopped["state"] == "Stopped"
    assert stopped["billable_seconds"] == pytest.approx(charged(stopped), abs=0.5)


@pytest.mark.own_cluster
def test_an_instance_that_starts_takes_no_query_and_costs_nothing_if_it_is_stopped_or_lost(
    start_plane: Callable[..., ControlPlane], clients: Clients
) -> None:
    plane = start_plane("--starting-seconds", "600")
    client = clients(plane.environment)
    lost, stopped = started(client), started(client)
    client.say(f"ctx = pc.ComputeContext.connect({stopped!r})")
    assert status(client) == "STARTING"
    with pytest.raises(SaidError, match="the compute cluster is starting"):
        client.say(ONE_QUERY)
    assert client.say("len(API_CLIENT.get_compute_cluster_nodes(ctx.workspace.id, ctx._compute_id))") == 0

    plane.kill(lost)
    client.say(STOP.format(stopped))

    for instance_id, end in ((lost, ("Failed", "Failed")), (stopped, ("Stopped", "StoppedByUser"))):
        gone = ended(plane, instance_id)
        assert (gone["state"], gone["termination"]["termination_reason"]) == end
        assert (gone["ready"], gone["billable_seconds"]) == (None, 0)
    assert plane.running == []


@pytest.mark.own_cluster
def test_an_instance_that_stops_is_there_for_nobody_and_can_still_be_lost(
    start_plane: Callable[..., ControlPlane], clients: Clients
) -> None:
    plane = start_plane("--stopping-seconds", "600")
    client, other = clients(plane.environment), clients(plane.environment)
    instance_id = connected(plane, client)["id"]
    client.say("ctx.stop()")
    stopping = found(plane, instance_id)
    assert stopping["state"] == "Stopping"

    with pytest.raises(SaidError, match=r"incorrect state: ComputeContextStatus.STOPPING"):
        other.say(f"pc.ComputeContext.connect({instance_id!r})")
    assert other.say("pc.ComputeContext.list(None)[0][1].name") == "STOPPING"
    with pytest.raises(SaidError, match="the compute cluster is stopping already"):
        other.say(STOP.format(instance_id))
    plane.kill(instance_id)

    gone = found(plane, instance_id)
    assert gone["state"] == "Failed"
    assert gone["billable_seconds"] == stopping["billable_seconds"]
    assert plane.running == []


@pytest.mark.own_cluster
def test_a_reset_waits_for_no_long_stop(start_plane: Callable[..., ControlPlane], clients: Clients) -> None:
    plane = start_plane("--stopping-seconds", "600")
    client = clients(plane.environment)
    pids = [pid for _ in range(2) for pid in connected(plane, client)["pids"]]
    client.say("ctx.stop()")

    plane.reset()

    assert plane.instances == []
    assert alive(pids) == []
