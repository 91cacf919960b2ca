"""A process that awaits queries of one cluster: with our watch, or with ``await_result_async`` of the real client.

It reads lines of JSON with the ids of queries to await, and answers each when it has begun to. An empty list is asked
for the ends that it has seen since: pairs of an id and the time, or None if awaiting it has failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import psutil  # type: ignore[import-untyped]

OURS, CLIENT = "ours", "client"
_LINE_BYTES = 2**24
_THREADS = 20_000
_BATCH, _BATCH_SECONDS = 50, 0.03
"""Queries that the process begins to await at a time: more at once make the client give up some."""

Wait = Callable[[str], Awaitable[object]]


class Watcher:
    """Such a process, as a benchmark sees it."""

    def __init__(self, side: str, uri: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, side, uri],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._seen = psutil.Process(self._process.pid)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def watch(self, query_ids: Sequence[str]) -> None:
        """Let it await queries; return when it has begun to."""
        self._ask(list(query_ids))

    def ends(self) -> dict[str, float | None]:
        """Return when it has seen queries end since it was last asked, in epoch seconds; None where it gave up."""
        return dict(self._ask([]))

    @property
    def resident_bytes(self) -> int:
        """Its memory."""
        return int(self._seen.memory_info().rss)

    @property
    def threads(self) -> int:
        """Its threads."""
        return int(self._seen.num_threads())

    @property
    def cpu_seconds(self) -> float:
        """The time of a core that it has used."""
        times = self._seen.cpu_times()
        return float(times.user + times.system)

    def _ask(self, query_ids: list[str]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(query_ids), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


def bare_process_bytes() -> int:
    """Return the memory of an interpreter that does nothing."""
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        time.sleep(0.5)
        used = int(psutil.Process(process.pid).memory_info().rss)
        process.communicate("\n")
    return used


def _ours(uri: str) -> Wait:
    from airflow_provider_polars.backends.base import Run
    from airflow_provider_polars.backends.cluster import ClusterBackend
    from airflow_provider_polars.backends.query_watch import QueryWatch
    from airflow_provider_polars.clients.access import ClusterAccess
    from airflow_provider_polars.compute.cluster import ClusterCompute

    compute = ClusterCompute(uri=uri)
    watch = QueryWatch(lambda: ClusterBackend(compute, ClusterAccess(uri=uri)))
    return lambda query_id: watch.ended(Run(output="", compute={}, query_id=query_id, submitted_at=0.0))


def _client(uri: str) -> Wait:
    """Return what awaits with the client, given a thread for each query: by default it has six, and more queries wait
    unwatched.
    """
    import polars_cloud as pc

    context = pc.ClusterContext(uri=uri)
    direct: Any = context._get_direct_client()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    return lambda query_id: pc.DirectQuery(uuid.UUID(query_id), direct, context).await_result_async()


async def _main(side: str, uri: str) -> None:
    wait = {OURS: _ours, CLIENT: _client}[side](uri)
    ended: list[tuple[str, float | None]] = []
    tasks = set()

    async def see(query_id: str) -> None:
        try:
            await wait(query_id)
            ended.append((query_id, time.time()))
        except Exception:
            ended.append((query_id, None))

    reader = asyncio.StreamReader(_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        for number, query_id in enumerate(asked := json.loads(line)):
            task = asyncio.create_task(see(query_id))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            if number % _BATCH == 0:
                await asyncio.sleep(_BATCH_SECONDS)
        print(json.dumps([] if asked else ended), flush=True)
        if not asked:
            ended.clear()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
    os._exit(0)
