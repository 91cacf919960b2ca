"""A control plane keeps to itself: who reaches it, what it tells, and what others on this machine can do to it."""

from __future__ import annotations

import contextlib
import json
import socket
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

import grpc
import httpx
import psutil
import pytest

from airflow_provider_polars.dev_cluster.control_plane.front import MOST_CONNECTIONS
from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from tests.harness.waiting import wait_for
from tests.wire.command import Shell, Up, listeners
from tests.wire.control_plane.instances import ended, until
from tests.wire.control_plane.raw import Caller, order, post_form

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster

pytestmark = pytest.mark.own_cluster

UP = ("--control-plane", "--api-port", "0", "--token-port", "0", "--dev-port", "0", "--json")
WITHHELD = {
    "AIRFLOW__CORE__FERNET_KEY": "the-fernet-key",
    "AIRFLOW_CONN_LAKE": "aws://the-connection",
    "POLARS_CLOUD_CLIENT_SECRET": "the-secret-of-a-real-account",
    "POLARS_CLOUD_ACCESS_TOKEN": "the-token-of-a-person",
    "POLARS_DEV_CLUSTER_TOKEN": "the-token-of-another-cluster",
}
ORDERED = {"DATABASE_PASSWORD": "the-password-of-the-order", "POLARS_CLOUD_X": "of-the-order-too"}
FOREIGN = {
    "a name of another host": {"host": "attacker.example:{port}"},
    "a name that begins like this one": {"host": "127.0.0.1.attacker.example:{port}"},
    "no name": {"host": ""},
    "a web page": {"origin": "https://attacker.example"},
    "a web page without a name": {"origin": "null"},
    "a web page of this machine": {"origin": "http://127.0.0.1:{port}"},
}


class Site:
    """A control plane with an instance, and all that is secret about it."""

    def __init__(self, shell: Shell, up: Up) -> None:
        self.shell, self.up, self.plane = shell, up, up.plane
        self.caller = Caller(self.plane)
        self.instance = until(self.plane, self.caller.start(env_vars=ORDERED), "Idle")
        self.stranger = Caller(self.plane, self.plane.accounts[1])
        self.secrets = [
            *(account.secret for account in self.plane.accounts),
            *(caller.token for caller in (self.caller, self.stranger)),
            *(ORDERED.values()),
            *WITHHELD.values(),
        ]

    def told(self, text: str) -> list[str]:
        """Return the secrets that are in a text."""
        return [secret for secret in self.secrets if secret in text]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    shell = Shell(tmp_path_factory.mktemp("site"))
    with shell.up(*UP, **WITHHELD) as up:
        yield Site(shell, up)


def test_it_and_its_instances_listen_on_loopback_alone(site: Site) -> None:
    assert listeners(site.up.process) == {"127.0.0.1"}
    assert site.up.children
    for worker in site.up.children:
        assert listeners(worker) == set()


def test_workers_get_the_variables_of_the_order_and_no_credentials_of_the_control_plane(site: Site) -> None:
    for pid in site.instance["pids"]:
        seen = psutil.Process(pid).environ()
        assert seen.items() >= ORDERED.items()
        assert not set(WITHHELD.values()) & set(seen.values())


def test_nothing_that_it_tells_has_a_secret(site: Site) -> None:
    base = f"/instances/{site.instance['id']}/_dev"
    paths = ["/_dev/status", "/_dev/instances", "/_dev/records", "/_dev/faults", f"{base}/status", f"{base}/records"]
    site.caller.ask("GET", "user/me", headers={"x-auth": site.caller.token, "x-api-key": site.caller.account.secret})
    post_form(site.plane, data={"grant_type": "password", "username": site.caller.account.secret, "password": "x"})

    told = {path: json.dumps(site.plane.get(path)) for path in paths}

    assert {path for path, text in told.items() if site.told(text)} == set()
    assert {call["call"] for call in site.plane.recorder.calls()} >= {"POST token", "GET user/me"}


