"""Which clusters this user runs on this host: one small file each, by port."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Entry:
    """A cluster that runs, or a control plane."""

    pid: int
    born: int
    """Start of the process in clock ticks since boot, which tells it from a later one of the same id."""

    uri: str
    observatory: str
    port: int
    workers: int
    polars: str
    authority: str | None = None
    """File with the certificate to trust, with TLS."""

    token_port: int | None = None
    """Of the token endpoint; None for what is no control plane."""

    @property
    def ports(self) -> set[int]:
        """The ports that it listens on."""
        more = set() if self.token_port is None else {self.token_port}
        return {self.port, int(self.observatory.rpartition(":")[2])} | more

    def __str__(self) -> str:
        """Return what ``status`` says of it."""
        if self.token_port is None:
            return f"{self.uri}  observatory {self.observatory}  {self.workers} workers  pid {self.pid}"
        return f"{self.uri}  control plane  /_dev {self.observatory}  pid {self.pid}"

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return started_at(self.pid) == self.born

    def stop(self) -> bool:
        """Ask the process to end, and wait; return whether it has."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.alive


def folder() -> Path:
    """Return the folder of the files, which is this user's alone.

    :raises PermissionError: if somebody else owns it.
    """
    place = Path(tempfile.gettempdir()) / f"polars-dev-clusters-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    if place.is_symlink() or place.stat().st_uid != os.getuid():
        raise PermissionError(f"{place} belongs to another user")
    return place


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """Give this process a folder until the block ends, and remove what processes that were killed have left."""
    entries()
    for left in folder().glob("*.files"):
        pid, born, _ = left.stem.split("-")
        if str(started_at(int(pid))) != born:
            shutil.rmtree(left, ignore_errors=True)
    own = Path(tempfile.mkdtemp(".files", f"{os.getpid()}-{started_at(os.getpid())}-", folder()))
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


@contextlib.contextmanager
def registered(entry: Entry) -> Iterator[None]:
    """Keep the file of a cluster while the block runs."""
    file = folder() / f"{entry.port}.json"
    file.write_text(json.dumps(asdict(entry)))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def entries() -> list[Entry]:
    """Return the clusters that run, by port; files of others are removed."""
    found = []
    for file in folder().glob("*.json"):
        try:
            entry = Entry(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            continue
        if entry.alive:
            found.append(entry)
        else:
            file.unlink(missing_ok=True)
    return sorted(found, key=lambda entry: entry.port)


def occupant(port: int) -> str:
    """Say what listens on a port that is in use, and what to do."""
    for entry in entries():
        if port in entry.ports:
            what = "cluster" if entry.token_port is None else "control plane"
            return f"a development {what} is up there already, pid {entry.pid}"
    return "choose another port or host"


def started_at(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since boot; None if it is gone or only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])
