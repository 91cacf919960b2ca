"""What runs for the matrix: Airflow on PostgreSQL, a control plane, and development clusters."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow_provider_polars.testing import ControlPlane, DevCluster, start_control_plane, start_dev_cluster
from tests.harness.environment import free_ports
from tests.harness.postgres import PostgresServer
from tests.harness.processes import ManagedProcess, session_members
from tests.harness.stack import STOP_TIMEOUT, AirflowStack, ProcessName, StackError
from tests.harness.waiting import wait_for

HERE = Path(__file__).parent
DEPLOYMENT = "faults"
WORKERS = "2"
POOL, SLOTS = "few", 6
"""Of mapped tasks, so that not all of them start at once."""

SETTLE_SECONDS = 180.0
LOOK_SECONDS = 0.5
HEARTBEAT_TIMEOUT = 30
"""Seconds without a heartbeat after which Airflow takes a task for lost; a busy machine has pauses of ten."""

DAY = "86400"
OPTIONS = {
    "CORE__PARALLELISM": "48",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
    "WORKERS__EXECUTION_API_TIMEOUT": "5",
    # The DAG file is parsed once: a busy machine would be late with it, and Airflow forget the DAGs.
    "DAG_PROCESSOR__REFRESH_INTERVAL": DAY,
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": DAY,
    "DAG_PROCESSOR__STALE_DAG_THRESHOLD": DAY,
    "POLARS__DEPLOYMENT_ID": DEPLOYMENT,
}


OF_DATABASE = {"idle_in_transaction_session_timeout": "15s"}
"""The workers of a scheduler that is killed hold its connection, and what it has locked would stay locked with them."""


class World:
    """Everything that a cell needs.

    :param folder: of the files that queries and tasks tell of themselves in.
    """

    def __init__(self, folder: Path, stack: AirflowStack, postgres: PostgresServer, plane: ControlPlane) -> None:
        self.folder = folder
        self.stack = stack
        self.rest = stack.rest
        self.postgres = postgres
        self.plane = plane
        self._clusters = contextlib.ExitStack()
        self._free: list[DevCluster] = []
        self._lock = threading.Lock()
        self._left_over: list[ManagedProcess] = []
        self._second: ManagedProcess | None = None
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep_up, daemon=True)
        self._keeper.start()

    def take_cluster(self) -> DevCluster:
        """Return a cluster that nobody else uses."""
        with self._lock:
            if self._free:
                return self._free.pop()
        cluster = start_dev_cluster("--workers", WORKERS)
        started = cluster.__enter__()
        with self._lock:
            self._clusters.push(cluster.__exit__)
        return started

    def give_back(self, cluster: DevCluster) -> None:
        """Let the next cell use a cluster."""
        cluster.faults.clear()
        with self._lock:
            self._free.append(cluster)

    def replace(self, name: ProcessName, signum: signal.Signals) -> None:
        """End a process of Airflow, and start another one."""
        self.stack.stop_process(name, signum)
        self.stack.start_process(name)
        self.settle()

    def replace_alone(self, name: ProcessName) -> None:
        """Kill a process of Airflow whose children live on, and start another one."""
        process = self.stack.processes.pop(name)
        process.signal(signal.SIGKILL)
        self._left_over.append(process)
        self.stack.start_process(name)
        self.settle()

    def wait_for_log(self, name: ProcessName, text: str, since: int) -> None:
        """Wait until a process of Airflow has written a text.

        :param since: length of its log before.
        """
        file = self.log_of(name)
        wait_for(lambda: text.encode() in file.read_bytes()[since:] or None, SETTLE_SECONDS, self.stack.log_tails)

    def log_of(self, name: ProcessName) -> Path:
        """Return the log of a process of Airflow, and of those that had its place."""
        return self.stack.processes[name].log_file

    def settle(self) -> None:
        """Wait until all of Airflow is well."""
        wait_for(self._well, SETTLE_SECONDS, self.stack.log_tails)

    def _well(self) -> bool | None:
        try:
            self.stack.wait_until_healthy()
        except StackError:  # a process has ended, and another one takes its place
            return None
        return True

    def start_second_triggerer(self) -> None:
        """Start another triggerer beside the first one."""
        variable = "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT"
        self._second = ManagedProcess(
            [str(Path(sys.executable).parent / "airflow"), "triggerer"],
            log_file=self.stack.home / "logs" / "triggerer-2.log",
            env=self.stack.env | {variable: str(free_ports(1)[0])},
            cwd=self.stack.home,
        )

    def end_second_triggerer(self) -> None:
        """End it, if it is there."""
        if self._second is not None:
            self._second.signal(signal.SIGTERM)
            self._second.finish(STOP_TIMEOUT)
            self._second = None

    @contextlib.contextmanager
    def environment(self, **variables: str) -> Iterator[None]:
        """Give the processes that are started meanwhile further variables."""
        before = dict(self.stack.env)
        self.stack.env |= variables
        try:
            yield
        finally:
            self.stack.env = before

    def _keep_up(self) -> None:
        """Start the processes of Airflow that have ended anew, as a service manager does, until the end."""
        while not self._closing.wait(LOOK_SECONDS):
            for name, process in list(self.stack.processes.items()):
                if process.returncode is not None and self.stack.processes.get(name) is process:
                    self._left_over.append(process)
                    self.stack.start_process(name)

    def close(self) -> None:
        """End what it has started itself."""
        self._closing.set()
        self._keeper.join()
        self.end_second_triggerer()
        for process in self._left_over:
            process.finish(0)
        self._clusters.close()


def freeze(process: ManagedProcess, signum: signal.Signals) -> None:
    """Send SIGSTOP or SIGCONT to a process and all of its session."""
    for pid in session_members(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


@contextlib.contextmanager
def world(keep_home: bool = False) -> Iterator[World]:
    """Start everything, and end it with the block."""
    with contextlib.ExitStack() as started:
        folder = Path(started.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        folder.chmod(0o755)
        plane = started.enter_context(start_control_plane())
        postgres = started.enter_context(PostgresServer(settings=OF_DATABASE))
        stack = AirflowStack(HERE / "dags", env=_environment(plane, postgres))
        stack.keep_home = keep_home
        started.enter_context(stack)
        there = World(folder, stack, postgres, plane)
        there.rest.request("POST", "/api/v2/pools", body={"name": POOL, "slots": SLOTS})
        started.callback(there.close)
        yield there


def _environment(plane: ControlPlane, postgres: PostgresServer) -> dict[str, str]:
    connection: dict[str, Any] = {
        "conn_type": "polars_cloud",
        "login": plane.account.id,
        "password": plane.account.secret,
    }
    leading = {name: value for name, value in plane.environment.items() if name.startswith(("POLARS_", "SSL_"))}
    own = {
        "POLARS_CLOUD_CLIENT_ID": "",
        "POLARS_CLOUD_CLIENT_SECRET": "",
        "AIRFLOW_CONN_POLARS_CLOUD_DEFAULT": json.dumps(connection),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": postgres.sql_alchemy_conn,
    }
    return leading | own | {f"AIRFLOW__{key}": value for key, value in OPTIONS.items()}
