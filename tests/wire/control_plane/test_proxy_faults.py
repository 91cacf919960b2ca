"""Faults of queries in proxy mode, as the real client sees them; what becomes of them is as the stand-in answers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.waiting import wait_for
from tests.wire.control_plane.console import SaidError
from tests.wire.control_plane.instances import connected
from tests.wire.fuzzing import call

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.control_plane.console import Console

SECONDS = 20.0
LOST = "Unknown error, transport error"
"""What the client says of a connection that has ended."""

SUBMIT = "query = pl.LazyFrame({'a': [1, 2]}).remote(ctx).single_node().execute(blocking=False)"
LISTED = "[str(found.id) for found in API_CLIENT.get_queries(API_CLIENT.get_default_workspace_id())]"
METHOD = b"/polars_cloud.control_plane.client.v1.ClientService/SubmitQuery"


def recorded(plane: ControlPlane) -> list[str | None]:
    """Return the faults of the submissions."""
    return [submission.get("fault") for submission in plane.recorder.submissions]


def refusal(client: Console, code: str = SUBMIT) -> SaidError:
    """Return what the client raises."""
    with pytest.raises(SaidError) as raised:
        client.say(code)
    return raised.value


def submitted_anew(client: Console) -> str:
    """Submit a query that succeeds, and return its status."""
    status: str = client.say(f"{SUBMIT}\nquery.await_result().status.name")
    return status


def test_a_submission_that_is_delayed_is_answered_later(plane: ControlPlane, shared_client: Console) -> None:
    connected(plane, shared_client, mode="Proxy")
    fault = plane.faults.add("SubmitQuery", "delay", seconds=0.5)

    taken = shared_client.say(f"begun = time.monotonic()\n{SUBMIT}\ntime.monotonic() - begun")

    assert 0.5 <= taken < SECONDS
    assert plane.faults.hits(fault) == 1
    assert recorded(plane) == ["delay"]
    assert shared_client.say("query.await_result().status.name") == "SUCCESS"


def test_a_query_whose_submission_is_not_answered_runs_all_the_same(
    plane: ControlPlane, shared_client: Console
) -> None:
    connected(plane, shared_client, mode="Proxy")
    plane.faults.add("SubmitQuery", "drop")

    assert LOST in refusal(shared_client).text

    assert recorded(plane) == ["drop"]
    (query_id,) = shared_client.say(LISTED)
    assert plane.recorder.submissions[0]["query_id"] == query_id
    taken_up = f"pc.ProxyQuery(uuid.UUID({query_id!r}), API_CLIENT.get_default_workspace_id())"
    assert shared_client.say(f"{taken_up}.await_result().n_rows_total") == 2


def test_a_submission_whose_connection_is_reset_runs_nothing(plane: ControlPlane, shared_client: Console) -> None:
    connected(plane, shared_client, mode="Proxy")
    plane.faults.add("SubmitQuery", "reset")

    assert LOST in refusal(shared_client).text

    assert recorded(plane) == ["reset"]
    assert shared_client.say(LISTED) == []
    assert submitted_anew(shared_client) == "SUCCESS"


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"status": "UNAVAILABLE", "message": "later"}, "RuntimeError", "currently unavailable, later"),
        (
            {"status": "INVALID_ARGUMENT", "message": "ColumnNotFoundError: nothing is called b"},
            "EncodedPolarsError",
            "ColumnNotFoundError: nothing is called b",
        ),
    ],
)
def test_a_submission_can_be_answered_with_a_status(
    plane: ControlPlane, shared_client: Console, fields: dict[str, Any], kind: str, text: str
) -> None:
    connected(plane, shared_client, mode="Proxy")
    plane.faults.add("SubmitQuery", "answer", **fields)

    error = refusal(shared_client)

    assert (error.kind, text in error.text) == (kind, True), error.text
    assert recorded(plane) == ["answer"]
    assert shared_client.say(LISTED) == []
    assert submitted_anew(shared_client) == "SUCCESS"


def test_a_query_that_a_fault_fails_raises_the_class_of_its_error(plane: ControlPlane, shared_client: Console) -> None:
    connected(plane, shared_client, mode="Proxy")
    plane.faults.add("SubmitQuery", "fail", errors=["ColumnNotFoundError: nothing is called b"])
    shared_client.say(SUBMIT)

    error = refusal(shared_client, "query.await_result()")

    assert (error.kind, "nothing is called b" in error.text) == ("ColumnNotFoundError", True), error.text
    assert shared_client.say("query.await_result(raise_on_failure=False).status.name") == "FAILED"
    assert recorded(plane) == ["fail"]


def test_a_query_that_a_fault_fails_without_errors_is_failed(plane: ControlPlane, shared_client: Console) -> None:
    connected(plane, shared_client, mode="Proxy")
    plane.faults.add("SubmitQuery", "fail", errors=[])
    shared_client.say(SUBMIT)

    assert shared_client.say("query.await_result(raise_on_failure=False).status.name") == "FAILED"
    assert shared_client.say("query.get_status().name") == "FAILED"
    assert recorded(plane) == ["fail"]


# ---- on the wire, where the connections of callers end at the front and not at the server behind


EMPTY = bytes(5)
"""A message without fields: no compression, and its length."""

REQUESTS = {
    "SubmitQuery": call(METHOD, [], EMPTY),
    "GET user/me": b"GET /api/v1/user/me HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("do", ["drop", "reset"])
def test_the_connection_of_a_caller_ends_as_the_fault_says(plane: ControlPlane, name: str, do: str) -> None:
    fault = plane.faults.add(name, do)

    with socket.create_connection(("127.0.0.1", int(plane.api.rpartition(":")[2])), SECONDS) as caller:
        caller.sendall(REQUESTS[name])
        received, was_reset = b"", False
        try:
            while part := caller.recv(65536):
                received += part
        except ConnectionResetError:
            was_reset = True

    assert was_reset == (do == "reset")
    assert b"grpc-status" not in received
    assert b"HTTP/1" not in received
    assert plane.faults.hits(fault) == 1
    wait_for(lambda: plane.recorder.calls(name) or None, SECONDS, lambda: str(plane.recorder.calls()))
