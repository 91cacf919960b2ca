"""What our client of Polars Cloud's REST interface makes of each answer, and of none."""

from __future__ import annotations

import re
import socket
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from airflow_provider_polars.clients.control_plane import ControlPlane, Refusal
from airflow_provider_polars.exceptions import ControlPlaneUnavailableError
from tests.harness.identity import IdentityStandIn, answer
from tests.harness.waiting import wait_for
from tests.unit.clients.api_stand_in import ApiStandIn, Reply
from tests.unit.clients.calls import ACCOUNT, ASKS, BOUND, PATH, Ask, each_method, error_of

# ---- refusals


@each_method
@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 422])
def test_a_refusal_has_the_status_and_the_words_of_the_service(
    api: ApiStandIn, plane: ControlPlane, masked: list[str], ask: Ask, status: int
) -> None:
    api.reply(PATH, answer(status, {"message": "a manifest 'etl' is registered already", "errors": {}}))
    error = error_of(plane, ask, masked)
    assert isinstance(error, Refusal)
    assert (error.status, str(error)) == (status, "a manifest 'etl' is registered already")
    assert len(api.calls) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {
                "message": "the request is not valid",
                "errors": {"name": ["too long", "taken"], "storage": ["too small"]},
            },
            "the request is not valid. name: too long, taken; storage: too small",
        ),
        (
            {"message": "The request is not valid.", "errors": {"name": ["taken"]}},
            "The request is not valid. name: taken",
        ),
        ({"message": "", "errors": {"name": ["taken"]}}, "name: taken"),
        ({"message": None, "errors": {"name": ["taken"]}}, "name: taken"),
        ({"message": None, "errors": {}}, "Forbidden"),
        ({"message": "no", "errors": {"sizes": [1, 2]}}, "no. sizes: 1, 2"),
        ({"message": "no"}, "no"),
        ({"detail": "no"}, '{"detail": "no"}'),
        ({"message": "no", "errors": ["name"]}, '{"message": "no", "errors": ["name"]}'),
        (["no"], '["no"]'),
        ("<html>\n  <b>blocked</b>\n</html>", "<html> <b>blocked</b> </html>"),
        ("", "Forbidden"),
        ({"message": ""}, "Forbidden"),
    ],
)
def test_the_words_of_a_refusal_are_found_in_whatever_form(
    api: ApiStandIn, plane: ControlPlane, masked: list[str], body: object, words: str
) -> None:
    """The fields that are wrong are named with what is wrong."""
    api.reply(PATH, answer(403, body))
    error = error_of(plane, ASKS[0], masked)
    assert isinstance(error, Refusal)
    assert str(error) == words


@pytest.mark.parametrize("status", [403, 500])
@pytest.mark.parametrize(
    "body", ["x" * 10_000, {"message": "x" * 10_000}, {"message": "no", "errors": {"x" * 9000: []}}]
)
def test_long_words_are_cut(api: ApiStandIn, plane: ControlPlane, masked: list[str], status: int, body: object) -> None:
    api.reply(PATH, answer(status, body))
    assert len(str(error_of(plane, ASKS[0], masked))) < 550


@each_method
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    api: ApiStandIn, plane: ControlPlane, masked: list[str], ask: Ask, status: int
) -> None:
    """The token goes to the address of the service and to no other; a proxy in between may redirect for a while."""
    api.reply(PATH, answer(status, "", location=f"{api.address}/api/v1/elsewhere"))
    error = error_of(plane, ask, masked)
    assert isinstance(error, ControlPlaneUnavailableError)
    assert not error.permanent
    method = api.calls[0].method
    assert str(error).startswith(f"Polars Cloud ({api.address}) answers {method} {PATH} with {status}: ")
    assert [call.path for call in api.calls] == [PATH]


# ---- no answer, or none that makes sense