def test_no_answer_to_another_account_has_a_secret(site: Site) -> None:
    workspace, instance = site.caller.account.workspace.id, site.instance["id"]
    for path in ("user/me", "organization", "workspace", f"workspace/{workspace}", f"W/compute/{instance}"):
        assert site.told(site.stranger.ask("GET", path).text) == []


def test_no_list_of_processes_no_log_and_no_file_has_a_secret(site: Site) -> None:
    commands = "\n".join(" ".join(process.cmdline()) for process in (site.up.process, *site.up.children))
    files = [path for path in site.shell.temporary.rglob("*") if path.is_file()]

    assert site.told(commands) == site.told(site.up.log) == []
    assert {path.name for path in files} >= {"ca.pem", "server.pem", "server.key", "bundle.pem"}
    assert {path for path in files if site.told(path.read_text())} == set()


def test_nothing_that_a_test_prints_has_a_secret(site: Site) -> None:
    plane = site.plane
    shown = [repr(each) for each in (plane, plane.account, plane.workspace, plane.recorder, plane.faults)]

    assert [site.told(text) for text in shown] == [[]] * len(shown)


def test_keys_are_this_users_alone(site: Site) -> None:
    keys = list(site.shell.temporary.rglob("server.key"))

    assert len(keys) >= 2  # of the token endpoint and of the instance
    for key in keys:
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_a_browser_sends_for_a_web_page_is_not_answered(site: Site, foreign: str) -> None:
    before = site.plane.running
    for base in (site.plane.dev, f"{site.plane.dev}/instances/{site.instance['id']}"):
        for method, path in (("GET", "/_dev/status"), ("GET", "/_dev/records"), ("POST", "/_dev/reset")):
            status = send(base + path, method, FOREIGN[foreign])
            assert status == 403

    assert site.plane.running == before != []


@pytest.mark.parametrize("foreign", FOREIGN)
def test_nor_by_a_cluster(polars_dev_cluster: DevCluster, foreign: str) -> None:
    assert send(f"{polars_dev_cluster.observatory}/_dev/queries", "GET", FOREIGN[foreign]) == 403
    assert send(f"{polars_dev_cluster.observatory}/_dev/restart", "POST", FOREIGN[foreign]) == 403
    assert polars_dev_cluster.recorder.calls() == []


def test_what_a_test_sends_is_answered_by_any_name_of_this_machine(site: Site) -> None:
    for host in ("127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "127.0.0.1", "[::1]:{port}"):
        assert send(f"{site.plane.dev}/_dev/status", "GET", {"host": host}) == 200


def test_an_instance_admits_the_tokens_of_its_own_workspace_alone(site: Site) -> None:
    authority, port = public_info(site)
    credentials = grpc.ssl_channel_credentials(authority.encode())
    head, payload, signature = site.caller.token.split(".")
    refused = {
        "none": [],
        "empty": [("authorization", "")],
        "no scheme": [("authorization", site.caller.token)],
        "of the other workspace": bearer(site.stranger.token),
        "unsigned": bearer(f"{head}.{payload}."),
        "signed for another payload": bearer(f"{head}.{site.stranger.token.split('.')[1]}.{signature}"),
        "a secret": bearer(site.caller.account.secret),
    }
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        call = channel.unary_unary("/polars_cloud.compute_plane.client.v1.ClientService/GetComputeVersions")
        for metadata in refused.values():
            with pytest.raises(grpc.RpcError) as refusal:
                call(wire.Empty().SerializeToString(), metadata=metadata, timeout=10)
            assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert call(wire.Empty().SerializeToString(), metadata=bearer(site.caller.token), timeout=10)


def test_a_token_that_is_changed_anywhere_is_refused(site: Site) -> None:
    token = site.caller.token
    for at in range(len(token)):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert site.caller.ask("GET", "user/me", headers={"authorization": f"Bearer {changed}"}).status_code == 401


def test_connections_that_say_nothing_keep_nobody_out(site: Site) -> None:
    place = ("127.0.0.1", int(site.plane.api.rpartition(":")[2]))
    silent = [socket.create_connection(place) for _ in range(MOST_CONNECTIONS + 50)]
    try:
        for connection in silent[::2]:
            connection.sendall(b"POST /api/v1/user")
        assert Caller(site.plane).ask("GET", "user/me").status_code == 200
    finally:
        for connection in silent:
            connection.close()


def test_a_slow_sender_holds_up_nobody_else(site: Site) -> None:
    started, log = site.plane.started, site.up.log
    place = ("127.0.0.1", int(site.plane.api.rpartition(":")[2]))
    path = f"/api/v1/workspace/{site.caller.account.workspace.id}/compute/start"
    body = json.dumps(order()).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {site.caller.token}\r\n"
    with socket.create_connection(place, timeout=10) as slow:
        slow.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:-1])

        assert site.caller.ask("GET", "user/me").status_code == 200
        assert site.plane.started == started

        slow.shutdown(socket.SHUT_WR)  # it breaks off: the order is not carried out
        wait_for(lambda: slow.recv(1000) == b"" or None, 10, lambda: "the connection is still there", interval=0.01)
    assert site.plane.started == started
    assert site.up.log == log


