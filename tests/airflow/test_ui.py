"""``make ui``: Airflow to click through with the examples having run, and nothing of it left at the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import REPOSITORY
from tests.harness.rest import AirflowRest
from tests.harness.waiting import wait_for

READY_SECONDS = 300.0
END_SECONDS = 60.0
REGISTRY = "polars-dev-clusters-"
"""Begin of the folder where development clusters are listed, which stays; nothing is listed in it any more."""

DAGS = ("example_first", "example_cluster", "example_cloud")

pytestmark = pytest.mark.own_stack


@pytest.fixture
def make_ui(flights_data: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return what runs ``make ui`` in a session of its own, as a terminal does; its output is in ``tmp_path/told``."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*dag_ids: str) -> subprocess.Popen[bytes]:
        (tmp_path / "files").mkdir()
        command = ["make", "--assume-old=.venv/.ready", "ui", f"DAGS={' '.join(dag_ids)}"]
        environment = {**os.environ, "TMPDIR": str(tmp_path / "files")}
        with (tmp_path / "told").open("wb") as told:
            process = subprocess.Popen(
                command, cwd=REPOSITORY, env=environment, stdout=told, stderr=told, start_new_session=True
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], told: Path) -> str:
    """Return the address that is printed once all is ready."""

    def ready() -> str | None:
        assert process.poll() is None, told.read_text()
        found = re.search(r"^Ready: (\S+) \(user admin, password admin\)", told.read_text(), re.MULTILINE)
        return found[1] if found else None

    return wait_for(ready, READY_SECONDS, told.read_text)


def check_nothing_is_left(process: subprocess.Popen[bytes], children: list[psutil.Process], files: Path) -> None:
    """Wait for the end of the command and of what it has started."""
    process.wait(END_SECONDS)
    _, alive = psutil.wait_procs(children, timeout=0)
    assert alive == []
    assert [left for left in files.rglob("*") if left.parent != files or not left.name.startswith(REGISTRY)] == []


def test_the_examples_have_run_and_sigterm_ends_everything(
    make_ui: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = make_ui(*DAGS)
    site = wait_until_ready(process, tmp_path / "told")

    assert "<title>Airflow</title>" in httpx.get(site, trust_env=False, follow_redirects=True).text
    rest = AirflowRest(site)
    for dag_id in DAGS:
        (run,) = rest.get(f"/dags/{dag_id}/dagRuns")["dag_runs"]
        assert run["state"] == "success"
    connections = {found["connection_id"]: found for found in rest.get_all("/connections", "connections")}
    assert connections.keys() == {"polars_default", "polars_cluster_default", "polars_cloud_default"}
    for connection in connections.values():
        answer = rest.request("POST", "/api/v2/connections/test", body=connection)
        assert answer["status"] is True, answer
    rest.close()

    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) > 10
    process.terminate()

    check_nothing_is_left(process, children, tmp_path / "files")


def test_ctrl_c_ends_everything_while_examples_run(
    make_ui: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """A terminal sends it to the whole group of processes at once."""
    process, told = make_ui("example_cloud"), tmp_path / "told"
    wait_for(lambda: "examples run at" in told.read_text() or None, READY_SECONDS, told.read_text)

    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)

    check_nothing_is_left(process, children, tmp_path / "files")
    assert "All of it has ended (SIGINT)" in told.read_text()
    assert "Traceback" not in told.read_text()
