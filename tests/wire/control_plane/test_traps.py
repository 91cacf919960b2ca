"""What the client does that nobody expects, reproduced against the stand-in.

They are facts about the client, for whatever works around them: a test that fails here says that a client has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.waiting import wait_for
from tests.wire.control_plane.console import SaidError
from tests.wire.control_plane.instances import connected, ended, found, hold, status, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.control_plane.conftest import Clients
    from tests.wire.control_plane.console import Console
    from tests.wire.gates import Gate

START_CALL = "POST workspace/*/compute/start"
STOP_CALL = "POST workspace/*/compute/*/stop"
LOOK_CALL = "GET workspace/*/compute/*"
PROXY = "ctx = pc.ComputeContext(cpus=2, memory=4, connection_mode='proxy')"
DIRECT = "ctx = pc.ComputeContext(cpus=2, memory=4)"
NAPPING_START = """
import polars_cloud.context.compute
naps = []
class Clock:
    time = staticmethod(time.time)
    @staticmethod
    def sleep(seconds):
        naps.append(seconds)
        time.sleep(min(seconds, 0.02))
polars_cloud.context.compute.time = Clock
try:
    ctx.start()
finally:
    polars_cloud.context.compute.time = time
"""
"""Starts, and notes what the client would sleep for; it goes on at once."""


def test_a_start_in_direct_mode_looks_once_and_then_sleeps_for_30_seconds(
    plane: ControlPlane, shared_client: Console
) -> None:
    shared_client.say(f"{DIRECT}\n{NAPPING_START}")

    first, *others = shared_client.say("naps")
    assert 20 < first <= 30
    assert [nap for nap in others if nap > 3] == []
    assert len(plane.recorder.calls(LOOK_CALL)) == 2 + len(others)
    assert len(plane.started) == 1


def test_a_start_in_proxy_mode_waits_for_nothing(plane: ControlPlane, shared_client: Console) -> None:
    shared_client.say(f"{PROXY}\n{NAPPING_START}")

    assert len(plane.started) == 1
    assert shared_client.say("naps") == []
    assert plane.recorder.calls(LOOK_CALL) == []


def test_a_block_starts_nothing_and_hides_the_error_of_its_body(plane: ControlPlane, shared_client: Console) -> None:
    with pytest.raises(SaidError, match="RuntimeError: nothing to stop, context is not running"):
        shared_client.say(f"{PROXY}\nwith ctx:\n    raise KeyError('of the body')")

    assert plane.started == []


def test_a_query_starts_what_is_not_started(plane: ControlPlane, shared_client: Console) -> None:
    shared_client.say(PROXY)
    assert status(shared_client) == "UNINITIALIZED"

    shared_client.say("query = pl.LazyFrame({'a': [1]}).remote(ctx).single_node().execute(blocking=False)")

    assert len(plane.started) == 1
    assert shared_client.say("query.await_result().status.name") == "SUCCESS"


def test_a_block_stops_under_the_query_that_it_started(plane: ControlPlane, shared_client: Console, gate: Gate) -> None:
    connected(plane, shared_client, mode="Proxy")
    hold(shared_client, gate)

    shared_client.say("with ctx: pass")

    assert ended(plane, plane.started[0])["state"] == "Stopped"
    assert shared_client.say("query.get_status().name") == "FAILED"


def test_a_stop_is_told_only_once_and_believed_at_once(plane: ControlPlane, shared_client: Console) -> None:
    connected(plane, shared_client)
    shared_client.say("ctx.stop()")
    plane.recorder.forget()

    assert status(shared_client) == "STOPPED"
    shared_client.say("ctx.stop()")

    assert plane.recorder.calls() == []


def test_a_stop_of_what_was_never_started_raises(plane: ControlPlane, shared_client: Console) -> None:
    with pytest.raises(SaidError, match="RuntimeError: nothing to stop"):
        shared_client.say(f"{DIRECT}; ctx.stop()")

    assert plane.recorder.calls(STOP_CALL) == []


def test_a_start_after_a_stop_is_another_instance(plane: ControlPlane, shared_client: Console) -> None:
    shared_client.say(f"{PROXY}; ctx.start(); first = str(ctx._compute_id); ctx.stop(); ctx.start()")

    assert plane.started == shared_client.say("[first, str(ctx._compute_id)]")
    assert ended(plane, plane.started[0])["state"] == "Stopped"
    assert plane.running == plane.started[1:]


def test_two_contexts_of_the_same_order_are_two_instances(plane: ControlPlane, shared_client: Console) -> None:
    shared_client.say(f"{PROXY}; ctx.start(); {PROXY}; ctx.start()")

    assert len(plane.running) == 2


def test_an_instance_is_not_stopped_when_its_context_is_gone(plane: ControlPlane, shared_client: Console) -> None:
    connected(plane, shared_client)

    shared_client.say("import gc; del ctx; gc.collect()")

    assert found(plane, plane.started[0])["state"] == "Idle"
    assert plane.recorder.calls(STOP_CALL) == []


def test_a_context_that_is_connected_again_has_forgotten_what_was_asked_for(
    plane: ControlPlane, shared_client: Console
) -> None:
    connected(plane, shared_client, labels=["etl"], env_vars={"A": "b"}, minutes=700)

    assert shared_client.say("[ctx.labels, ctx.env_vars, ctx._name, ctx._requirements_txt]") == [None, {}, None, None]
    assert shared_client.say("ctx._idle_timeout_mins") is None
    assert plane.instances[0]["labels"] == ["etl"]


def test_a_direct_query_that_is_canceled_does_not_raise(
    plane: ControlPlane, shared_client: Console, gate: Gate
) -> None:
    connected(plane, shared_client)
    hold(shared_client, gate)

    shared_client.say("query.cancel()")

    assert shared_client.say("query.await_result().status.name") == "CANCELED"


def test_a_cancel_that_reaches_nobody_says_nothing(plane: ControlPlane, shared_client: Console, gate: Gate) -> None:
    instance = connected(plane, shared_client)
    hold(shared_client, gate)
    plane.kill(instance["id"])

    assert shared_client.say("query.cancel()") is None


def test_a_direct_query_that_fails_without_an_error_does_not_raise(plane: ControlPlane, shared_client: Console) -> None:
    instance = connected(plane, shared_client)
    plane.faults_of(instance["id"]).add("SubmitQuery", "fail", errors=[])

    shared_client.say("query = pl.LazyFrame({'a': [1]}).remote(ctx).single_node().execute(blocking=False)")

    assert shared_client.say("query.await_result().status.name") == "FAILED"


def test_a_start_whose_answer_is_lost_leaves_an_instance_that_nobody_knows(
    plane: ControlPlane, shared_client: Console
) -> None:
    plane.faults.add(START_CALL, "drop")
    shared_client.say(PROXY)

    with pytest.raises(SaidError, match="RuntimeError: Error calling REST endpoint"):
        shared_client.say("ctx.start()")

    assert shared_client.say("ctx._compute_id") is None
    assert [call.get("fault") for call in plane.recorder.calls(START_CALL)] == ["drop"]
    listed = shared_client.say("[str(ctx._compute_id) for ctx, _ in pc.ComputeContext.list(None)]")
    assert plane.running == listed != []  # who lists all finds it


def test_a_start_that_is_refused_as_one_of_too_many_is_repeated_in_silence(
    plane: ControlPlane, shared_client: Console
) -> None:
    plane.faults.add(START_CALL, "answer", status=429)

    shared_client.say(f"{PROXY}; ctx.start()")

    first, second = plane.recorder.calls(START_CALL)
    assert 0.9 < second["time"] - first["time"] < 15
    assert len(plane.started) == 1


def test_a_start_that_fails_in_the_service_is_not_repeated(plane: ControlPlane, shared_client: Console) -> None:
    plane.faults.add(START_CALL, "answer", status=503, body={"message": "later", "errors": {}})

    with pytest.raises(SaidError, match=r"(?s)ValueError: .*later"):
        shared_client.say(f"{PROXY}; ctx.start()")

    assert len(plane.recorder.calls(START_CALL)) == 1
    assert plane.started == []


@pytest.mark.own_cluster
def test_a_control_plane_that_refuses_connections_is_called_for_ten_seconds(
    start_plane: Callable[..., ControlPlane], clients: Clients
) -> None:
    plane = start_plane()
    client = clients(plane.environment)
    client.say(PROXY)
    plane.shut("api")
    assert plane.get("/_dev/status")["open"] == {"api": False, "token": True}

    with pytest.raises(SaidError, match="RuntimeError: Error calling REST endpoint"):
        client.say("begun = time.monotonic(); ctx.start()")

    assert 9 < client.say("time.monotonic() - begun") < 30
    plane.open("api")
    client.say("ctx.start()")
    assert len(plane.started) == 1


@pytest.mark.slow_client
def test_a_start_that_is_answered_late_is_sent_five_times_and_starts_five_instances(
    start_plane: Callable[..., ControlPlane], clients: Clients
) -> None:
    plane = start_plane()
    client = clients(plane.environment)
    client.say(PROXY)
    plane.faults.add(START_CALL, "delay", seconds=31, times=None)  # the client gives an attempt 30 s

    with pytest.raises(SaidError, match=r"(?s)RuntimeError: Error calling REST endpoint.*timed out"):
        client.say("begun = time.monotonic(); ctx.start()", seconds=240)

    assert 155 < client.say("time.monotonic() - begun") < 230
    assert client.say("ctx._compute_id") is None
    wait_for(lambda: len(plane.started) >= 5 or None, 60, lambda: f"{len(plane.started)} instances")
    for instance_id in plane.started:
        until(plane, instance_id, "Idle")
    assert len(plane.recorder.calls(START_CALL)) == len(plane.running) == 5
