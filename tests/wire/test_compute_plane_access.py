"""``ComputePlane`` at the door: who may call, TLS, and addresses where no cluster answers as one should."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest

from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.exceptions import ClusterAccessError, ClusterUnreachableError, ConfigurationError
from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from tests.wire.peers import StandInScheduler, aborting, peer, refusing_port, self_signed, serving
from tests.wire.planes import LONG, Connect, access_to

TOKEN = "the-right-token"


@pytest.fixture(scope="module")
def guarded_cluster() -> Iterator[DevCluster]:
    """Run a cluster with TLS that asks for a token."""
    with start_dev_cluster("--tls", "--token", TOKEN, "--workers", "1") as cluster:
        yield cluster


# ---- who may call


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"domain_name": "localhost"},
        {"insecure": True, "ca_cert": None},
        {"insecure": True, "ca_cert": None, "domain_name": "elsewhere.invalid"},
    ],
)
def test_a_cluster_with_tls_and_token_answers(
    guarded_cluster: DevCluster, connect: Connect, given: dict[str, Any]
) -> None:
    assert connect(access_to(guarded_cluster, **given)).versions().polars == guarded_cluster.polars


@pytest.mark.parametrize("method", ["versions", "status", "result", "wait", "poll"])
def test_a_wrong_token_is_refused_and_not_shown(guarded_cluster: DevCluster, connect: Connect, method: str) -> None:
    plane = connect(access_to(guarded_cluster, headers={"authorization": "Bearer another-token"}))
    query_id = str(uuid4())
    calls: dict[str, Callable[[], Any]] = {
        "versions": plane.versions,
        "status": lambda: plane.status(query_id),
        "result": lambda: plane.result(query_id, LONG),
        "wait": lambda: plane.wait([query_id], LONG),
        "poll": lambda: plane.wait([query_id], LONG, long_poll=False),
    }
    with pytest.raises(ClusterAccessError, match="refuses the token: the bearer token is missing or wrong") as caught:
        calls[method]()
    assert guarded_cluster.uri in str(caught.value)
    assert "another-token" not in str(caught.value)


def test_a_missing_token_is_asked_for(guarded_cluster: DevCluster, connect: Connect) -> None:
    with pytest.raises(ClusterAccessError, match=r"asks for a token.*the password of a connection of type"):
        connect(access_to(guarded_cluster, headers={})).versions()


def test_a_caller_without_a_user_name_is_told_to_set_one(connect: Connect) -> None:
    """A cluster that denies anonymous users refuses submissions; whether it does so for other calls is not known."""
    refusal = aborting(grpc.StatusCode.PERMISSION_DENIED, "this cluster refuses anonymous users")
    with serving(StandInScheduler(GetComputeVersions=refusal)) as port:
        uri = f"http://127.0.0.1:{port}"
        with pytest.raises(ClusterAccessError, match=r"refuses a caller without a user name: .* Set user_name="):
            connect(ClusterAccess(uri=uri)).versions()
        with pytest.raises(ClusterAccessError, match="refuses the user 'ada': this cluster refuses anonymous users"):
            connect(ClusterAccess(uri=uri, user_name="ada")).versions()


def test_garbage_for_a_certificate_is_a_wrong_setting(guarded_cluster: DevCluster, connect: Connect) -> None:
    with pytest.raises(ConfigurationError, match=r"The CA certificate for .* cannot be read"):
        connect(access_to(guarded_cluster, ca_cert="")).versions()


@pytest.mark.parametrize("given", [{"ca_cert": None}, {"domain_name": "elsewhere.invalid"}])
def test_a_cluster_that_cannot_be_trusted_is_not_spoken_to(
    guarded_cluster: DevCluster, connect: Connect, given: dict[str, Any]
) -> None:
    with pytest.raises(ClusterUnreachableError, match=r"(?i)verif"):
        connect(access_to(guarded_cluster, **given)).versions()


@pytest.mark.parametrize("names", [True, False])
def test_any_certificate_will_do_if_that_is_said(connect: Connect, tmp_path: Path, names: bool) -> None:
    answer = wire.GetComputeVersionsResponse(versions=wire.ComputeVersions(polars_python_version="1.2.3"))
    scheduler = StandInScheduler(GetComputeVersions=lambda *_: answer)
    with serving(scheduler, self_signed(tmp_path, authority=True, names=names)) as port:
        plane = connect(ClusterAccess(uri=f"https://127.0.0.1:{port}", insecure=True))
        assert plane.versions().polars == "1.2.3"


def test_a_certificate_of_yesterday_will_not_do_even_then(connect: Connect, tmp_path: Path) -> None:
    with serving(StandInScheduler(), self_signed(tmp_path, days=-1)) as port:
        plane = connect(ClusterAccess(uri=f"https://127.0.0.1:{port}", insecure=True))
        with pytest.raises(ClusterAccessError, match="does not hold today, which insecure does not help against"):
            plane.versions()


# ---- what is no cluster, or not well


def test_a_service_that_is_no_scheduler_is_called_so(connect: Connect) -> None:
    with serving(StandInScheduler()) as port, pytest.raises(ClusterAccessError, match="is no Polars scheduler"):
        connect(ClusterAccess(uri=f"http://127.0.0.1:{port}")).versions()
    absent = StandInScheduler(GetComputeVersions=aborting(grpc.StatusCode.NOT_FOUND))
    with serving(absent) as port, pytest.raises(ClusterAccessError, match="is no Polars scheduler"):
        connect(ClusterAccess(uri=f"http://127.0.0.1:{port}")).versions()


@pytest.mark.parametrize("address", ["refused", "name"])
def test_a_cluster_that_is_not_there_cannot_be_reached(connect: Connect, address: str) -> None:
    with refusing_port() as port:
        uri = f"http://127.0.0.1:{port}" if address == "refused" else "http://cluster.invalid:5051"
        with pytest.raises(ClusterUnreachableError, match=f"{uri} cannot be reached now"):
            connect(ClusterAccess(uri=uri)).versions(LONG)


@pytest.mark.parametrize("method", ["versions", "status"])
def test_a_cluster_that_does_not_answer_is_not_waited_for(connect: Connect, method: str) -> None:
    with peer() as (host, port):
        plane = connect(ClusterAccess(uri=f"http://{host}:{port}"))
        calls: dict[str, Callable[[], Any]] = {
            "versions": lambda: plane.versions(0.3),
            "status": lambda: plane.status(str(uuid4()), 0.3),
        }
        started = time.monotonic()
        with pytest.raises(ClusterUnreachableError):
            calls[method]()
        assert time.monotonic() - started < LONG / 2


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.ABORTED]
)
def test_no_other_error_of_a_call_is_taken_for_a_status(connect: Connect, code: grpc.StatusCode) -> None:
    with serving(StandInScheduler(GetQueryStatus=aborting(code, "of the test"))) as port:
        plane = connect(ClusterAccess(uri=f"http://127.0.0.1:{port}"))
        with pytest.raises(ClusterUnreachableError, match=f"failed with {code.name}: of the test"):
            plane.status(str(uuid4()))
