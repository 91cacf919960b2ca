"""``polars-dev-cluster up --control-plane`` in a shell: what it says, how it ends and what it leaves behind."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from airflow_provider_polars.dev_cluster.control_plane.settings import (
    DEFAULT_API_PORT,
    DEFAULT_DEV_PORT,
    DEFAULT_TOKEN_PORT,
)
from tests.unit.guide import DOCS, blocks
from tests.wire.command import SECONDS, Shell, ends_while_it_starts, without_particulars
from tests.wire.control_plane.instances import started, until

if TYPE_CHECKING:
    from tests.wire.control_plane.conftest import Clients

pytestmark = pytest.mark.own_cluster

ANY_PORTS = ("--control-plane", "--api-port", "0", "--token-port", "0", "--dev-port", "0")
JSON = (*ANY_PORTS, "--json")
USE = """
import polars_cloud as pc
pc.authenticate(interactive=False)
context = pc.ComputeContext(cpus=2, memory=4, connection_mode="proxy")
context.start()
context.stop()
print(pc.Workspace().name)
"""

both_ends = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])


def test_a_shell_that_runs_what_it_prints_leads_the_client_there(shell: Shell) -> None:
    with shell.up(*ANY_PORTS) as up:
        up.wait_until_ready()
        (dev,) = re.findall(r"^#   /_dev +(\S+)$", up.output, re.MULTILINE)
        script = (
            f'eval "$(cat {shlex.quote(str(up.output_file))})"\n{shlex.quote(sys.executable)} -c {shlex.quote(USE)}'
        )
        other_way = {"POLARS_CLOUD_ACCESS_TOKEN": "of-somebody-else", "HTTPS_PROXY": "http://127.0.0.1:1"}

        done = subprocess.run(
            ["sh", "-euc", script],
            env=shell.environment | other_way | {"NO_PROXY": "", "no_proxy": "example.invalid"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert (done.stdout, done.returncode) == ("development\n", 0), done.stderr
        first, *_ = up.output.splitlines()
        assert first == "# A Polars Cloud control plane for development and tests: a stand-in, not for production"
        assert dev.startswith("http://127.0.0.1:")
        assert up.end(signal.SIGTERM) == 0
        assert up.log == ""
    assert shell.left == []


def test_the_guide_shows_how_what_it_prints_begins(shell: Shell) -> None:
    (shown,) = blocks("text", [DOCS / "control-plane.md"])
    *lines, rest = shown.text.splitlines()
    with shell.up(*ANY_PORTS) as up:
        printed = up.wait_until_ready().splitlines()

    assert rest == "..."
    assert without_particulars(lines) == without_particulars(printed[: len(lines)])
    ports = {str(port) for port in (DEFAULT_API_PORT, DEFAULT_TOKEN_PORT, DEFAULT_DEV_PORT)}
    assert set(re.findall(r"127.0.0.1:(\d+)", shown.text)) == ports


def test_a_line_of_json_has_the_same_and_both_accounts(shell: Shell) -> None:
    with shell.up(*JSON) as up:
        line = up.wait_until_ready()

        assert line.count("\n") == 1
        facts = json.loads(line)
        assert facts["pid"] == up.pid
        assert facts["polars"] == [pl.__version__]
        first, second = facts["accounts"]
        environment = facts["environment"]
        assert environment["POLARS_CLOUD_API_ADDR"] == facts["api"]
        assert environment["POLARS_CLOUD_CLIENT_ID"] == first["id"]
        assert environment["POLARS_CLOUD_CLIENT_SECRET"] == first["secret"]
        assert environment["POLARS_CLOUD_DEFAULT_WORKSPACE_ID"] == first["workspace"]["id"]
        assert (first["workspace"]["name"], second["workspace"]["name"]) == ("development", "second")
        assert Path(environment["POLARS_CLOUD_CONFIG_DIR"]).is_dir()
        assert Path(facts["authority"]).read_text() in Path(environment["SSL_CERT_FILE"]).read_text()


def test_a_service_account_may_be_given(shell: Shell) -> None:
    with shell.up(*JSON, POLARS_DEV_CLUSTER_ACCOUNT="known-id:known:secret") as up:
        first, second = json.loads(up.wait_until_ready())["accounts"]

        assert (first["id"], first["secret"]) == ("known-id", "known:secret")
        assert second["id"] != first["id"]


@pytest.mark.parametrize("account", ["known-id", ":known-secret", "known-id:", "known-id:known\nsecret"])
def test_half_a_service_account_is_refused_and_not_shown(shell: Shell, account: str) -> None:
    ended = shell.run("up", *JSON, POLARS_DEV_CLUSTER_ACCOUNT=account)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("polars-dev-cluster: POLARS_DEV_CLUSTER_ACCOUNT is not an id, a colon and a secret")
    assert "known" not in ended.stderr


def test_status_and_down_know_it(shell: Shell) -> None:
    with shell.up(*JSON) as up, shell.up("--port", "0", "--observatory-port", "0", "--workers", "1", "--json") as other:
        facts, _ = up.facts, other.facts
        port = facts["api"].rpartition(":")[2]

        status = shell.run("status", "--port", port)
        both = shell.run("status")
        down = shell.run("down", "--port", port)

        assert status.stdout == f"{facts['api']}  control plane  /_dev {facts['dev']}  pid {up.pid}\n"
        assert len(both.stdout.splitlines()) == 2
        assert (down.returncode, down.stdout) == (0, f"stopped {facts['api']}\n")
        assert up.process.wait(SECONDS) == 0
        assert other.process.poll() is None


@both_ends
def test_a_signal_ends_it_and_its_instances(shell: Shell, clients: Clients, number: signal.Signals) -> None:
    with shell.up(*JSON) as up:
        plane = up.plane
        client = clients(plane.environment)
        up_and_running = until(plane, started(client), "Idle")
        starting = until(plane, started(client), "Starting", "Idle")
        assert {child.pid for child in up.children} >= set(up_and_running["pids"]) != set()
        assert starting["id"] != up_and_running["id"]

        assert up.end(number) == 0

        assert up.log == ""
    assert shell.left == []


@both_ends
def test_a_signal_ends_it_while_it_starts(shell: Shell, number: signal.Signals, tmp_path: Path) -> None:
    ends_while_it_starts(shell, number, tmp_path, *JSON)


@pytest.mark.parametrize("option", ["--api-port", "--token-port", "--dev-port"])
def test_a_port_that_something_else_has_taken_is_named(shell: Shell, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        up = shell.run("up", *ANY_PORTS, option, str(port))

    assert (up.returncode, up.stdout) == (1, "")
    assert up.stderr == (
        f"polars-dev-cluster: cannot listen on 127.0.0.1:{port}: Address already in use; choose another port or host\n"
    )
    assert shell.left == []


def test_a_second_one_on_its_ports_says_which_is_there(shell: Shell) -> None:
    with shell.up(*JSON) as up:
        facts = up.facts
        ports = {"--api-port": facts["api"], "--token-port": facts["domain"], "--dev-port": facts["dev"]}
        for option, place in ports.items():
            port = place.rpartition(":")[2]

            second = shell.run("up", *ANY_PORTS, option, port)

            assert second.returncode == 1
            assert second.stderr.endswith(f"; a development control plane is up there already, pid {up.pid}\n")


def test_interpreters_that_cannot_serve_are_named(shell: Shell, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare")
    bare, missing = tmp_path / "bare" / "bin" / "python", tmp_path / "missing"
    twice = (sys.executable, str(Path(sys.executable).with_name("python3")))
    complaints = {
        (str(bare),): f"{bare} has no Polars",
        (str(missing),): f"cannot start {missing}: No such file or directory",
        twice: f"{twice[0]} and {twice[1]} both have Polars {pl.__version__}: give one of them",
    }
    for pythons, complaint in complaints.items():
        up = shell.run("up", *ANY_PORTS, "--python", *pythons)

        assert (up.returncode, up.stderr) == (1, f"polars-dev-cluster: {complaint}\n")
    assert shell.left == []


def test_a_folder_without_certificates_is_named(shell: Shell, tmp_path: Path) -> None:
    up = shell.run("up", *ANY_PORTS, "--certificates", str(tmp_path))

    reason = f"{tmp_path}/ca.pem cannot be read: --certificates names a folder with it"
    assert (up.returncode, up.stderr) == (1, f"polars-dev-cluster: {reason}\n")
    assert shell.left == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--control-plane --tls", "--tls is not for --control-plane"),
        ("--control-plane --token", "--token is not for --control-plane"),
        ("--control-plane --host 0.0.0.0", "--host is not for --control-plane"),
        ("--control-plane --deny-anonymous-users", "--deny-anonymous-users is not for --control-plane"),
        ("--control-plane --port 5051", "--port is not for --control-plane"),
        ("--control-plane --observatory-port 0", "--observatory-port is not for --control-plane"),
        (
            "--control-plane --result-ttl 1 --memory-limit-gb 1 --allow-remote",
            "--allow-remote, --memory-limit-gb, --result-ttl are not for --control-plane",
        ),
        ("--api-port 0", "--api-port is for --control-plane alone"),
        ("--max-vcpus 1 --starting-seconds 1", "--max-vcpus, --starting-seconds are for --control-plane alone"),
        ("--python a b", "several interpreters after --python are for --control-plane alone: a cluster has one"),
        ("--control-plane --starting-seconds nan", "nan is not a number of seconds, 0 or more"),
        ("--control-plane --token-seconds 0", "0 is not a number above 0"),
        ("--control-plane --api-port 65536", "65536 is not a number between 0 and 65535"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(shell: Shell, arguments: str, complaint: str) -> None:
    up = shell.run("up", *arguments.split())

    assert up.returncode == 2
    assert complaint in up.stderr


def test_a_missing_package_is_named_with_the_extra_that_brings_it(shell: Shell) -> None:
    (shell.folder / "without").mkdir()
    (shell.folder / "without" / "uvicorn.py").write_text("raise ModuleNotFoundError('gone', name='uvicorn')\n")

    up = shell.run("up", *ANY_PORTS, PYTHONPATH=str(shell.folder / "without"))

    assert up.returncode == 1
    told = "uvicorn is missing: install the extra dev-cluster of airflow-provider-polars"
    assert up.stderr == f"polars-dev-cluster: {told}\n"