@each_method
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_service_that_is_not_well_is_told_with_its_words_and_asked_once(
    api: ApiStandIn, plane: ControlPlane, masked: list[str], ask: Ask, status: int
) -> None:
    api.reply(PATH, answer(status, {"message": "maintenance until noon", "errors": {}}))
    error = error_of(plane, ask, masked)
    assert isinstance(error, ControlPlaneUnavailableError)
    assert not error.permanent
    method = api.calls[0].method
    assert str(error) == (
        f"Polars Cloud ({api.address}) answers {method} {PATH} with {status}: maintenance until noon. Try again later."
    )
    assert len(api.calls) == 1


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    """End the connection without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def breaks_off(handler: BaseHTTPRequestHandler) -> None:
    """End the connection in the middle of an answer."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"id": ')
    hangs_up(handler)


def speaks_something_else(handler: BaseHTTPRequestHandler) -> None:
    """Answer as another protocol."""
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    hangs_up(handler)


@each_method
@pytest.mark.parametrize("reply", [hangs_up, breaks_off, speaks_something_else])
def test_a_request_without_an_answer_is_not_sent_again(
    api: ApiStandIn, plane: ControlPlane, masked: list[str], ask: Ask, reply: Reply
) -> None:
    """What became of it is not known: a second one might start a second instance."""
    api.reply(PATH, reply)
    error = error_of(plane, ask, masked)
    assert isinstance(error, ControlPlaneUnavailableError)
    assert str(error).startswith(f"Polars Cloud ({api.address}) gives no answer to {api.calls[0].method} {PATH}: ")
    assert "check network, HTTPS_PROXY and POLARS_CLOUD_API_ADDR" in str(error)
    assert len(api.calls) == 1


@pytest.mark.parametrize(
    "ask", [lambda plane: plane.get(PATH, seconds=1.0), lambda plane: plane.post(PATH, {}, seconds=1.0)]
)
def test_a_service_that_hangs_is_left_in_time(
    api: ApiStandIn, plane: ControlPlane, masked: list[str], ask: Ask
) -> None:
    api.reply(PATH, lambda handler: bool(handler.connection.recv(1)))
    error = error_of(plane, ask, masked)
    assert isinstance(error, ControlPlaneUnavailableError)
    assert re.search("timed out|no end within 1 seconds", str(error))
    wait_for(lambda: api.calls or None, BOUND, lambda: "the call does not arrive", interval=0.02)
    assert len(api.calls) == 1


def test_a_service_that_answers_drop_by_drop_is_left_in_time(
    api: ApiStandIn, plane: ControlPlane, masked: list[str]
) -> None:
    left = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000000")
        handler.end_headers()
        while not left.wait(0.02):
            handler.wfile.write(b" ")
        hangs_up(handler)

    api.reply(PATH, drip)
    error = error_of(plane, lambda plane: plane.get(PATH, seconds=1.0), masked)
    left.set()
    assert isinstance(error, ControlPlaneUnavailableError)
    assert "no end within 1 seconds" in str(error)


def test_a_closed_port_and_a_name_that_nobody_knows_are_told(
    tokens: IdentityStandIn, masked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for address, reason in (("http://127.0.0.1:1", "Connection refused"), ("http://localhost:1", "refused")):
        monkeypatch.setenv("POLARS_CLOUD_API_ADDR", address)
        plane = ControlPlane(ACCOUNT, client_version="0.12.0", polars_version="2.0.0", mask=masked.append)
        error = error_of(plane, ASKS[0], masked)
        assert isinstance(error, ControlPlaneUnavailableError)
        assert f"({address}) gives no answer" in str(error)
        assert reason in str(error)


@pytest.mark.parametrize("body", ["<html>Sign in to the hotel network</html>", "{", "ok"])
def test_what_is_no_json_is_not_polars_cloud(
    api: ApiStandIn, plane: ControlPlane, masked: list[str], body: str
) -> None:
    api.reply(PATH, answer(200, body))
    error = error_of(plane, ASKS[0], masked)
    assert isinstance(error, ControlPlaneUnavailableError)
    assert str(error) == (
        f"What answers GET {PATH} at {api.address} is not Polars Cloud: no JSON. Check POLARS_CLOUD_API_ADDR and "
        "HTTPS_PROXY."
    )
