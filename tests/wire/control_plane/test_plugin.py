"""The fixture ``polars_control_plane`` in the tests of a user, with the real client in the process of pytest."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from airflow_provider_polars.dev_cluster.registry import started_at
from airflow_provider_polars.testing import isolated_environment
from tests.harness.waiting import wait_for
from tests.wire.sessions import PLUGIN, run_session

START = """
    def started():
        import polars_cloud as pc

        pc.authenticate(interactive=False)
        context = pc.ComputeContext(cpus=2, memory=4, connection_mode="proxy")
        context.start()
        return context

"""
RUN_ON_A_CLUSTER = """
    def test_a_query_on_a_cluster(polars_dev_cluster):
        import polars as pl

        query = pl.LazyFrame({"a": [1]}).remote(polars_dev_cluster.context()).single_node()
        assert query.collect().item() == 1
"""
USE_THE_CONTROL_PLANE = """
    def test_one_instance_is_started_and_stopped(polars_control_plane):
        plane = polars_control_plane
        context = started()
        assert plane.running == plane.started == [str(context._compute_id)]
        assert plane.stopped == []

        context.stop()

        assert plane.stopped == plane.started
        assert plane.running == plane.failed == []
        assert len(plane.recorder.calls("POST workspace/*/compute/start")) == 1
        assert len(plane.recorder.calls("POST workspace/*/compute/*/stop")) == 1
"""


USE_BOTH = """
    def test_both_at_once(polars_control_plane, polars_dev_cluster):
        test_a_query_on_a_cluster(polars_dev_cluster)
        test_one_instance_is_started_and_stopped(polars_control_plane)
"""


@pytest.mark.own_cluster
def test_a_session_can_use_the_control_plane_after_a_cluster(tmp_path: Path) -> None:
    printed = run_session(tmp_path, START + RUN_ON_A_CLUSTER + USE_THE_CONTROL_PLANE + USE_BOTH)

    assert "3 passed" in printed, printed


@pytest.mark.own_cluster
def test_a_session_can_use_a_cluster_after_the_control_plane(tmp_path: Path) -> None:
    printed = run_session(tmp_path, START + USE_THE_CONTROL_PLANE + RUN_ON_A_CLUSTER)

    assert "2 passed" in printed, printed


@pytest.mark.own_cluster
def test_a_test_finds_nothing_of_the_one_before(tmp_path: Path) -> None:
    tests = """
    import json
    import os
    import time

    def test_that_leaves_all_it_has(polars_control_plane, tmp_path_factory):
        plane = polars_control_plane
        started()
        while not plane.instances[0]["pids"]:
            time.sleep(0.02)
        plane.fail_starts("out of machines")
        plane.faults.add("GET user/me", "answer", status=503, times=None)
        plane.revoke_tokens()
        (tmp_path_factory.getbasetemp() / "left").write_text(json.dumps(plane.instances[0]["pids"]))

    def test_that_comes_after_it(polars_control_plane, tmp_path_factory):
        plane = polars_control_plane
        pids = json.loads((tmp_path_factory.getbasetemp() / "left").read_text())
        assert pids
        assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
        assert plane.instances == plane.recorder.calls() == plane.faults.counted() == []
        started()
        assert plane.running == plane.started
        assert plane.failed == []
    """

    printed = run_session(tmp_path, START + tests)

    assert "2 passed" in printed, printed


@pytest.mark.own_cluster
def test_a_client_that_was_imported_elsewhere_is_named_and_never_called(tmp_path: Path) -> None:
    tests = """
    import polars_cloud

    def test_with_it(polars_control_plane):
        polars_cloud.authenticate(interactive=False)

    def test_with_a_cluster(polars_dev_cluster):
        assert polars_dev_cluster.queries == []
    """
    elsewhere = isolated_environment(tmp_path) | {"POLARS_CLOUD_DOMAIN": "elsewhere.invalid"}

    printed = run_session(tmp_path, tests, environment=elsewhere)

    assert "1 passed, 1 error" in printed, printed
    assert "polars_cloud was imported with the addresses of auth.elsewhere.invalid, which it keeps" in printed
    assert "Import it inside tests and DAG functions" in printed


@pytest.mark.own_cluster
def test_a_conftest_can_lead_a_client_here_that_is_imported_at_the_top(tmp_path: Path) -> None:
    conftest = f"""
    import os
    import tempfile

    from airflow_provider_polars.testing import isolated_environment

    {PLUGIN}
    os.environ.update(isolated_environment(tempfile.mkdtemp()))
    """

    printed = run_session(tmp_path, "    import polars_cloud\n" + START + USE_THE_CONTROL_PLANE, conftest)

    assert "1 passed" in printed, printed


@pytest.mark.own_cluster
def test_the_options_of_the_control_plane_are_the_users(tmp_path: Path) -> None:
    conftest = f"""
    import pytest

    {PLUGIN}
    @pytest.fixture(scope="session")
    def polars_control_plane_options():
        return "--max-vcpus", "1"
    """
    tests = """
    import pytest

    def test_quota(polars_control_plane):
        with pytest.raises(ValueError, match="quota exceeded"):
            started()
        assert polars_control_plane.started == []
    """

    printed = run_session(tmp_path, START + tests, conftest)

    assert "1 passed" in printed, printed


@pytest.mark.own_cluster
def test_changing_between_the_fixtures_harms_no_thread_that_reads_the_environment(tmp_path: Path) -> None:
    tests = """
    import ctypes
    import os
    import threading

    import pytest

    library = ctypes.CDLL(None)
    library.getenv.restype = ctypes.c_void_p

    def read():
        while True:
            for _ in range(100):
                library.getenv(b"NO_SUCH_VARIABLE")

    def test_readers(polars_dev_cluster):
        for _ in range(2):
            threading.Thread(target=read, daemon=True).start()

    @pytest.mark.parametrize("fixture", ["polars_control_plane", "polars_dev_cluster", None] * 20)
    def test_change(fixture, request):
        expected = request.getfixturevalue(fixture).environment if fixture else {}
        assert os.environ.get("POLARS_CLOUD_CLIENT_SECRET") == expected.get("POLARS_CLOUD_CLIENT_SECRET")
        assert os.environ.get("AWS_SECRET_ACCESS_KEY") == expected.get("AWS_SECRET_ACCESS_KEY")
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "POLARS_CLOUD_"))}

    printed = run_session(tmp_path, tests, environment=environment)

    assert "61 passed" in printed, printed


