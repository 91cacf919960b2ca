"""``ClusterAccess``: addresses in every form, and what cannot be sent or trusted."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_polars.clients.access import ClusterAccess, ssl_context, system_bundle
from airflow_provider_polars.dev_cluster.certificates import make_certificates
from airflow_provider_polars.exceptions import ConfigurationError

SECRET = "a-token-that-nobody-sees"


@pytest.mark.parametrize(
    ("uri", "normalised", "host", "port", "observatory"),
    [
        ("http://cluster", "http://cluster:5051", "cluster", 5051, "http://cluster:3001"),
        ("https://Cluster.Example:443/", "https://cluster.example:443", "cluster.example", 443, None),
        (" http://10.0.0.7:80 ", "http://10.0.0.7:80", "10.0.0.7", 80, "http://10.0.0.7:3001"),
        ("https://[::1]", "https://[::1]:5051", "::1", 5051, "https://[::1]:3001"),
        ("http://[2001:db8::7]:9", "http://[2001:db8::7]:9", "2001:db8::7", 9, "http://[2001:db8::7]:3001"),
    ],
)
def test_an_address_is_scheme_host_and_port(
    uri: str, normalised: str, host: str, port: int, observatory: str | None
) -> None:
    access = ClusterAccess(uri=uri)
    assert (access.uri, access.host, access.port) == (normalised, host, port)
    assert access.is_tls is normalised.startswith("https:")
    assert access.observatory == (observatory or "https://cluster.example:3001")


def test_the_observatory_may_be_elsewhere() -> None:
    assert ClusterAccess(uri="http://a", observatory="https://b").observatory == "https://b:3001"
    assert ClusterAccess(uri="http://a", observatory="http://b:80/").observatory == "http://b:80"


@pytest.mark.parametrize("field", ["uri", "observatory"])
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("cluster:5051", "must begin with http:// or https://"),
        ("grpc://cluster:5051", "must begin with http:// or https://"),
        ("http://", "names no host and port"),
        ("http://:5051", "names no host and port"),
        ("http://a b", "names no host and port"),
        ("http://a,b", "names no host and port"),
        ("http://cluster:0", "names no host and port"),
        ("http://cluster:65536", "Port out of range"),
        ("http://cluster:abc", "Port could not be cast"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://cluster:5051/api", "goes on after the port"),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_its_text(field: str, address: str, message: str) -> None:
    given: dict[str, Any] = {"uri": "http://cluster", field: address}
    with pytest.raises(ConfigurationError) as caught:
        ClusterAccess(**given)
    assert message in str(caught.value)
    assert repr(address) in str(caught.value)
    assert ("the cluster" if field == "uri" else "the observatory") in str(caught.value)


@pytest.mark.parametrize("address", [f"http://ada:{SECRET}@cluster", f"http://{SECRET}@cluster:5051"])
def test_an_address_with_a_secret_in_it_is_refused_without_its_text(address: str) -> None:
    with pytest.raises(ConfigurationError, match="has a user name or a password in it") as caught:
        ClusterAccess(uri=address)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("mark", "?#")
def test_what_follows_an_address_may_be_a_token_and_is_not_told(mark: str) -> None:
    with pytest.raises(ConfigurationError, match=r"goes on after the port") as caught:
        ClusterAccess(uri=f"http://cluster:5051/{mark}token={SECRET}")
    assert f"'http://cluster:5051/{mark}...'" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_names_of_headers_become_lower_case() -> None:
    assert ClusterAccess(uri="http://a", headers={"X-Team": "Sales"}).headers == {"x-team": "Sales"}


@pytest.mark.parametrize(
    "name", ["", "x team", "x:team", "x-team-bin", "grpc-timeout", "Host", "content-length", "transfer-encoding", "ü"]
)
def test_a_header_that_cannot_be_sent_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be sent to a cluster; give it another name") as caught:
        ClusterAccess(uri="http://a", headers={name: SECRET})
    assert repr(name.lower()) in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", [f"{SECRET}\n", f"{SECRET}\r\nx: y", f"{SECRET}ü", 7, None])
def test_a_value_that_cannot_be_sent_is_refused_without_being_shown(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="value of the header 'authorization' cannot be sent") as caught:
        ClusterAccess(uri="http://a", headers={"authorization": value})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["ada\n", "Zoë"])
def test_a_user_name_that_cannot_be_sent_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"The user name .* cannot be sent"):
        ClusterAccess(uri="http://a", user_name=name)


def test_its_text_has_no_secret_in_it(authority: str) -> None:
    access = ClusterAccess(uri="https://a", headers={"authorization": SECRET}, ca_cert=authority)
    assert SECRET not in repr(access)
    assert "CERTIFICATE" not in repr(access)


# ---- trust


@pytest.fixture
def authority(tmp_path: Path) -> str:
    """Return the certificate of an authority."""
    return make_certificates(tmp_path, "127.0.0.1")[0].read_text()


def test_what_is_to_be_trusted_is_trusted_alone(authority: str) -> None:
    context = ssl_context(ClusterAccess(uri="https://a", ca_cert=authority))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    (found,) = context.get_ca_certs()
    assert found["subject"] == ((("commonName", "Polars development cluster: authority"),),)


def test_several_authorities_may_stand_in_one_text(authority: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make_certificates(tmp_path / "other", "127.0.0.1")[0].read_text()
    context = ssl_context(ClusterAccess(uri="https://a", ca_cert=f"first\n{authority}\nsecond\n{other}"))
    assert len(context.get_ca_certs()) == 2


@pytest.mark.parametrize("text", ["", "/etc/ssl/ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n", "Zertifikat für a"])
def test_what_is_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"The CA certificate for https://a:5051 cannot be read"):
        ssl_context(ClusterAccess(uri="https://a", ca_cert=text))


def test_nothing_is_verified_if_that_is_said_and_only_then() -> None:
    context = ssl_context(ClusterAccess(uri="https://a", insecure=True))
    assert context.verify_mode is ssl.CERT_NONE
    assert ssl_context(ClusterAccess(uri="https://a")).verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(("given", "what"), [({"insecure": True}, "insecure"), ({"ca_cert": "x"}, "a CA certificate")])
def test_trust_where_nothing_is_encrypted_is_refused(given: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigurationError, match=f"There is {what} for http://a:5051, where nothing is encrypted"):
        ClusterAccess(uri="http://a", **given)
    assert ClusterAccess(uri="http://a", observatory="https://a", **given).observatory == "https://a:3001"


def test_the_system_trusts_the_file_that_the_environment_names(
    authority: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "roots.pem"
    file.write_text(authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert system_bundle() == str(file)
    assert len(ssl_context(ClusterAccess(uri="https://a")).get_ca_certs()) == 1


def test_a_system_without_certificates_trusts_those_of_certifi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import certifi

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert system_bundle() == certifi.where()
