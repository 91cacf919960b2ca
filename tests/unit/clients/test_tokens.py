"""Whether a service account is accepted, asked of a stand-in for the identity service at the wire."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_polars.clients.tokens import UNREADABLE_SECONDS, check_service_account, fetch_token
from airflow_provider_polars.credentials import ServiceAccount
from airflow_provider_polars.exceptions import ConfigurationError, CredentialsError, CredentialsUnavailableError
from airflow_provider_polars.testing import isolated_environment
from airflow_provider_polars.testing.environment import set_environment
from tests.harness.identity import IdentityStandIn, answer
from tests.unit.clients.jwt import jwt
from tests.unit.service_accounts import everything_in
from tests.wire.peers import refusing_port

SECRET = "correct-horse-battery-staple"
RIGHT = ServiceAccount("some-client", SECRET, "Variables A and B")
WRONG = ServiceAccount("some-client", "wrong-horse-battery-staple", "Variables A and B")
BOUND = 20.0
"""Seconds within which a busy machine shows what takes less than 5."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityStandIn]:
    """Start the stand-in once."""
    with IdentityStandIn(tmp_path_factory.mktemp("identity"), {"some-client": SECRET}) as stand_in:
        yield stand_in


@pytest.fixture
def identity(service: IdentityStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IdentityStandIn:
    """Lead this process to the stand-in, which has forgotten what it was asked."""
    set_environment(isolated_environment(tmp_path) | service.environment, monkeypatch)
    service.asked.clear()
    service.instead = None
    return service


def refusal(account: ServiceAccount = RIGHT, seconds: float = 3.5) -> CredentialsError | CredentialsUnavailableError:
    """Return the error of a check, which came soon and shows no secret anywhere."""
    begin = time.monotonic()
    with pytest.raises((CredentialsError, CredentialsUnavailableError)) as caught:
        check_service_account(account, seconds)
    assert time.monotonic() - begin < BOUND
    assert account.client_secret not in everything_in(caught.value)
    assert account.client_id not in everything_in(caught.value)
    return caught.value


def test_an_account_that_is_known_is_accepted(identity: IdentityStandIn) -> None:
    check_service_account(RIGHT)
    assert identity.seen == ["some-client"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": "invalid_grant", "error_description": "Invalid user credentials"}),
        (401, ""),
        (400, {"error": "invalid_grant", "error_description": "Account is not fully set up"}),
        (403, {"error": "access_denied"}),
        (401, {"error": "unauthorized_client"}),
    ],
)
def test_a_refusal_is_permanent_and_says_whose_it_is(identity: IdentityStandIn, status: int, body: object) -> None:
    identity.instead = answer(status, body)
    error = refusal()
    assert isinstance(error, CredentialsError)
    assert error.permanent
    assert f"refuses the service account from Variables A and B: the identity service {identity.address}" in str(error)
    assert f"answered {status}" in str(error)


def test_a_wrong_secret_is_refused(identity: IdentityStandIn) -> None:
    assert isinstance(refusal(WRONG), CredentialsError)


@pytest.mark.parametrize(
    ("reply", "gave"),
    [
        (answer(500, {"error": "unknown_error"}), "status 500"),
        (answer(503, "<html>maintenance</html>"), "status 503"),
        (answer(429, {"error": "slow_down"}), "status 429"),
        (answer(404, {"error": "not_found"}), "status 404"),
        (answer(403, "<html>blocked by the firewall</html>"), "status 403"),
        (answer(400, {"error": "invalid_request"}), "status 400"),
        (answer(400, {"error": ["invalid_grant"]}), "status 400"),
        (answer(200, "<html>Sign in to the hotel network</html>"), "status 200 without a token"),
        (answer(200, {"access_token": ""}), "status 200 without a token"),
        (answer(200, {"access_token": 7}), "status 200 without a token"),
        (answer(200, ["access_token"]), "status 200 without a token"),
        (answer(200, "[" * 60_000), "status 200 without a token"),
        (answer(204, ""), "status 204 without a token"),
        (answer(200, "x" * 200_000), "an answer without an end"),
    ],
)
def test_anything_else_says_nothing_about_the_account(
    identity: IdentityStandIn, reply: Callable[[BaseHTTPRequestHandler], None], gave: str
) -> None:
    """A retry may help; the account is not blamed."""
    identity.instead = reply
    error = refusal()
    assert isinstance(error, CredentialsUnavailableError)
    assert not error.permanent
    assert f"the identity service {identity.address} gave {gave}. Try again later." in str(error)


