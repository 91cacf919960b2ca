"""The look at an address before a client is made: what is there, and what to do if it is not a cluster."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.clients.probe import probe
from airflow_provider_polars.dev_cluster.certificates import make_certificates
from airflow_provider_polars.exceptions import ClusterAccessError, ClusterUnreachableError, ConfigurationError
from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from tests.wire.peers import StandInScheduler, full_port, peer, refusing_port, self_signed, serving

SETTINGS = b"\0\0\0\4\0\0\0\0\0"
QUICK = 0.3
"""Seconds to wait for what never answers."""

LATE = 10.0
"""Seconds by which a busy machine may be late; those who are silent are so for longer."""


@pytest.fixture(scope="module")
def tls_cluster() -> Iterator[DevCluster]:
    """Run a cluster with TLS."""
    with start_dev_cluster("--tls", "--workers", "1") as cluster:
        yield cluster


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Return a server's certificate and its key."""
    return make_certificates(tmp_path, "127.0.0.1")[1:]


def access_to(cluster: DevCluster, **given: Any) -> ClusterAccess:
    authority = cluster.authority.decode() if cluster.authority else None
    return ClusterAccess(**{"uri": cluster.uri, "observatory": cluster.observatory, "ca_cert": authority, **given})


def outcome(access: ClusterAccess, seconds: float = 20.0) -> tuple[type[Exception], str]:
    """Return the error of a probe, which has to come in time."""
    started = time.monotonic()
    with pytest.raises((ClusterUnreachableError, ClusterAccessError, ConfigurationError)) as caught:
        probe(access, seconds)
    assert time.monotonic() - started < seconds + LATE
    return caught.type, str(caught.value)


def test_a_cluster_passes(polars_dev_cluster: DevCluster) -> None:
    probe(access_to(polars_dev_cluster))
    assert polars_dev_cluster.recorder.calls() == []


@pytest.mark.parametrize("given", [{}, {"domain_name": "localhost"}, {"insecure": True, "ca_cert": None}])
def test_a_cluster_with_tls_passes(tls_cluster: DevCluster, given: dict[str, Any]) -> None:
    probe(access_to(tls_cluster, **given))


