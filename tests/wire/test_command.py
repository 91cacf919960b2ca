"""``polars-dev-cluster`` in a shell: what it says, how it ends and what it leaves behind."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import time
import venv
from pathlib import Path

import polars as pl
import pytest

from airflow_provider_polars.dev_cluster.settings import DEFAULT_OBSERVATORY_PORT, DEFAULT_PORT
from airflow_provider_polars.testing.environment import set_environment
from tests.unit.guide import DOCS, blocks
from tests.wire.command import ANY_PORTS, SECONDS, Shell, Up, ends_while_it_starts, program, without_particulars
from tests.wire.gates import Gate
from tests.wire.peers import refusing_port

pytestmark = pytest.mark.own_cluster

JSON = (*ANY_PORTS, "--json")
ONE_WORKER = (*JSON, "--workers", "1")

both_ends = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])


def test_up_says_what_listens_where_and_that_it_is_for_development(shell: Shell) -> None:
    with (
        refusing_port() as port,
        refusing_port() as observatory_port,
        shell.up("--port", str(port), "--observatory-port", str(observatory_port), "--workers", "1") as up,
    ):
        first, *rows = up.wait_until_ready().splitlines()

        assert first == "A Polars cluster for development and tests: a stand-in, not for production"
        assert dict(row.split(None, 1) for row in rows) == {
            "scheduler": f"http://127.0.0.1:{port}",
            "observatory": f"http://127.0.0.1:{observatory_port}",
            "workers": f"1, each one query at a time (Polars {pl.__version__}, Python {sys.version.split()[0]})",
            "stop": f"Ctrl-C, or: polars-dev-cluster down --port {port}",
        }
        assert up.log == ""


def test_the_guide_shows_what_up_prints(shell: Shell) -> None:
    (shown,) = blocks("text", [DOCS / "dev-cluster.md"])
    with shell.up(*ANY_PORTS) as up:
        printed = up.wait_until_ready()

    assert without_particulars(shown.text.splitlines()) == without_particulars(printed.splitlines())
    assert re.findall(r"http://127.0.0.1:(\d+)", shown.text) == [str(DEFAULT_PORT), str(DEFAULT_OBSERVATORY_PORT)]


def test_up_prints_one_line_of_json_if_asked(shell: Shell) -> None:
    with shell.up(*JSON, "--workers", "3") as up:
        line = up.wait_until_ready()

        assert line.count("\n") == 1
        facts = json.loads(line)
        assert facts["pid"] == up.pid
        assert facts["workers"] == 3
        assert facts["polars"] == pl.__version__
        assert facts["token"] is facts["authority"] is None
        assert len(up.children) == 4  # and one that looks at plans


def test_the_ports_are_those_of_real_clusters_unless_others_are_given(shell: Shell) -> None:
    text = " ".join(shell.run("up", "--help").stdout.split())

    assert "--port PORT of the scheduler (5051)" in text
    assert "--observatory-port OBSERVATORY_PORT (3001)" in text


def test_status_lists_the_clusters_that_run(shell: Shell) -> None:
    none = shell.run("status")
    with shell.up(*ONE_WORKER) as first, shell.up(*ONE_WORKER) as second:
        facts = [first.facts, second.facts]
        both = shell.run("status")
        ports = [fact["scheduler"].rpartition(":")[2] for fact in facts]
        one = shell.run("status", "--port", ports[0])

    assert (none.returncode, none.stdout) == (1, "no development cluster is up\n")
    lines = [
        f"{fact['scheduler']}  observatory {fact['observatory']}  1 workers  pid {fact['pid']}"
        for _, fact in sorted(zip(map(int, ports), facts, strict=True), key=lambda pair: pair[0])
    ]
    assert (both.returncode, both.stdout.splitlines()) == (0, lines)
    assert (one.returncode, one.stdout.splitlines()) == (0, [line for line in lines if f":{ports[0]} " in line])


def test_down_stops_the_only_cluster(shell: Shell) -> None:
    with shell.up(*ONE_WORKER) as up:
        uri = up.facts["scheduler"]

        down = shell.run("down")

        assert (down.returncode, down.stdout) == (0, f"stopped {uri}\n")
        assert up.process.wait(SECONDS) == 0
        up.wait_for_the_end_of_all()
    assert shell.left == []
    assert shell.run("down").returncode == 1


def test_down_does_not_choose_among_several(shell: Shell) -> None:
    with shell.up(*ONE_WORKER) as first, shell.up(*ONE_WORKER) as second:
        ports = [int(up.facts["scheduler"].rpartition(":")[2]) for up in (first, second)]

        undecided = shell.run("down")
        decided = shell.run("down", "--port", str(ports[0]))

        assert undecided.returncode == 1
        assert undecided.stderr == (
            "polars-dev-cluster: several are up, on the ports {}, {}: say --port\n".format(*sorted(ports))
        )
        assert decided.returncode == 0
        assert first.process.wait(SECONDS) == 0
        assert second.process.poll() is None


@both_ends
def test_a_signal_ends_it_cleanly(shell: Shell, number: signal.Signals) -> None:
    with shell.up(*JSON) as up:
        pids = {worker["pid"] for worker in up.cluster.workers}
        assert pids == {child.pid for child in up.children}
        assert shell.left != []

        assert up.end(number) == 0

        assert up.log == ""
    assert shell.left == []


@both_ends
def test_a_signal_ends_it_cleanly_while_a_query_runs(
    shell: Shell, number: signal.Signals, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shell.up(*ONE_WORKER) as up:
        _start_endless_query(up, gate, monkeypatch)

        begin = time.monotonic()
        assert up.end(number) == 0

        assert time.monotonic() - begin < 30
        assert up.log == ""
    assert shell.left == []


@both_ends
def test_a_signal_ends_it_cleanly_while_it_starts(shell: Shell, number: signal.Signals, tmp_path: Path) -> None:
    ends_while_it_starts(shell, number, tmp_path, *JSON)


def test_files_of_a_killed_cluster_go_with_the_next_start(shell: Shell) -> None:
    with shell.up(*ONE_WORKER, "--tls") as killed:
        killed.wait_until_ready()
        killed.end(signal.SIGKILL)
    assert [path.name for path in shell.left if path.suffix == ".key"] == ["server.key"]

    with shell.up(*ONE_WORKER) as up:
        up.wait_until_ready()
        assert not [path for path in shell.left if path.suffix == ".key"]
        assert up.end(signal.SIGTERM) == 0
    assert shell.left == []


def test_workers_end_when_the_scheduler_is_killed(shell: Shell, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    with shell.up(*JSON) as up:
        _start_endless_query(up, gate, monkeypatch)
        assert len(up.children) == 3

        assert up.end(signal.SIGKILL) == -signal.SIGKILL

        assert shell.run("status").returncode == 1


def test_a_second_up_on_the_port_of_the_scheduler_says_so(shell: Shell) -> None:
    with shell.up(*ONE_WORKER) as up:
        port = up.facts["scheduler"].rpartition(":")[2]

        second = shell.run("up", "--port", port, "--observatory-port", "0")

        assert second.returncode == 1
        assert second.stdout == ""
        assert second.stderr == (
            f"polars-dev-cluster: cannot listen on 127.0.0.1:{port}: Address already in use; "
            f"a development cluster is up there already, pid {up.pid}\n"
        )
        assert up.cluster.workers


def test_a_second_up_on_the_port_of_the_observatory_says_so(shell: Shell) -> None:
    with shell.up(*ONE_WORKER) as up:
        port = up.facts["observatory"].rpartition(":")[2]

        second = shell.run("up", "--port", "0", "--observatory-port", port)

        assert second.returncode == 1
        assert second.stderr == (
            f"polars-dev-cluster: cannot listen on 127.0.0.1:{port}: Address already in use; "
            f"a development cluster is up there already, pid {up.pid}\n"
        )


@pytest.mark.parametrize("option", ["--port", "--observatory-port"])
def test_a_port_that_something_else_has_taken_is_named(shell: Shell, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        up = shell.run("up", *ANY_PORTS, option, str(port))

    assert up.returncode == 1
    assert up.stderr == (
        f"polars-dev-cluster: cannot listen on 127.0.0.1:{port}: Address already in use; choose another port or host\n"
    )
    assert shell.left == []


def test_an_interpreter_that_does_not_exist_is_named(shell: Shell, tmp_path: Path) -> None:
    missing = tmp_path / "missing"

    up = shell.run("up", *ANY_PORTS, "--python", str(missing))

    assert up.returncode == 1
    assert up.stderr == f"polars-dev-cluster: cannot start {missing}: No such file or directory\n"
    assert shell.left == []


def test_an_interpreter_without_what_workers_need_is_named(shell: Shell, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare")
    bare = tmp_path / "bare" / "bin" / "python"

    up = shell.run("up", *ANY_PORTS, "--python", str(bare))

    assert up.returncode == 1
    *reasons, last = up.stderr.splitlines()
    assert f"{bare}: No module named 'grpc'" in reasons
    assert last == f"polars-dev-cluster: {bare} cannot run workers, which need Polars and grpcio"
    assert shell.left == []


def test_a_program_that_is_no_interpreter_is_given_up(shell: Shell, tmp_path: Path) -> None:
    ends_at_once = program(tmp_path / "no-interpreter", "exit 3")

    up = shell.run("up", *ANY_PORTS, "--python", str(ends_at_once))

    assert up.returncode == 1
    assert "ended 5 times just after its start, with exit code 3" in up.stderr
    assert f"are Polars and grpcio installed for {ends_at_once}?" in up.stderr
    assert shell.left == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("", "the following arguments are required: command"),
        ("start", "invalid choice: 'start'"),
        ("up --no-such", "unrecognized arguments: --no-such"),
        ("up --workers 0", "--workers: 0 is not a number above 0"),
        ("up --workers two", "--workers: invalid int value: 'two'"),
        ("up --port 65536", "--port: 65536 is not a number between 0 and 65535"),
        ("up --observatory-port=-1", "--observatory-port: -1 is not a number between 0 and 65535"),
        ("up --port http", "--port: http is not a number between 0 and 65535"),
        ("up --memory-limit-gb nan", "--memory-limit-gb: nan is not a number above 0"),
        ("up --memory-limit-gb inf", "--memory-limit-gb: inf is not a number above 0"),
        ("up --result-ttl 0", "--result-ttl: 0 is not a number above 0"),
        ("down --port x", "--port: x is not a number between 0 and 65535"),
        ("status --workers 1", "unrecognized arguments: --workers 1"),
    ],
)
def test_wrong_arguments_are_named(shell: Shell, arguments: str, complaint: str) -> None:
    ended = shell.run(*arguments.split())

    assert ended.returncode == 2
    assert complaint in ended.stderr


def _start_endless_query(up: Up, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = up.cluster
    set_environment(cluster.environment, monkeypatch)
    gate.frame("endless").remote(cluster.context()).single_node().execute(blocking=False)
    gate.wait_until_started("endless")


def test_a_missing_package_is_named_with_the_extra_that_brings_it(shell: Shell) -> None:
    (shell.folder / "without").mkdir()
    (shell.folder / "without" / "uvicorn.py").write_text("raise ModuleNotFoundError('gone', name='uvicorn')\n")

    up = shell.run("up", *ANY_PORTS, PYTHONPATH=str(shell.folder / "without"))

    assert up.returncode == 1
    told = "uvicorn is missing: install the extra dev-cluster of airflow-provider-polars"
    assert up.stderr == f"polars-dev-cluster: {told}\n"