def test_what_the_service_says_is_not_repeated(identity: IdentityStandIn) -> None:
    """It might say back what it was told."""

    def echo(handler: BaseHTTPRequestHandler) -> None:
        answer(401, identity.asked[-1])(handler)

    identity.instead = echo
    assert isinstance(refusal(), CredentialsError)
    identity.instead = lambda handler: answer(500, identity.asked[-1])(handler)
    assert isinstance(refusal(), CredentialsUnavailableError)


def test_a_redirect_is_not_followed(identity: IdentityStandIn) -> None:
    """The secret goes to the address of the client and to no other."""
    identity.instead = answer(307, "", location=f"https://{identity.address}/elsewhere")
    assert "gave status 307" in str(refusal())
    assert len(identity.asked) == 1


def silent(handler: BaseHTTPRequestHandler) -> None:
    """Answer nothing until the caller has gone."""
    handler.connection.recv(1)


def drops(handler: BaseHTTPRequestHandler) -> None:
    """Answer byte by byte, for as long as the caller listens."""
    handler.send_response(200)
    handler.send_header("content-length", "60000")
    handler.end_headers()
    gone = threading.Event()
    try:
        while not gone.wait(0.05):
            handler.wfile.write(b" ")
    except OSError:
        gone.set()


@pytest.mark.parametrize("reply", [silent, drops])
def test_a_service_that_does_not_come_to_an_end_is_left(
    identity: IdentityStandIn, reply: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    """However it goes about it."""
    identity.instead = reply
    assert isinstance(refusal(seconds=0.4), CredentialsUnavailableError)


def test_a_name_that_is_never_resolved_does_not_hold_the_task(identity: IdentityStandIn, mocker: Any) -> None:
    """The time of the resolver counts too."""
    release = threading.Event()

    def resolve(*_: Any, **__: Any) -> Any:
        release.wait(60)
        raise socket.gaierror("too late")

    mocker.patch("socket.getaddrinfo", resolve)
    try:
        assert "gave no answer within 0.3 seconds" in str(refusal(seconds=0.3))
    finally:
        release.set()


def test_a_closed_port_and_an_unknown_name_are_told(identity: IdentityStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the address that was tried."""
    with refusing_port() as port:
        monkeypatch.setenv("POLARS_CLOUD_DOMAIN", f"x@127.0.0.1:{port}")
        assert "Connection refused" in str(refusal())
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.delenv("https_proxy")
    monkeypatch.setenv("POLARS_CLOUD_DOMAIN", "polars.invalid")
    assert "the identity service auth.polars.invalid gave no answer (ConnectError" in str(refusal())


def test_a_service_with_a_certificate_that_is_not_trusted_gets_no_secret(
    identity: IdentityStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE counts, as it does for the client."""
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "certificate verify failed" in str(refusal())
    assert identity.asked == []


def test_a_port_that_speaks_no_tls_is_told(identity: IdentityStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret is sent there."""
    with socket.create_server(("127.0.0.1", 0)) as plain:
        received: list[bytes] = []

        def serve() -> None:
            connection, _ = plain.accept()
            with connection:
                received.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setenv("POLARS_CLOUD_DOMAIN", f"x@127.0.0.1:{plain.getsockname()[1]}")
        assert "gave no answer (ConnectError" in str(refusal())
        thread.join(10)
    assert SECRET.encode() not in received[0]


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("http://user:pass-of-proxy@127.0.0.1:{port}", "gave no answer (ConnectError: [Errno 111] Connection refused)"),
        ("socks5://user:pass-of-proxy@127.0.0.1:{port}", "gave no answer (ImportError"),
        ("gopher://user:pass-of-proxy@127.0.0.1:{port}", "gave no answer (ValueError)"),
    ],
)
def test_a_proxy_of_the_environment_is_used_as_the_client_does(
    identity: IdentityStandIn, monkeypatch: pytest.MonkeyPatch, proxy: str, told: str
) -> None:
    """One that cannot be used is no surprise, and its password is not shown."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name)
    with refusing_port() as port:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.format(port=port))
        error = refusal()
    assert told in str(error)
    assert "pass-of-proxy" not in everything_in(error)
    assert identity.asked == []


@pytest.mark.parametrize("domain", ["https://a.invalid", "a b.invalid", "a.invalid/x", "a.invalid:port", "a.invalid?b"])
def test_a_domain_that_is_none_is_named(
    identity: IdentityStandIn, monkeypatch: pytest.MonkeyPatch, domain: str
) -> None:
    """The variable of the client is wrong, not the account."""
    monkeypatch.setenv("POLARS_CLOUD_DOMAIN", domain)
    with pytest.raises(ConfigurationError) as caught:
        check_service_account(RIGHT)
    assert not isinstance(caught.value, CredentialsError)
    assert str(caught.value).startswith(
        f"The environment variable POLARS_CLOUD_DOMAIN is {domain!r}, which is no domain"
    )
    assert SECRET not in everything_in(caught.value)


def test_without_a_domain_the_address_is_that_of_polars_cloud(
    identity: IdentityStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a proxy that refuses stands in its way."""
    monkeypatch.delenv("POLARS_CLOUD_DOMAIN")
    assert os.environ["HTTPS_PROXY"] == "http://127.0.0.1:1"
    assert "the identity service auth.prd.cloud.pola.rs gave no answer" in str(refusal())


# ---- the token


def given_token(identity: IdentityStandIn, text: str) -> float:
    """Return when a token expires, as it is read, from now on in seconds; the token itself is kept and hidden."""
    identity.instead = answer(200, {"access_token": text})
    token = fetch_token(RIGHT)
    assert (token.text, token.header) == (text, f"Bearer {text}")
    assert text not in repr(token)
    return token.expires - time.time()


def test_a_token_says_when_it_expires(identity: IdentityStandIn) -> None:
    assert given_token(identity, jwt(exp=time.time() + 300, sub="etl")) == pytest.approx(300, abs=BOUND)
    assert given_token(identity, jwt(exp=int(time.time()) - 300)) == pytest.approx(-300, abs=BOUND)


@pytest.mark.parametrize("padding", range(4))
@pytest.mark.parametrize("letters", ["-_", "+/"])
def test_a_token_is_read_in_either_alphabet_and_at_any_length(
    identity: IdentityStandIn, letters: str, padding: int
) -> None:
    """That of tokens has - and _ where the usual one has + and /; the client takes the usual one alone."""
    text = jwt(sub="~~~???>>>" + "x" * padding, exp=time.time() + 300)
    assert {"-", "_"} <= set(text)
    text = text.translate(str.maketrans("-_", letters))
    assert given_token(identity, text) == pytest.approx(300, abs=BOUND)


@pytest.mark.parametrize(
    "text",
    [
        "opaque",
        "a.b",
        "a.%%%.c",
        "..",
        "a.bnVsbA.c",
        "a.W10.c",
        jwt(sub="etl"),
        jwt(exp=None),
        jwt(exp="soon"),
        jwt(exp=[1]),
        "a." + "W1tb" * 10_000 + ".c",
    ],
    ids=lambda text: text[:12],
)
def test_a_token_that_does_not_say_it_is_taken_to_hold_for_a_minute(identity: IdentityStandIn, text: str) -> None:
    assert given_token(identity, text) == pytest.approx(UNREADABLE_SECONDS, abs=BOUND)
