"""Airflow's four processes on loopback, for the length of a test run."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal

import httpx

from tests.harness.environment import clean_environment, stack_environment
from tests.harness.postgres import PostgresServer
from tests.harness.processes import ManagedProcess
from tests.harness.rest import AirflowRest
from tests.harness.waiting import wait_for

ProcessName = Literal["api-server", "scheduler", "dag-processor", "triggerer"]

PROCESSES: tuple[ProcessName, ...] = ("api-server", "scheduler", "dag-processor", "triggerer")
USERS = {"admin": "admin", "viewer": "viewer"}

START_TIMEOUT = 240.0
"""Seconds until all processes must be healthy."""

STOP_TIMEOUT = 8.0
"""Seconds from SIGTERM until what still runs is killed.

A triggerer whose child ended at an unlucky moment waits ten seconds for nothing, which killing it cuts short.
"""


class StackError(RuntimeError):
    """Airflow did not start; the text holds the ends of the logs and the directory where they are kept."""


class AirflowStack:
    """Context manager for real Airflow processes with a home directory, a database and ports of their own.

    On entry it migrates the database, starts the processes and waits until all are healthy; on exit it ends
    them.  The home directory is deleted at the end, except when the block (or the start) raised or
    :attr:`keep_home` is true.
    """

    def __init__(
        self,
        dags_folder: Path | Sequence[Path],
        *,
        env: Mapping[str, str] | None = None,
        database: Literal["sqlite", "postgresql"] = "sqlite",
        processes: Sequence[ProcessName] = PROCESSES,
    ) -> None:
        """Take one or several folders of DAG files, read where they are.

        ``env`` adds to, or replaces, variables of the processes.  ``processes`` may leave some out, but never
        ``api-server``, which answers for the health of the others (:class:`ValueError`).
        """
        self.dags_folders = [dags_folder] if isinstance(dags_folder, Path) else list(dags_folder)
        if not self.dags_folders:
            raise ValueError("at least one folder of DAG files is needed")
        if "api-server" not in processes:
            raise ValueError("'api-server' is needed in processes")
        self.database = database
        self.process_names = tuple(processes)
        self.env: dict[str, str] = {}
        self.keep_home = False
        self.processes: dict[ProcessName, ManagedProcess] = {}
        self._extra_env = dict(env or {})
        self._home: Path | None = None
        self._postgres = ExitStack()
        self._rest: AirflowRest | None = None

    @property
    def home(self) -> Path:
        """The AIRFLOW_HOME directory."""
        if self._home is None:
            raise RuntimeError("the stack has not been started")
        return self._home

    @property
    def base_url(self) -> str:
        """Address of the API server, without a slash at the end."""
        return self.env["AIRFLOW__API__BASE_URL"]

    @property
    def rest(self) -> AirflowRest:
        """Client of the API server, signed in as administrator."""
        if self._rest is None:
            self._rest = AirflowRest(self.base_url, diagnose=self.log_tails)
        return self._rest

    def __enter__(self) -> AirflowStack:
        """Start everything; raise :class:`StackError` when that fails."""
        self._home = Path(tempfile.mkdtemp(prefix="airflow-stack-"))
        self._home.chmod(0o755)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop everything; delete the home directory unless there is something to look up in it."""
        self.stop()
        if exc_type is None and not self.keep_home:
            shutil.rmtree(self.home, ignore_errors=True)

    def start_process(self, name: ProcessName) -> None:
        """Start the named process without waiting for it."""
        self.processes[name] = ManagedProcess(
            [_airflow(), name], log_file=self.home / "logs" / f"{name}.log", env=self.env, cwd=self.home
        )

    def stop_process(
        self, name: ProcessName, signum: signal.Signals = signal.SIGTERM, timeout: float = STOP_TIMEOUT
    ) -> None:
        """Send ``signum`` to the named process and wait until it and its children are gone.

        They are killed after ``timeout`` seconds.  A process killed rather than asked still counts as healthy
        until its last heartbeat is old.
        """
        process = self.processes.pop(name)
        process.signal(signum)
        process.finish(timeout)

    def wait_until_healthy(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until every process started is healthy; raise :class:`StackError` when one died or time is up."""
        expected = {name.replace("-", "_") for name in self.processes if name != "api-server"}
        waiting_for = {"api_server"}

        def healthy() -> bool | None:
            nonlocal waiting_for
            for name, process in self.processes.items():
                if process.returncode is not None:
                    raise self._error(f"{name} exited with {process.returncode}")
            try:
                health = httpx.get(f"{self.base_url}/api/v2/monitor/health", trust_env=False, timeout=5).json()
            except (httpx.TransportError, ValueError):
                return None
            waiting_for = {name for name in expected if (health.get(name) or {}).get("status") != "healthy"}
            return not waiting_for or None

        try:
            wait_for(healthy, timeout, lambda: f"{sorted(waiting_for)} healthy")
        except TimeoutError as error:
            raise self._error(str(error)) from None

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``airflow`` with ``arguments`` in the stack's environment and return its output and exit status."""
        return subprocess.run(
            [_airflow(), *arguments], env=self.env, cwd=self.home, capture_output=True, text=True, check=False
        )

    def log_tails(self, lines: int = 30) -> str:
        """Return the last ``lines`` lines of each process's log, under headings."""
        return "\n".join(f"--- {name}\n{process.log_tail(lines)}" for name, process in self.processes.items())

    def stop(self) -> None:
        """End all processes, their children and the database server.  May be called again."""
        if self._rest is not None:
            self._rest.close()
            self._rest = None
        for process in self.processes.values():
            process.signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        while self.processes:
            self.processes.popitem()[1].finish(max(0.0, deadline - time.monotonic()))
        self._postgres.close()

    def _start(self) -> None:
        (self.home / "logs").mkdir()
        if self.database == "postgresql":
            sql_alchemy_conn = self._postgres.enter_context(PostgresServer()).sql_alchemy_conn
        else:
            sql_alchemy_conn = f"sqlite:///{self.home / 'airflow.db'}"
        airflow = stack_environment(self.home, self.dags_folders, sql_alchemy_conn, USERS)
        self.env = clean_environment() | airflow | self._extra_env
        migration = self.cli("db", "migrate")
        if migration.returncode != 0:
            raise self._error(f"db migrate exited with {migration.returncode}\n{migration.stdout}{migration.stderr}")
        for name in self.process_names:
            self.start_process(name)
        self.wait_until_healthy()

    def _error(self, message: str) -> StackError:
        return StackError(f"{message}\n{self.log_tails()}\nlogs are kept in {self.home}")


def _airflow() -> str:
    return str(Path(sys.executable).parent / "airflow")
