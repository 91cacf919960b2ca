"""What awaiting thousands of queries costs one process: our watch, beside ``await_result_async`` of the real client.

The queries are in the queue of a development cluster whose one worker is held, and end when they are cancelled. The
client gets a thread for each query, which is the best that it can do; 5,000 of those are more than two cores bear.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil  # type: ignore[import-untyped]

from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.clients.async_compute_plane import POLL_SECONDS
from airflow_provider_polars.clients.compute_plane import ComputePlane
from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from benchmarks.figures import PAIRS, Figure, median, ratio
from benchmarks.watchers import CLIENT, OURS, Watcher, bare_process_bytes

MANY, MORE = 1000, 5000
THROUGH = 10_000
ENDING = 200
END_SECONDS = 0.01
"""Between two ends."""

SEEN_SECONDS = 60.0
WINDOW_SECONDS = 6.0
_KIB = 1024
_MIB = 2**20


class Queue:
    """Queries of a cluster that wait until they are cancelled."""

    def __init__(self, cluster: DevCluster) -> None:
        import polars as pl

        self.cluster = cluster
        self._context = cluster.context()
        self._frame = pl.LazyFrame({"a": [1]})
        self._plane = ComputePlane(
            ClusterAccess(uri=cluster.uri), client_version="0.12.0", polars_version=pl.__version__
        )
        self._scheduler = psutil.Process(cluster.pid)
        held = self._frame.select(pl.col("a").map_batches(_hold, return_dtype=pl.Int64))
        held.remote(self._context).single_node().execute(blocking=False)

    def submit(self, number: int) -> list[str]:
        """Return the ids of so many more."""
        with ThreadPoolExecutor(8) as threads:
            return list(threads.map(lambda _: self._submit(), range(number)))

    def end(self, query_ids: Sequence[str], seconds: float = END_SECONDS) -> dict[str, float]:
        """End queries one after the other; return when each was told to, in epoch seconds."""
        told = {}
        for query_id in query_ids:
            told[query_id] = time.time()
            self._plane.cancel(query_id)
            time.sleep(seconds)
        return told

    def settle(self) -> None:
        """Return when the scheduler has nothing to do: all that ask it wait."""
        for _ in itertools.takewhile(lambda quiet: quiet < 3, quiet_looks(self._scheduler)):
            pass

    def _submit(self) -> str:
        return str(self._frame.remote(self._context).single_node().execute(blocking=False)._query_id)


def figures() -> list[Figure]:
    """Return memory, threads, time of a core and delay per awaited query, and memory after many of them."""
    with start_dev_cluster("--workers", "1") as cluster:
        queue = Queue(cluster)
        standing = queue.submit(MORE)
        return [
            *_beside_client(queue, standing[:MANY]),
            *_of_watch(standing, [_round(queue, OURS, standing) for _ in range(PAIRS)]),
            *_idle(queue, standing[:MANY]),
            _through(queue),
        ]


Round = tuple[float, int, float]


def _beside_client(queue: Queue, standing: Sequence[str]) -> list[Figure]:
    """Start a process of each side by turns."""
    ours: list[Round] = []
    client: list[Round] = []
    for turn in range(PAIRS):
        sides = [(OURS, ours), (CLIENT, client)]
        for side, rounds in sides[:: 1 if turn % 2 else -1]:
            rounds.append(_round(queue, side, standing))
    memory, threads, delays = zip(*client, strict=True)
    name, note = _name(standing), f"{statistics.median(threads):.0f} threads"
    return [
        *_of_watch(standing, ours),
        median(f"{name}, memory for each, client", memory, unit="KiB", note=note),
        ratio(f"{name}, memory, ours / client", [memory for memory, _, _ in ours], memory),
        median(f"{name}, end to event, p99, client", delays, unit="ms"),
    ]


def _of_watch(standing: Sequence[str], rounds: Sequence[Round]) -> list[Figure]:
    memory, threads, delays = zip(*rounds, strict=True)
    name = _name(standing)
    return [
        median(f"{name}, memory for each", memory, unit="KiB", target=25.0),
        Figure(f"{name}, threads more than for one", max(threads), min(threads), max(threads), unit="", target=1),
        median(f"{name}, end to event, p99", delays, unit="ms", target=1000.0),
    ]


def _name(query_ids: Sequence[str]) -> str:
    return f"watching: {len(query_ids):,} queries"


def _round(queue: Queue, side: str, standing: Sequence[str]) -> tuple[float, int, float]:
    """Return the KiB of memory for each query, how many threads there are for them, and the p99 of the delay in ms."""
    first, *ending = queue.submit(ENDING + 1)
    with _watcher(queue, side, [first]) as watcher:
        memory, threads = watcher.resident_bytes, watcher.threads
        watcher.watch([*standing, *ending])
        queue.settle()
        grown = (watcher.resident_bytes - memory) / (len(standing) + ENDING) / _KIB
        more = watcher.threads - threads
        told = queue.end([*ending, first])
        seen = _seen(watcher, told)
    delays = [(at - told[query_id]) * 1000 for query_id, at in seen.items() if at is not None and query_id in told]
    return grown, more, statistics.quantiles(delays, n=100)[98]


def _idle(queue: Queue, standing: Sequence[str]) -> list[Figure]:
    """Let both sides wait at the same time, for they use a core little or differently, and count what they use."""
    with _watcher(queue, OURS, standing) as ours, _watcher(queue, CLIENT, standing) as client:
        time.sleep(POLL_SECONDS)  # after which long polls are renewed by and by, not all at once
        used: list[tuple[float, float]] = []
        before = ours.cpu_seconds, client.cpu_seconds
        for _ in range(PAIRS):
            time.sleep(WINDOW_SECONDS)
            after = ours.cpu_seconds, client.cpu_seconds
            used.append(tuple((late - early) / WINDOW_SECONDS * 100 for early, late in zip(before, after, strict=True)))  # type: ignore[arg-type]
            before = after
        whole = (ours.resident_bytes - bare_process_bytes()) / _MIB
    name = _name(standing)
    our_used, client_used = zip(*used, strict=True)
    mean = statistics.fmean(our_used)
    return [
        median(f"{name}, % of a core while none ends", our_used, unit="%", target=2.0, note=f"mean {mean:.2f} %"),
        median(f"{name}, % of a core while none ends, client", client_used, unit="%"),
        Figure(f"{name}, all memory beyond a bare Python", whole, whole, whole, unit="MiB"),
    ]


def _through(queue: Queue) -> Figure:
    """Let one process see ten thousand queries end, a thousand awaited at a time."""
    batch = THROUGH // 10
    resident = []
    with _watcher(queue, OURS, queue.submit(1)) as watcher:
        for _ in range(THROUGH // batch):
            query_ids = queue.submit(batch)
            watcher.watch(query_ids)
            queue.settle()
            _seen(watcher, queue.end(query_ids, 0.0))
            resident.append(watcher.resident_bytes)
    grown = (resident[-1] - resident[0]) / _MIB
    name = f"watching: growth from {batch:,} to {THROUGH:,} queries"
    return Figure(name, grown, grown, grown, unit="MiB", target=5.0)


def _seen(watcher: Watcher, query_ids: Collection[str]) -> dict[str, float | None]:
    """Return when each query was seen to end, once that is so of all; None where awaiting it has failed."""
    seen: dict[str, float | None] = {}
    deadline = time.monotonic() + SEEN_SECONDS
    while not seen.keys() >= set(query_ids):
        assert time.monotonic() < deadline, f"{len(set(query_ids) - seen.keys())} ends were not seen"
        time.sleep(0.5)
        seen |= watcher.ends()
    return seen


@contextlib.contextmanager
def _watcher(queue: Queue, side: str, query_ids: Sequence[str]) -> Iterator[Watcher]:
    with Watcher(side, queue.cluster.uri, queue.cluster.environment) as watcher:
        watcher.watch(query_ids)
        queue.settle()
        yield watcher


def quiet_looks(process: Any) -> Iterator[int]:
    """Look at a process again and again; yield for how many looks it has done hardly anything."""
    quiet = 0
    while True:
        quiet = quiet + 1 if process.cpu_percent(0.2) < 15 else 0
        yield quiet


def _hold(column: Any) -> Any:
    while True:
        time.sleep(1)


if __name__ == "__main__":
    for figure in figures():
        print(figure, flush=True)
