"""A child process that leads its own session, logs to a file, and is stopped by its id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.harness.waiting import wait_for

KILL_TIMEOUT = 10.0
"""Seconds that the system may take to end killed processes."""


class ManagedProcess:
    """One process group: ``command`` as its leader, standard output and error appended to ``log_file``."""

    def __init__(
        self, command: Sequence[str], *, log_file: Path, env: Mapping[str, str] | None = None, cwd: Path | str = "/"
    ) -> None:
        """Start ``command`` at once, with exactly ``env`` (default: the caller's) as its environment."""
        self.log_file = log_file
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Id of the leader, of its process group and of its session."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status of the leader; ``None`` while it runs."""
        return self._process.poll()

    def log_tail(self, lines: int = 30) -> str:
        """Return the last ``lines`` lines of the log."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def signal(self, signum: signal.Signals) -> None:
        """Send ``signum`` to the leader; nothing happens when it has exited already."""
        if self.returncode is None:
            self._process.send_signal(signum)

    def finish(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the leader, then kill what is left of its session and wait for that."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        wait_for(self._nothing_left, KILL_TIMEOUT, lambda: f"end of {session_members(self.pid)}", interval=0.02)

    def _nothing_left(self) -> bool | None:
        members = session_members(self.pid)
        for member in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        return not members or None


def session_members(session: int) -> set[int]:
    """Return the ids of the session's processes that have not ended (none on a system without ``/proc``)."""
    members = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, _, its_session = status.read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state not in "ZX":
                members.add(int(status.parent.name))
    return members
