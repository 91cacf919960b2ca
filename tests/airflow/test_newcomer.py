"""A newcomer's walk: the page for those who begin, block by block, with real Airflow processes.

What is different here from what a reader does:

- Blocks marked ``install`` are not run: the environment of the tests is taken as it is.
- Ports are free ones, and Airflow has few workers, which are patient with its API where the machine is busy. The
  variables of :func:`newcomers_environment`, and :meth:`Walk.text_of`, say how.
- The home directory, ``~``, is a folder of the test.
- "After some seconds" is: the block is run again until it shows no run that goes on.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.harness.environment import clean_environment, free_ports
from tests.harness.processes import ManagedProcess
from tests.harness.waiting import wait_for
from tests.unit.guide import DOCS, Block, blocks

PAGE = DOCS / "getting-started.md"
READY = {"airflow standalone": "Airflow is ready", "polars-dev-cluster up": "observatory"}
CTRL_C_COUNTS = ("env", "--default-signal=INT")
"""Also where the tests themselves run in the background of a shell, which ignores it there."""

START_SECONDS = 300.0
BLOCK_SECONDS = 300.0
RUN_SECONDS = 300.0
STOP_SECONDS = 15.0

pytestmark = pytest.mark.own_stack


def newcomers_environment(home: Path) -> dict[str, str]:
    """Return the environment of a shell whose user has never heard of Airflow, but for ports and patience."""
    api, worker_logs, trigger_logs = free_ports(3)
    return clean_environment() | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "AIRFLOW__API__PORT": str(api),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{api}",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
    }


class Walk:
    """A reader with a shell, whose variables last from block to block, and with shells for what keeps running."""

    def __init__(self, home: Path, servers: ExitStack) -> None:
        self.home = home
        self.outputs: dict[Block, str] = {}
        self.scheduler_port, self.observatory_port = free_ports(2)
        self._environment = newcomers_environment(home)
        self._servers = servers

    def text_of(self, block: Block) -> str:
        """Return a block with ports that are free."""
        observatory = json.dumps({"observatory": f"http://127.0.0.1:{self.observatory_port}"})
        ports = f"--port {self.scheduler_port} --observatory-port {self.observatory_port}"
        return block.text.replace("polars-dev-cluster up", f"polars-dev-cluster up {ports}").replace(
            "--conn-port 5051", f"--conn-port {self.scheduler_port} --conn-extra '{observatory}'"
        )

    def do(self, block: Block) -> None:
        """Do what a block asks for: write a file, start what keeps running, or run commands."""
        if block.title:
            (Path(self._environment["AIRFLOW_HOME"]) / block.title).write_text(block.text)
        elif "server" in block.words:
            self._start(block)
        elif "list-runs" in block.text:
            wait_for(lambda: self._all_ended(block), RUN_SECONDS, lambda: self.outputs[block])
        else:
            self.outputs[block] = self._run(block)

    def _run(self, block: Block) -> str:
        keep = self.home / "environment"
        done = subprocess.run(
            ["bash", "-euc", f'{self.text_of(block)}\nenv -0 > "{keep}"'],
            cwd=self.home,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=BLOCK_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        self._environment = dict(entry.split("=", 1) for entry in keep.read_text().split("\0") if entry)
        return done.stdout

    def _all_ended(self, block: Block) -> bool | None:
        self.outputs[block] = shown = self._run(block)
        assert "| failed " not in shown, f"{shown}\n{self._logs()}"
        return ("| success " in shown and not re.search(r"\| (queued|running) ", shown)) or None

    def _logs(self) -> str:
        tasks = (self.home / "airflow-tutorial" / "logs").rglob("attempt=*.log")
        return "\n".join(file.read_text()[-5000:] for file in [*tasks, *self.home.glob("server-*.log")])

    def _start(self, block: Block) -> None:
        log = self.home / f"server-{block.line}.log"
        process = ManagedProcess(
            [*CTRL_C_COUNTS, "bash", "-c", f"exec {self.text_of(block)}"],
            log_file=log,
            env=self._environment,
            cwd=self.home,
        )
        self._servers.callback(interrupt, process, block)
        expected = READY[block.text.strip()]

        def ready() -> bool | None:
            assert process.returncode is None, f"{block} ended\n{process.log_tail(100)}"
            return expected in log.read_text(errors="replace") or None

        wait_for(ready, START_SECONDS, lambda: f"{expected!r} from {block}\n{process.log_tail(100)}")


def interrupt(process: ManagedProcess, block: Block) -> None:
    """Press Ctrl-C, which reaches all processes of a shell's job. Our own ends; Airflow may have to be killed."""
    os.killpg(process.pid, signal.SIGINT)
    process.finish(STOP_SECONDS)
    if block.text.startswith("polars-dev-cluster"):
        assert process.returncode == 0, process.log_tail(100)


def steps() -> list[Block]:
    """Return what the page has its reader do, in order."""
    found = [*blocks("bash", [PAGE]), *(block for block in blocks("python", [PAGE]) if block.title)]
    return sorted((block for block in found if "install" not in block.words), key=lambda block: block.line)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """Do all steps of the page; each of them must succeed. What was started is stopped by Ctrl-C at the end."""
    with ExitStack() as servers:
        walk = Walk(tmp_path_factory.mktemp("newcomer"), servers)
        for block in steps():
            walk.do(block)
        yield walk


def test_what_the_page_says_is_printed_is_printed(walk: Walk) -> None:
    """A block of text stands below the block of commands that prints it."""
    told = blocks("text", [PAGE])
    assert told
    for text in told:
        printed = max((block for block in walk.outputs if block.line < text.line), key=lambda block: block.line)
        assert text.text in walk.outputs[printed]
    (errors,) = (shown for block, shown in walk.outputs.items() if "list-import-errors" in block.text)
    assert "No data found" in errors


def test_the_dag_runs_by_its_schedule_and_then_by_hand(walk: Walk) -> None:
    with closing(sqlite3.connect(walk.home / "airflow-tutorial" / "airflow.db")) as database:
        runs = database.execute("SELECT run_type, state FROM dag_run WHERE dag_id = 'orders' ORDER BY id").fetchall()
        due = database.execute("SELECT next_dagrun_create_after FROM dag WHERE dag_id = 'orders'").fetchone()
    assert runs == [("scheduled", "success"), ("manual", "success")]
    assert " 00:00:00" in due[0]


def test_the_logs_say_where_the_queries_ran(walk: Walk) -> None:
    """The first run was on the worker, the second one on the cluster."""
    logs = {
        run: "".join(
            file.read_text() for file in (walk.home / "airflow-tutorial" / "logs").rglob(f"*{run}__*/**/*.log")
        )
        for run in ("scheduled", "manual")
    }
    address = f"127.0.0.1:{walk.scheduler_port}"
    assert address not in logs["scheduled"]
    assert address in logs["manual"]


def test_each_day_has_a_file_of_its_own(walk: Walk) -> None:
    lake = walk.home / "airflow-tutorial" / "lake"
    names = [file.name for file in (lake / "paid").iterdir()]
    assert names
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d\.parquet", name) for name in names)


def test_a_walk_changes_no_more_than_ports(tmp_path: Path) -> None:
    """Each text that is replaced stands in the page once; each server has a sign that it is ready."""
    page = "".join(block.text for block in steps())
    assert [page.count(text) for text in ("polars-dev-cluster up", "--conn-port 5051")] == [1, 1]
    assert {block.text.strip() for block in steps() if "server" in block.words} == READY.keys()
    assert "AIRFLOW_HOME" not in newcomers_environment(tmp_path)
    assert os.environ["HOME"] != str(tmp_path)