@pytest.mark.parametrize("size", [2_000_000, 200_000_000])
def test_a_huge_body_is_refused_before_it_is_read(site: Site, size: int) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(size // 100_000):
            yield b" " * 100_000

    before, started, status = memory(site), site.plane.started, None
    with contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):  # it hangs up meanwhile
        status = site.caller.ask("POST", "W/compute/start", content=body()).status_code

    assert status in (None, 413)
    assert memory(site) - before < 50_000_000
    assert site.plane.started == started


def test_a_header_without_an_end_is_refused(site: Site) -> None:
    place = ("127.0.0.1", int(site.plane.api.rpartition(":")[2]))
    before, header = memory(site), b"x" * 200_000_000
    with socket.create_connection(place, timeout=10) as endless:
        endless.sendall(b"GET /api/v1/user/me HTTP/1.1\r\nx: ")
        with pytest.raises(ConnectionError):
            endless.sendall(header)

    assert memory(site) - before < 50_000_000


def test_what_is_recorded_of_a_call_is_short(site: Site) -> None:
    site.plane.recorder.forget()
    headers = {f"x-{number}": "long" * 500 for number in range(5)}
    site.caller.ask("GET", "W/manifest/find", params={"name": "n" * 5000}, headers=headers)

    (record,) = site.plane.recorder.calls()
    assert len(json.dumps(record)) < 3000


def test_no_variable_of_an_order_is_shown_where_it_is_refused(site: Site) -> None:
    wrong = order(env_vars={"A=B": "the-password-of-the-order"}) | {"cluster_size": "the-password-of-the-order"}
    for body in (wrong, wrong | {"cluster_size": 1}, order(env_vars=["the-password-of-the-order"])):
        answer = site.caller.ask("POST", "W/compute/start", json=body)
        assert answer.status_code == 422
        assert site.told(answer.text) == []
    assert site.told(json.dumps(site.plane.recorder.calls())) == []


def test_an_instance_that_ends_leaves_no_key(site: Site) -> None:
    instance_id = site.caller.start()
    until(site.plane, instance_id, "Idle")
    keys = set(site.shell.temporary.rglob("server.key"))

    site.caller.ask("POST", f"W/compute/{instance_id}/stop")
    ended(site.plane, instance_id)

    assert len(set(site.shell.temporary.rglob("server.key"))) == len(keys) - 1


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


def memory(site: Site) -> int:
    return int(site.up.process.memory_info().rss)


def public_info(site: Site) -> tuple[str, str]:
    info = site.caller.ask("GET", f"W/compute/{site.instance['id']}/public_info").json()
    return info["public_server_key"], info["scheduler"]["address"].rpartition(":")[2]


def send(url: str, method: str, headers: dict[str, str]) -> int:
    """Return the status that answers a request with just these headers, and a right ``Host`` if none is given."""
    port = httpx.URL(url).port
    given = {name: value.format(port=port) for name, value in headers.items()}
    return httpx.request(method, url, headers=given, trust_env=False).status_code
