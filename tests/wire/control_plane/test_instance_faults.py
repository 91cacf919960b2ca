"""What goes wrong on instances in direct mode, as the real client sees it and as the stand-in answers."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from airflow_provider_polars.protocol.compute_plane_pb2_grpc import ClientServiceStub
from tests.wire.control_plane.console import SaidError
from tests.wire.control_plane.instances import connected, found, until
from tests.wire.control_plane.raw import Caller

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.control_plane.console import Console

SECONDS = 20.0
RUN = "query = pl.LazyFrame({'a': [1]}).remote(ctx).single_node().execute(blocking=False); query.await_result()"
DETAILS = "pc.QueryDetail._from_inner(ctx._get_direct_client().get_query_details(query._query_id)).status"
VERSION = "ctx._get_direct_client().get_compute_versions()"
SIGN_IN = """
API_CLIENT.clear_authentication()
pc.authenticate(interactive=False)
"""


def public_info(caller: Caller, instance: str) -> dict[str, Any]:
    answer = caller.ask("GET", f"W/compute/{instance}/public_info")
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def test_an_observatory_that_is_down_costs_no_result(plane: ControlPlane, shared_client: Console) -> None:
    instance = connected(plane, shared_client)
    faults = plane.faults_of(instance["id"])
    down = faults.add("GET query", "reset", times=None)

    shared_client.say(RUN)
    with pytest.raises(SaidError, match=r"RuntimeError: .*error sending request"):
        shared_client.say(DETAILS)

    assert shared_client.say("query.await_result().status.name") == "SUCCESS"
    assert faults.hits(down) >= 1
    faults.lift(down)
    assert shared_client.say(DETAILS) == "Success"


def test_an_instance_can_tell_another_version_of_polars(plane: ControlPlane, shared_client: Console) -> None:
    instance = connected(plane, shared_client)["id"]
    true = shared_client.say(f"str({VERSION}.polars_python_version)")

    plane.tell_version(instance, "1.44.2")
    assert shared_client.say(f"str({VERSION}.polars_python_version)") == "1.44.2"

    plane.tell_version(instance, None)
    assert shared_client.say(f"str({VERSION}.polars_python_version)") == true
    assert true in plane.polars
    with pytest.raises(ValueError, match="length >= 1"):
        plane.tell_version(instance, "")


@pytest.mark.own_cluster  # for the client tries for 10 s
def test_a_token_endpoint_that_is_shut_lets_nobody_sign_in(plane: ControlPlane, shared_client: Console) -> None:
    shared_client.say(SIGN_IN)
    plane.shut("token")

    with pytest.raises(SaidError, match=r"AuthLoadError: Error getting access token: .*Connection refused"):
        shared_client.say(SIGN_IN)

    plane.open("token")
    shared_client.say(SIGN_IN)
    assert shared_client.say("str(API_CLIENT.get_user().id)") == plane.account.id


def test_each_instance_has_an_authority_of_its_own(plane: ControlPlane) -> None:
    caller = Caller(plane)
    ids = [caller.start(), caller.start()]
    ports = [until(plane, instance, "Idle")["ports"][0] for instance in ids]
    first, second = (public_info(caller, instance)["public_server_key"] for instance in ids)

    assert first != second
    assert plane.authority.read_text() not in (first, second)
    assert [trusted(port, key) for port in ports for key in (first, second)] == [True, False, False, True]


def trusted(port: int, authority: str) -> bool:
    """Return whether a client that trusts an authority alone speaks to a port."""
    trust = ssl.create_default_context(cadata=authority)
    trust.check_hostname = False  # the name is of no matter here: which authority has signed is
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        try:
            with trust.wrap_socket(connection):
                return True
        except ssl.SSLCertVerificationError:
            return False


def test_an_instance_takes_no_connection_in_clear_text(plane: ControlPlane) -> None:
    caller = Caller(plane)
    instance = caller.start()
    scheduler, observatory = until(plane, instance, "Idle")["ports"]
    header = [("authorization", f"Bearer {caller.token}")]

    with grpc.insecure_channel(f"127.0.0.1:{scheduler}") as channel, pytest.raises(grpc.RpcError) as raised:
        ClientServiceStub(channel).GetComputeVersions(wire.Empty(), metadata=header, timeout=SECONDS)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    for port in (scheduler, observatory):
        assert b"200" not in in_clear_text(port)
    assert found(plane, instance)["state"] == "Idle"


def in_clear_text(port: int) -> bytes:
    """Return what a port answers to a request without TLS."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(b"GET /_dev/status HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            pass
    return received
