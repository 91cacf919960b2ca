"""A throw-away PostgreSQL server on loopback."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from tests.harness.environment import free_ports
from tests.harness.processes import ManagedProcess
from tests.harness.waiting import wait_for

START_TIMEOUT = 30.0
"""Seconds until the server must accept connections."""

STOP_TIMEOUT = 20.0
"""Seconds that a fast shutdown may take."""

SERVER_USER = "postgres"
"""Operating-system account that runs the server when the caller is root, which the server refuses."""


def postgres_binaries() -> Path | None:
    """Return the newest installed server's directory of programs, or ``None``."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def postgres_available() -> bool:
    """Say whether a server can be started here and Airflow has the drivers to use it."""
    drivers = all(importlib.util.find_spec(name) for name in ("psycopg2", "asyncpg"))
    return drivers and postgres_binaries() is not None and (os.geteuid() != 0 or shutil.which("setpriv") is not None)


class PostgresServer:
    """Context manager for one server with one empty database; its files are deleted at the end.

    Authentication is off, so the server listens on 127.0.0.1 only.  Durability is off, for speed.
    Raises :class:`RuntimeError` when no server is installed and when the server does not start.
    """

    def __init__(
        self, database: str = "airflow", user: str = "airflow", settings: Mapping[str, str] | None = None
    ) -> None:
        """Name the ``database`` to create and its superuser ``user``; ``settings`` are further ones of the server."""
        self.database = database
        self.user = user
        self._settings = dict(settings or {})
        self.port = 0
        self._directory: Path | None = None
        self._server: ManagedProcess | None = None
        self._command: list[str] = []

    @property
    def sql_alchemy_conn(self) -> str:
        """Connection address for ``[database] sql_alchemy_conn``."""
        return f"postgresql+psycopg2://{self.user}@127.0.0.1:{self.port}/{self.database}"

    def __enter__(self) -> PostgresServer:
        """Initialise the data directory, start the server and create the database."""
        binaries = postgres_binaries()
        if binaries is None:
            raise RuntimeError("no PostgreSQL server below /usr/lib/postgresql")
        self._directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        try:
            self._start(binaries, self._directory)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the server and delete its files."""
        self.stop()

    def stop(self) -> None:
        """Stop the server, if it runs, by fast shutdown, and delete its files.  May be called again."""
        self._end()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Have nothing listen on the port during the block; connections end, and the data stay."""
        binaries, directory = postgres_binaries(), self._directory
        assert binaries is not None
        assert directory is not None
        self._end()
        try:
            yield
        finally:
            self._serve(binaries, directory)

    def _end(self) -> None:
        if self._server is not None:
            self._server.signal(signal.SIGINT)
            self._server.finish(STOP_TIMEOUT)
            self._server = None

    def _start(self, binaries: Path, directory: Path) -> None:
        as_server: list[str] = []
        if os.geteuid() == 0:
            directory.chmod(0o755)
            shutil.chown(directory, SERVER_USER, SERVER_USER)
            as_server = ["setpriv", f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--clear-groups"]
        data = directory / "data"
        _check(*as_server, binaries / "initdb", "-D", data, "-A", "trust", "-U", self.user, "--no-sync", "-E", "UTF8")
        (self.port,) = free_ports(1)
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(directory),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            **self._settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._command = [*as_server, str(binaries / "postgres"), "-D", str(data), "-p", str(self.port), *options]
        address = self._serve(binaries, directory)
        _check(binaries / "createdb", *address, "-U", self.user, self.database)

    def _serve(self, binaries: Path, directory: Path) -> tuple[str, ...]:
        """Start the server, wait until it accepts connections, and return its address as its programs take it."""
        server = self._server = ManagedProcess(self._command, log_file=directory / "server.log")
        address = ("-h", "127.0.0.1", "-p", str(self.port))

        def accepting() -> bool | None:
            if server.returncode is not None:
                raise RuntimeError(f"PostgreSQL exited with {server.returncode}\n{server.log_tail()}")
            probe = subprocess.run([binaries / "pg_isready", "-q", *address], cwd="/", check=False)
            return probe.returncode == 0 or None

        wait_for(accepting, START_TIMEOUT, server.log_tail, interval=0.05)
        return address


def _check(*command: str | Path) -> None:
    result = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} exited with {result.returncode}\n{result.stdout}{result.stderr}")
