"""``polars-dev-cluster`` as a shell runs it: what it prints, which processes it starts and what it leaves behind."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from airflow_provider_polars.testing import ControlPlane, DevCluster, isolated_environment
from tests.harness.waiting import wait_for

COMMAND = Path(sys.executable).parent / "polars-dev-cluster"
ANY_PORTS = ("--port", "0", "--observatory-port", "0")
LAST_LINE = r"^(\{.*\}|  stop .*|export no_proxy=.*)\n\Z"
SECONDS = 90.0
"""That any step may take."""


class Up:
    """``polars-dev-cluster up`` in a process, from its start on."""

    def __init__(self, shell: Shell, number: int, command: Sequence[str | Path], environment: dict[str, str]) -> None:
        self.output_file, self._log = shell.folder / f"up-{number}.out", shell.folder / f"up-{number}.err"
        with self.output_file.open("wb") as output, self._log.open("wb") as log:
            self.process = psutil.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env=shell.environment | environment,
                cwd=shell.folder,
            )
        self._environment = shell.environment
        self._is_control_plane = "--control-plane" in command
        self._seen: set[psutil.Process] = set()

    @property
    def output(self) -> str:
        """What it has written to standard output."""
        return self.output_file.read_text()

    @property
    def log(self) -> str:
        """What it has written to standard error."""
        return self._log.read_text()

    @property
    def pid(self) -> int:
        """Id of the process: the scheduler's."""
        return int(self.process.pid)

    @property
    def children(self) -> list[psutil.Process]:
        """The processes that it has started and that run."""
        children: list[psutil.Process] = self.process.children(recursive=True)
        self._seen.update(children)
        return children

    def wait_until_ready(self) -> str:
        """Return what it prints once it is ready: a table, or a line of JSON."""

        def ready() -> str | None:
            assert self.process.poll() is None, f"it ended with exit code {self.process.returncode}:\n{self.log}"
            return self.output if re.search(LAST_LINE, self.output, re.MULTILINE) else None

        output = wait_for(ready, SECONDS, lambda: f"{self.output}\n{self.log}", interval=0.02)
        assert self.children or self._is_control_plane
        return output

    @property
    def facts(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        facts: dict[str, Any] = json.loads(self.wait_until_ready())
        return facts

    @property
    def cluster(self) -> DevCluster:
        """The cluster as tests see it; with ``--json`` alone."""
        return DevCluster(self.facts, self._environment)

    @property
    def plane(self) -> ControlPlane:
        """The control plane as tests see it; with ``--json`` alone."""
        facts = self.facts
        return ControlPlane(facts, self._environment | facts["environment"])

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code; no process that was seen runs any more, or the test fails."""
        _ = self.children
        self.process.send_signal(number)
        code = int(self.process.wait(SECONDS))
        self.wait_for_the_end_of_all()
        return code

    def wait_for_the_end_of_all(self) -> None:
        """Wait until none of the processes that were seen runs any more."""
        wait_for(
            lambda: not any(map(_runs, self._seen)) or None,
            SECONDS,
            lambda: str([*filter(_runs, self._seen)]),
            interval=0.02,
        )

    def kill(self) -> None:
        """Leave nothing, whatever has happened."""
        if self.process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                _ = self.children
            self.process.kill()
            self.process.wait()
        for process in filter(_runs, self._seen):
            process.kill()


class Shell:
    """Runs the command with a home and a temporary folder of its own.

    :param folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.environment = isolated_environment(folder) | {"TMPDIR": str(self.temporary)}
        self._started = 0

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return subprocess.run(
            [COMMAND, *arguments],
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    @contextlib.contextmanager
    def up(self, *options: str, command: Sequence[str | Path] = (COMMAND,), **environment: str) -> Iterator[Up]:
        """Start a cluster; it is gone when the block ends."""
        self._started += 1
        started = Up(self, self._started, [*command, "up", *options], environment)
        try:
            yield started
        finally:
            started.kill()

    @property
    def left(self) -> list[Path]:
        """All that is in the temporary folder, but for the folder in which clusters register."""
        return [path for path in self.temporary.rglob("*") if path.name != f"polars-dev-clusters-{os.getuid()}"]


_PARTICULARS = re.compile(
    r"(?:(?<=:)|(?<=--port ))(?P<port>\d{4,5})\b"
    r"|(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"|(?<![\d.])(?P<version>\d+\.\d+\.\d+\w*)(?![\d.])"
)


def without_particulars(lines: Sequence[str]) -> list[str]:
    """Return lines in which ports, ids and versions have become numbers, equal ones the same number."""
    seen: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        return f"<{found.lastgroup} {seen.setdefault(found[0], len(seen))}>"

    return [_PARTICULARS.sub(number, line) for line in lines]


def listeners(process: psutil.Process) -> set[str]:
    """Return the addresses that a process listens on."""
    found = set()
    for connection in process.net_connections(kind="inet"):
        if connection.status == psutil.CONN_LISTEN:
            place = ipaddress.ip_address(connection.laddr.ip)
            found.add(str(getattr(place, "ipv4_mapped", None) or place))
    return found


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def ends_while_it_starts(shell: Shell, number: signal.Signals, folder: Path, *options: str) -> None:
    """Assert that a signal ends ``up`` cleanly while it waits for an interpreter that says nothing."""
    mark = folder / "started"
    silent = program(folder / "silent", f"touch {shlex.quote(str(mark))}\nexec sleep 600")
    with shell.up(*options, "--python", str(silent)) as up:
        wait_for(lambda: mark.exists() or None, SECONDS, lambda: up.log, interval=0.02)

        assert up.end(number) == 0

        assert (up.output, up.log) == ("", "")
    assert shell.left == []


def program(path: Path, script: str) -> Path:
    """Write a shell script that can be run; return its path."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
