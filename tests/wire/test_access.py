"""Who may call a cluster, what goes over the wire in clear, and what becomes of secrets."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import stat
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import grpc
import polars as pl
import polars_cloud as pc
import pytest

from airflow_provider_polars.dev_cluster.certificates import make_certificates
from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from airflow_provider_polars.protocol import flight_pb2 as flight
from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from airflow_provider_polars.testing.environment import REFUSED, set_environment
from tests.wire.command import ANY_PORTS, Shell
from tests.wire.gates import Gate

pytestmark = pytest.mark.own_cluster

FRAME = pl.LazyFrame({"a": [1, 2, 3]})
TOKEN = "the-right-token"
METHODS = [
    *wire.DESCRIPTOR.services_by_name["ClientService"].methods,
    *flight.DESCRIPTOR.services_by_name["FlightService"].methods,
]
WRONG_HEADERS = {
    "no token": {},
    "another token": {"authorization": "Bearer another-token"},
    "no scheme": {"authorization": TOKEN},
    "another scheme": {"authorization": f"Basic {TOKEN}"},
    "more than the token": {"authorization": f"Bearer {TOKEN}-and-more"},
}
wrong_headers = pytest.mark.parametrize("headers", WRONG_HEADERS.values(), ids=WRONG_HEADERS)


@pytest.fixture(scope="module")
def guarded_cluster() -> Iterator[DevCluster]:
    """Run a cluster with TLS that asks for a token."""
    with start_dev_cluster("--tls", "--token", TOKEN, "--workers", "1") as cluster:
        yield cluster


@pytest.fixture
def guarded(guarded_cluster: DevCluster, monkeypatch: pytest.MonkeyPatch) -> DevCluster:
    """Return that cluster, with nothing recorded yet."""
    set_environment(guarded_cluster.environment, monkeypatch)
    guarded_cluster.recorder.forget()
    return guarded_cluster


@pytest.fixture
def other_authority(tmp_path: Path) -> bytes:
    """Return the certificate of an authority that has signed nothing here."""
    return make_certificates(tmp_path, "127.0.0.1")[0].read_bytes()


def test_a_client_that_trusts_the_authority_and_has_the_token_runs_queries(guarded: DevCluster, tmp_path: Path) -> None:
    context = guarded.context()

    query = FRAME.remote(context).single_node().sink_parquet(str(tmp_path / "a.parquet"))

    assert query.await_result().status == pc.QueryStatus.SUCCESS
    assert pl.read_parquet(tmp_path / "a.parquet")["a"].to_list() == [1, 2, 3]
    assert FRAME.remote(context).single_node().collect()["a"].to_list() == [1, 2, 3]
    assert guarded.uri.startswith("https://127.0.0.1:")
    assert [call["headers"]["authorization"] for call in guarded.recorder.calls("DoGet")] == ["***"]


def test_the_observatory_answers_the_client_over_tls_too(guarded: DevCluster) -> None:
    context = guarded.context()
    query = FRAME.remote(context).single_node().execute(blocking=False)
    query.await_result()

    details = pc.QueryDetail._from_inner(context._get_direct_client().get_query_details(query._query_id))

    assert guarded.observatory.startswith("https://127.0.0.1:")
    assert details.status == "Success"
    assert len(guarded.recorder.calls("GET query")) == 1


def test_the_certificate_holds_for_localhost_too(guarded: DevCluster) -> None:
    context = guarded.context(domain_name="localhost")

    assert FRAME.remote(context).single_node().collect().height == 3


@pytest.mark.parametrize("service", ["uri", "observatory"])
def test_nobody_else_vouches_for_the_cluster(guarded: DevCluster, other_authority: bytes, service: str) -> None:
    place = getattr(guarded, service)
    trusted = ssl.create_default_context(cadata=guarded.authority.decode() if guarded.authority else None)
    trusted.verify_flags |= ssl.VERIFY_X509_STRICT  # the default of Python 3.13

    assert _handshake(place, trusted) in ("TLSv1.2", "TLSv1.3")
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        _handshake(place, ssl.create_default_context(cadata=other_authority.decode()))
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(place, ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'elsewhere.invalid'"):
        _handshake(place, trusted, name="elsewhere.invalid")


def test_no_call_gets_through_without_tls(guarded: DevCluster) -> None:
    with (
        grpc.insecure_channel(guarded.uri.removeprefix("https://")) as channel,
        pytest.raises(grpc.RpcError) as refusal,
    ):
        channel.unary_unary(_path(METHODS[0]))(b"", timeout=10)
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE

    with pytest.raises((urllib.error.URLError, ConnectionError)):
        _get(guarded.observatory.replace("https:", "http:") + "/_dev/status", guarded.headers)
    assert guarded.recorder.calls() == []


def test_the_servers_key_is_its_own_and_the_authoritys_is_kept_by_nobody(shell: Shell) -> None:
    with shell.up(*ANY_PORTS, "--json", "--workers", "1", "--tls") as up:
        folder = Path(up.facts["authority"]).parent
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}

    assert files.keys() == {"ca.pem", "server.pem", "server.key"}
    assert files["server.key"] == 0o600


@wrong_headers
def test_the_client_is_told_that_its_token_is_not_right(guarded: DevCluster, headers: dict[str, str]) -> None:
    mine = FRAME.remote(guarded.context()).single_node().execute(blocking=False)
    mine.await_result()
    context = guarded.context(extra_headers=headers)
    client = context._get_direct_client()
    theirs = pc.DirectQuery(mine._query_id, client, context)

    for call in (
        client.get_compute_versions,
        FRAME.remote(context).single_node().collect,
        lambda: FRAME.remote(context).single_node().execute(),
        theirs.get_status,
        theirs.await_result,
    ):
        with pytest.raises(RuntimeError, match="authentication credentials, the bearer token is missing or wrong"):
            call()
    with pytest.raises(RuntimeError, match="401 Unauthorized"):
        client.get_query_details(mine._query_id)

    refused = [call for call in guarded.recorder.calls() if "refused" in call]
    assert [call["refused"] for call in refused] == ["UNAUTHENTICATED"] * 5 + ["401"]
    assert [query["id"] for query in guarded.queries][-1] == str(mine._query_id)


@wrong_headers
@pytest.mark.parametrize("method", METHODS, ids=[method.name for method in METHODS])
def test_no_method_answers_without_the_token(guarded: DevCluster, method: Any, headers: dict[str, str]) -> None:
    metadata = tuple(headers.items())
    with _channel(guarded) as channel:
        call = (channel.unary_stream if method.server_streaming else channel.unary_unary)(_path(method))
        with pytest.raises(grpc.RpcError) as refusal:
            list(call(b"", metadata=metadata, timeout=10))

    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
    (record,) = guarded.recorder.calls()
    assert (record["call"], record["refused"]) == (method.name, "UNAUTHENTICATED")


@wrong_headers
@pytest.mark.parametrize(
    "path", [f"/api/v1/query/{uuid.uuid4()}", "/_dev/status", "/_dev/queries", "/_dev/records", "/elsewhere"]
)
def test_the_observatory_answers_nothing_without_the_token(
    guarded: DevCluster, path: str, headers: dict[str, str]
) -> None:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        _get(guarded.observatory + path, headers, guarded.authority)

    assert refusal.value.code == 401
    assert json.load(refusal.value) == {"error": "the bearer token is missing or wrong"}


def test_a_token_works_without_tls_too(start_cluster: Callable[..., DevCluster]) -> None:
    cluster = start_cluster("--token", TOKEN, "--workers", "1")

    assert FRAME.remote(cluster.context()).single_node().collect().height == 3
    with pytest.raises(RuntimeError, match="the bearer token is missing or wrong"):
        FRAME.remote(cluster.context(extra_headers={})).single_node().collect()


def test_anonymous_users_are_refused_if_they_are_to_be(
    start_cluster: Callable[..., DevCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = start_cluster("--deny-anonymous-users", "--workers", "1")
    context = cluster.context()

    with pytest.raises(RuntimeError, match="refuses anonymous users: set POLARS_CLOUD_USER_NAME for the client"):
        FRAME.remote(context).single_node().execute()
    monkeypatch.setenv("POLARS_CLOUD_USER_NAME", "ada")
    query = FRAME.remote(context).single_node().execute(blocking=False)
    assert query.await_result().status == pc.QueryStatus.SUCCESS

    refused, accepted = cluster.recorder.submissions
    assert (refused["user"], refused["refused"]) == ("", "PERMISSION_DENIED")
    assert accepted["user"] == accepted["headers"]["x-polars-user"] == "ada"
    assert "refused" not in accepted
    assert [known["user"] for known in cluster.queries] == ["ada"]
    assert cluster.get(f"/api/v1/query/{query._query_id}")["user"] == {"name": "ada"}


def test_anonymous_users_are_welcome_otherwise(polars_dev_cluster: DevCluster, context: Any) -> None:
    assert FRAME.remote(context).single_node().collect().height == 3
    assert [call["user"] for call in polars_dev_cluster.recorder.submissions] == [""]


def test_secrets_are_neither_recorded_nor_logged_nor_written(
    shell: Shell, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_plans, key_id, key = "only-in-the-plan", "key-id-of-the-plan", "secret-key-of-the-plan"
    store: dict[str, Any] = {
        "aws_access_key_id": key_id,
        "aws_secret_access_key": key,
        "aws_region": "nowhere",
        "endpoint_url": f"http://{REFUSED}",
        "aws_allow_http": "true",
        "max_retries": 0,
    }
    s3: dict[str, Any] = {"storage_options": store, "credential_provider": None}
    frame = FRAME.filter(pl.col("a").cast(pl.String) != in_plans)

    with shell.up(*ANY_PORTS, "--json", "--workers", "2", POLARS_DEV_CLUSTER_TOKEN=TOKEN) as up:
        cluster = up.cluster
        set_environment(cluster.environment, monkeypatch)
        context = cluster.context()

        assert frame.remote(context).single_node().collect().height == 3
        query: Any = frame.remote(context, plan_type="plain").single_node().execute(blocking=False)
        assert query.await_result().status == pc.QueryStatus.SUCCESS
        assert in_plans in str(query.plan("ir"))
        with pytest.raises(OSError, match="error sending request"):
            frame.remote(context).single_node().sink_parquet("s3://bucket/a.parquet", **s3).await_result()
        with pytest.raises(OSError, match="error sending request"):
            pl.scan_parquet("s3://bucket/a.parquet", **s3).remote(context).single_node().execute()
        with pytest.raises(pl.exceptions.ColumnNotFoundError):
            FRAME.select("b").remote(context).single_node().sink_parquet("s3://bucket/a.parquet", **s3)
        _kill_a_worker_at_work(cluster, context, gate, in_plans)

        details = [cluster.get(f"/api/v1/query/{known['id']}") for known in cluster.queries]
        told = json.dumps([cluster.get("/_dev/records"), cluster.queries, cluster.get("/_dev/status"), details])
        assert len(cluster.recorder.submissions) == 6
        for secret in (in_plans, key_id, key, TOKEN):
            assert secret not in told
            assert secret not in up.log
            assert [path for path in _files(shell.folder) if secret.encode() in path.read_bytes()] == (
                [up.output_file] if secret == TOKEN else []  # to the one who starts it, the token is shown
            )
        up.process.terminate()
        assert up.process.wait(30) == 0
        assert all(secret not in up.log for secret in (in_plans, key_id, key, TOKEN))


def _kill_a_worker_at_work(cluster: DevCluster, context: Any, gate: Gate, text: str) -> None:
    query = gate.frame("held").filter(pl.lit(text) == text).remote(context).single_node().execute(blocking=False)
    gate.wait_until_started("held")
    (pid,) = [worker["pid"] for worker in cluster.workers if worker["query_id"] == str(query._query_id)]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(pl.exceptions.ComputeError, match="ended while it ran the query"):
        query.await_result()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@contextlib.contextmanager
def _channel(cluster: DevCluster) -> Iterator[grpc.Channel]:
    trust = grpc.ssl_channel_credentials(cluster.authority)
    with grpc.secure_channel(cluster.uri.removeprefix("https://"), trust) as channel:
        yield channel


def _path(method: Any) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def _handshake(uri: str, trust: ssl.SSLContext, name: str = "127.0.0.1") -> str | None:
    place = urlparse(uri)
    assert place.hostname is not None
    with (
        socket.create_connection((place.hostname, place.port or 0), timeout=10) as plain,
        trust.wrap_socket(plain, server_hostname=name) as encrypted,
    ):
        return encrypted.version()


def _get(url: str, headers: dict[str, str], authority: bytes | None = None) -> Any:
    trust = ssl.create_default_context(cadata=authority.decode()) if authority else None
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)]
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.build_opener(*handlers).open(request, timeout=10) as answer:
        return json.load(answer)
