"""An S3 server on loopback (moto), and what a client must say to reach it and nothing else."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.harness.environment import clean_environment, free_ports
from tests.harness.processes import ManagedProcess
from tests.harness.waiting import wait_for


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run a server until the block ends; return its address.

    :param folder: for its log.
    """
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    server = ManagedProcess(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", url.rpartition(":")[2]],
        log_file=folder / "server.log",
        env=clean_environment(),
    )

    def answers() -> bool | None:
        assert server.returncode is None, server.log_tail()
        try:
            return httpx.get(f"{url}/moto-api/data.json", trust_env=False).is_success or None
        except httpx.TransportError:
            return None

    try:
        wait_for(answers, 30, server.log_tail)
        yield url
    finally:
        server.finish(0)