@pytest.mark.own_cluster
@pytest.mark.parametrize("start", ["start_control_plane", "start_dev_cluster"])
def test_nothing_is_left_of_tests_that_were_killed(tmp_path: Path, start: str) -> None:
    program = f"""
    import os, signal
    from airflow_provider_polars.testing import {start}

    with {start}() as started:
        print(started.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """

    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True, check=False
    )

    assert killed.returncode == -signal.SIGKILL
    pid = int(killed.stdout)
    wait_for(lambda: started_at(pid) is None or None, 15, lambda: f"{pid} runs", interval=0.05)


def test_the_plugin_makes_no_certificate_and_takes_no_port_before_it_is_used() -> None:
    program = """
    import os, socket, sys, tempfile

    def sockets():
        links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
        return [link for link in links if os.path.islink(link) and os.readlink(link).startswith("socket:")]

    import airflow_provider_polars.testing
    heavy = {"airflow", "cryptography", "grpc", "msgspec", "polars", "polars_cloud", "starlette", "uvicorn"}
    print(len(sockets()), sorted(heavy & sys.modules.keys()), os.listdir(tempfile.gettempdir()))
    airflow_provider_polars.testing.isolated_environment("/nowhere")
    print(len(sockets()), sorted(heavy & sys.modules.keys()), len(os.listdir(tempfile.gettempdir())))
    """
    with tempfile.TemporaryDirectory() as temporary:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            env=dict(os.environ) | {"TMPDIR": temporary},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines() == ["0 [] []", "2 ['cryptography'] 1"]
        assert os.listdir(temporary) == []


def test_the_ports_are_taken_refuse_connections_and_are_not_inherited(tmp_path: Path) -> None:
    program = """
    import os, socket, subprocess, sys
    from airflow_provider_polars.testing import isolated_environment

    environment = isolated_environment("/nowhere")
    for name in ("POLARS_CLOUD_API_ADDR", "POLARS_CLOUD_DOMAIN"):
        port = int(environment[name].rpartition(":")[2])
        print(socket.socket().connect_ex(("127.0.0.1", port)))
        try:
            socket.socket().bind(("127.0.0.1", port))
        except OSError as error:
            print(error.errno)
    child = "import os; print([fd for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')][3:])"
    subprocess.run([sys.executable, "-c", child], close_fds=False)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    refused_and_taken = [str(errno.ECONNREFUSED), str(errno.EADDRINUSE)]
    assert done.stdout.splitlines() == [*refused_and_taken, *refused_and_taken, "[]"]
