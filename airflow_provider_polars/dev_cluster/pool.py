"""The processes of the workers on this host: started, replaced when they end, stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Container
from pathlib import Path
from typing import Any

from airflow_provider_polars.dev_cluster.settings import Settings

PROGRAM = Path(__file__).parent / "worker"
WITHHELD = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "POLARS_CLOUD_", "POLARS_DEV_CLUSTER_")
YOUNG_SECONDS = 5.0
MOST_EARLY_ENDS = 5


class WorkersFailedError(Exception):
    """The workers end as soon as they have started."""


class Pool:
    """Worker processes, by name.

    :param address: where they register.
    :param token: what they register with.
    :param registered: ids of the processes that have done so.
    """

    def __init__(self, settings: Settings, address: str, token: str, registered: Container[int]) -> None:
        self._settings = settings
        self._address = address
        self._token = token
        self._registered = registered
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def start(self, roles: dict[str, str]) -> None:
        """Start one process for each name, and keep it running."""
        self._watchers = [asyncio.create_task(self._keep(name, role)) for name, role in roles.items()]

    @property
    def pids(self) -> dict[str, int]:
        """Process ids, by name."""
        return {name: process.pid for name, process in self._processes.items()}

    def kill(self, name: str) -> None:
        """End one process at once; another one takes its place."""
        if (process := self._processes.get(name)) is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def stop(self) -> None:
        """End all processes and wait for them."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await asyncio.gather(*(process.wait() for process in self._processes.values()))

    async def _keep(self, name: str, role: str) -> None:
        early_ends = 0
        while early_ends < MOST_EARLY_ENDS:
            started = time.monotonic()
            try:
                process = await self._spawn(name, role)
            except OSError as error:
                self._give_up(f"cannot start {self._settings.python}: {error.strerror}")
                return
            if await process.wait() == os.EX_CONFIG:
                self._give_up(f"{self._settings.python} cannot run workers, which need Polars and grpcio")
                return
            killed = process.returncode is not None and process.returncode == -signal.SIGKILL
            young = time.monotonic() - started < YOUNG_SECONDS and process.pid not in self._registered
            early_ends = early_ends + 1 if young and not killed else 0
        self._give_up(
            f"{name} ended {MOST_EARLY_ENDS} times just after its start, with exit code {process.returncode}; are "
            f"Polars and grpcio installed for {self._settings.python}?"
        )

    async def _spawn(self, name: str, role: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            self._settings.python,
            str(PROGRAM),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=self._environment(),
        )
        self._processes[name] = process
        job = {
            "address": self._address,
            "token": self._token,
            "name": name,
            "role": role,
            "memory_limit": self._settings.memory_limit,
            "parent": os.getpid(),
        }
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(json.dumps(job).encode() + b"\n")
            await process.stdin.drain()
        return process

    def _environment(self) -> dict[str, str]:
        """Return the variables of this process, without what is not for queries to see."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(WITHHELD)}
        return kept | {"POLARS_MAX_THREADS": str(self._settings.polars_threads)} | dict(self._settings.variables)

    def _give_up(self, reason: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(WorkersFailedError(reason))