def test_a_cluster_passes_that_is_not_at_the_first_address_of_its_name(
    polars_dev_cluster: DevCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = access_to(polars_dev_cluster)
    with refusing_port() as nothing:
        places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (nothing, access.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
        probe(access)


# ---- nothing is there


def test_a_port_on_which_nothing_listens_is_unreachable() -> None:
    with refusing_port() as port:
        kind, text = outcome(ClusterAccess(uri=f"http://127.0.0.1:{port}"))
    assert kind is ClusterUnreachableError
    assert f"Nothing listens at http://127.0.0.1:{port}: the connection was refused" in text
    assert "default port is 5051" in text


def test_a_name_that_does_not_exist_is_unreachable() -> None:
    kind, text = outcome(ClusterAccess(uri="http://cluster.invalid"))
    assert kind is ClusterUnreachableError
    assert "The name 'cluster.invalid' of http://cluster.invalid:5051 does not resolve" in text


def test_a_name_service_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: end.wait(60))
    kind, text = outcome(ClusterAccess(uri="http://cluster"), QUICK)
    end.set()
    assert kind is ClusterUnreachableError
    assert "The name 'cluster' of http://cluster:5051 was not resolved within 0.3 s" in text


def test_a_host_that_does_not_answer_is_not_waited_for() -> None:
    with full_port() as port:
        kind, text = outcome(ClusterAccess(uri=f"http://127.0.0.1:{port}"), QUICK)
    assert kind is ClusterUnreachableError
    assert f"http://127.0.0.1:{port} did not accept a connection within 0.3 s" in text
    assert "firewall" in text


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_peer_that_accepts_and_stays_silent_is_not_waited_for(scheme: str) -> None:
    with peer() as (host, port):
        kind, text = outcome(ClusterAccess(uri=f"{scheme}://{host}:{port}"), QUICK)
    assert kind is ClusterUnreachableError
    assert f"{scheme}://{host}:{port} accepted a connection and then said nothing for 0.3 s" in text


def test_a_peer_that_is_silent_behind_tls_is_not_waited_for(certificate: tuple[Path, Path]) -> None:
    with peer(certificate=certificate) as (host, port):
        kind, text = outcome(ClusterAccess(uri=f"https://{host}:{port}", insecure=True), QUICK)
    assert kind is ClusterUnreachableError
    assert "said nothing for 0.3 s" in text


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_peer_that_hangs_up_is_unreachable(scheme: str) -> None:
    with peer(hangs_up=True) as (host, port):
        kind, text = outcome(ClusterAccess(uri=f"{scheme}://{host}:{port}"))
    assert kind is ClusterUnreachableError
    assert f"{scheme}://{host}:{port} accepted a connection and closed it at once" in text


# ---- something else is there


@pytest.mark.parametrize("cluster", ["plain", "tls"])
@pytest.mark.parametrize("scheme", ["same", "other"])
def test_the_port_of_the_observatory_is_called_so(
    polars_dev_cluster: DevCluster, tls_cluster: DevCluster, cluster: str, scheme: str
) -> None:
    there = {"plain": polars_dev_cluster, "tls": tls_cluster}[cluster]
    uri = there.observatory
    if scheme == "other":
        uri = uri.replace("http://", "https://") if cluster == "plain" else uri.replace("https://", "http://")
    kind, text = outcome(access_to(there, uri=uri))
    assert kind is ClusterAccessError
    if (cluster, scheme) == ("tls", "other"):
        assert "speaks TLS" in text
    else:
        port = uri.rpartition(":")[2]
        assert f"{uri} is a web server (HTTP/1), not the scheduler. Is {port} the observatory's port?" in text
        assert "The scheduler's default is 5051" in text


def test_http_to_a_port_with_tls_says_so(tls_cluster: DevCluster) -> None:
    uri = tls_cluster.uri.replace("https://", "http://")
    kind, text = outcome(access_to(tls_cluster, uri=uri))
    assert kind is ClusterAccessError
    assert f"{uri} speaks TLS, and the address says http://. Write https://" in text


def test_https_to_a_port_without_tls_says_so(polars_dev_cluster: DevCluster) -> None:
    uri = polars_dev_cluster.uri.replace("http://", "https://")
    kind, text = outcome(ClusterAccess(uri=uri))
    assert kind is ClusterAccessError
    assert f"{uri} speaks without TLS, and the address says https://. Write http://" in text


@pytest.mark.parametrize("says", [b"220 mail.example ESMTP\r\n", b"x", b"\0\0\0\7\0\0\0\0\0", b"\0" * 64])
def test_what_speaks_neither_is_no_scheduler(says: bytes) -> None:
    with peer(says) as (host, port):
        kind, text = outcome(ClusterAccess(uri=f"http://{host}:{port}"), 2.0)  # more than one byte may come until then
    assert kind is ClusterAccessError
    assert f"What answers at http://{host}:{port} is no Polars scheduler" in text


def test_a_tls_handshake_that_fails_for_another_reason_is_told() -> None:
    with peer(b"220 mail.example ESMTP\r\n") as (host, port):
        kind, text = outcome(ClusterAccess(uri=f"https://{host}:{port}"))
    assert kind is ClusterAccessError
    assert f"The TLS handshake with https://{host}:{port} failed" in text


def test_a_proxy_without_alpn_is_told_what_polars_clients_need(certificate: tuple[Path, Path]) -> None:
    with peer(SETTINGS, certificate=certificate) as (host, port):
        kind, text = outcome(ClusterAccess(uri=f"https://{host}:{port}", insecure=True))
    assert kind is ClusterAccessError
    assert "does not offer HTTP/2 in its TLS handshake (ALPN h2)" in text


def test_a_peer_that_asks_for_a_certificate_of_its_callers_is_told_of(certificate: tuple[Path, Path]) -> None:
    with peer(certificate=certificate, asks_for_certificates=True) as (host, port):
        kind, text = outcome(ClusterAccess(uri=f"https://{host}:{port}", insecure=True))
    assert kind is ClusterAccessError
    assert "ends the TLS connection" in text
    assert "Polars clients have none" in text


# ---- certificates


def test_a_certificate_of_an_unknown_authority_is_not_trusted(tls_cluster: DevCluster) -> None:
    kind, text = outcome(access_to(tls_cluster, ca_cert=None))
    assert kind is ClusterAccessError
    assert f"The certificate of {tls_cluster.uri} is not signed by an authority that this system trusts" in text
    assert "ca_cert=" in text


def test_a_certificate_of_another_authority_is_not_trusted(tls_cluster: DevCluster, tmp_path: Path) -> None:
    kind, text = outcome(access_to(tls_cluster, ca_cert=make_certificates(tmp_path, "127.0.0.1")[0].read_text()))
    assert kind is ClusterAccessError
    assert f"The certificate of {tls_cluster.uri} is not signed by the CA certificate that was given" in text


def test_a_certificate_of_another_name_is_not_taken_and_both_names_are_told(tls_cluster: DevCluster) -> None:
    kind, text = outcome(access_to(tls_cluster, domain_name="cluster.example"))
    assert kind is ClusterAccessError
    assert f"The certificate of {tls_cluster.uri} is for localhost, " in text
    assert "127.0.0.1, not for cluster.example" in text


def test_a_certificate_of_yesterday_is_not_taken(tmp_path: Path) -> None:
    kind, text = outcome_with(self_signed(tmp_path, days=-1))
    assert kind is ClusterAccessError
    assert "does not hold today: certificate has expired" in text


def test_a_certificate_without_names_is_not_taken(tmp_path: Path) -> None:
    kind, text = outcome_with(self_signed(tmp_path, names=False))
    assert kind is ClusterAccessError
    assert "names no host: it has no subject alternative names, and its common name '127.0.0.1' does not count" in text


def test_a_certificate_that_openssl_takes_and_polars_clients_do_not_is_not_taken(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    """The client would wait a minute, and say no more than that it cannot connect."""
    kind, text = outcome_with(self_signed(tmp_path, authority=True))
    assert kind is ClusterAccessError
    assert "is that of an authority (CA:TRUE), which Polars clients do not take for a server's" in text
    kind, text = outcome_with(certificate)
    assert kind is ClusterAccessError
    assert "is itself what was given to trust" in text
    assert "signed it: CN=Polars development cluster: authority" in text


def outcome_with(files: tuple[Path, Path]) -> tuple[type[Exception], str]:
    """Return the error of a probe that trusts the certificate of the peer."""
    with peer(SETTINGS, certificate=files) as (host, port):
        return outcome(ClusterAccess(uri=f"https://{host}:{port}", ca_cert=files[0].read_text()))


@pytest.mark.parametrize("given", ["trusted", "insecure"])
def test_a_certificate_that_is_signed_by_itself_is_taken(tmp_path: Path, given: str) -> None:
    files = self_signed(tmp_path, authority=False)
    trust: dict[str, Any] = {"ca_cert": files[0].read_text()} if given == "trusted" else {"insecure": True}
    with serving(StandInScheduler(), files) as port:
        probe(ClusterAccess(uri=f"https://127.0.0.1:{port}", **trust))


def test_garbage_for_a_certificate_is_a_wrong_setting(tls_cluster: DevCluster) -> None:
    kind, text = outcome(access_to(tls_cluster, ca_cert="no certificate"))
    assert kind is ConfigurationError
    assert f"The CA certificate for {tls_cluster.uri} cannot be read" in text
