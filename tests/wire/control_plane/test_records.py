"""What a control plane and its instances note of the calls that they get."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest

from airflow_provider_polars.protocol import compute_plane_pb2 as compute_wire
from airflow_provider_polars.protocol import control_plane_pb2 as wire
from tests.wire.control_plane.instances import connected, hold, until
from tests.wire.control_plane.raw import Caller

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.control_plane.console import Console
    from tests.wire.gates import Gate

START = "POST workspace/*/compute/start"
SERVICE = "/polars_cloud.control_plane.client.v1.ClientService/"
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("fault", [{"do": "drop"}, {"do": "delay", "seconds": 0.1}])
def test_the_fault_of_a_start_is_not_one_of_the_calls_to_its_instance(
    plane: ControlPlane, shared_client: Console, fault: dict[str, Any]
) -> None:
    plane.faults.add(START, **fault)
    with contextlib.suppress(httpx.TransportError):
        Caller(plane).start()
    (instance_id,) = plane.started
    until(plane, instance_id, "Idle")

    shared_client.say(f"""
        ctx = pc.ComputeContext.connect(uuid.UUID({instance_id!r}), API_CLIENT.get_default_workspace_id())
        pl.LazyFrame({{"a": [1]}}).remote(ctx).single_node().execute()
    """)

    records = plane.get(f"/instances/{instance_id}/_dev/records")
    assert "SubmitQuery" in [record["call"] for record in records]
    assert [record["fault"] for record in records if "fault" in record] == []
    assert [record.get("fault") for record in plane.recorder.calls(START)] == [fault["do"]]


def test_start_and_stop_are_noted_with_their_instance(plane: ControlPlane) -> None:
    caller = Caller(plane)
    instance_id = caller.start()
    assert caller.ask("POST", f"W/compute/{instance_id}/stop").status_code == 204
    noted = [call["compute_id"] for call in plane.recorder.calls() if call["call"].endswith(("/start", "/stop"))]
    assert noted == [instance_id] * 2


def test_a_cancel_by_the_control_plane_is_one_of_the_cancels(
    plane: ControlPlane, shared_client: Console, gate: Gate
) -> None:
    connected(plane, shared_client, mode="Proxy")
    hold(shared_client, gate)
    assert plane.recorder.cancels == []

    shared_client.say("query.cancel()")

    (cancel,) = plane.recorder.cancels
    assert cancel["query_id"] == shared_client.say("str(query._query_id)")


def test_a_cancel_that_was_refused_is_recorded(plane: ControlPlane) -> None:
    assert Caller(plane).ask("POST", f"W/query/{NOBODY}/cancel").status_code == 404

    (cancel,) = plane.recorder.cancels
    assert (cancel["query_id"], cancel["refused"]) == (NOBODY, f"no query {NOBODY}")


def test_calls_in_proxy_mode_that_were_refused_are_recorded_with_the_reason(plane: ControlPlane) -> None:
    caller = Caller(plane)
    direct = caller.start()
    right, wrong = f"Bearer {caller.token}", "Bearer x.y.z"
    submission = wire.SubmitQueryRequest()
    submission.compute_id.compute_id = NOBODY
    to_direct = wire.SubmitQueryRequest()
    to_direct.compute_id.compute_id = direct
    result = compute_wire.QueryRequest(query_id=compute_wire.QueryId(query_id=NOBODY))
    calls = [
        ("SubmitQuery", submission, wrong, "UNAUTHENTICATED"),
        ("SubmitQuery", submission, right, "NOT_FOUND"),
        ("SubmitQuery", to_direct, right, "FAILED_PRECONDITION"),
        ("GetQueryResult", result, wrong, "UNAUTHENTICATED"),
        ("GetQueryResult", result, right, "NOT_FOUND"),
    ]

    refusals = []
    with grpc.insecure_channel(plane.api.removeprefix("http://")) as channel:
        for call, message, header, status in calls:
            send: Any = channel.unary_unary(SERVICE + call)
            answer = send.future(message.SerializeToString(), metadata=[("authorization", header)], timeout=10)
            assert answer.code().name == status
            refusals.append((call, answer.details()))

    records = [record for record in plane.recorder.calls() if record["call"] in ("SubmitQuery", "GetQueryResult")]
    assert [(record["call"], record["refused"]) for record in records] == refusals
    assert [record["compute_id"] for record in records[:3]] == [NOBODY, NOBODY, direct]
    assert [record["query_id"] for record in records[3:]] == [NOBODY, NOBODY]
