"""The development cluster through the real client: start, empty queries, and a query of two seconds."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_polars.testing import start_dev_cluster
from benchmarks.figures import Figure, interleave, median, ratio
from benchmarks.queries import build_query, make_events, timed

EMPTY_QUERIES = 1000
STARTS = 15


def figures() -> list[Figure]:
    """Return the start-up time, the round trip of an empty query, and the ratio to local Polars."""
    starts = [_start() for _ in range(STARTS)]
    with tempfile.TemporaryDirectory() as folder, start_dev_cluster("--workers", "1") as cluster:
        context = cluster.context()
        trips = [_round_trip(context) for _ in range(EMPTY_QUERIES + 50)][50:]
        hundredths = [statistics.quantiles(trips[part::10], n=100) for part in range(10)]
        local, remote = _sides(context, Path(folder))
        local_seconds, remote_seconds = interleave(local, remote)
        note = f"query of {statistics.median(local_seconds):.2f} s"
        return [
            median("development cluster: ready after", starts, unit="s", target=2.0),
            median("development cluster: empty query, p50", trips, unit="ms"),
            median("development cluster: empty query, p99", [part[98] for part in hundredths], unit="ms"),
            ratio("development cluster / local Polars", remote_seconds, local_seconds, target=1.10, note=note),
        ]


def _start() -> float:
    started = time.perf_counter()
    with start_dev_cluster():
        return time.perf_counter() - started


def _round_trip(context: Any) -> float:
    """Return the milliseconds from submission to SUCCESS."""
    import polars as pl

    query = pl.LazyFrame({"a": [1]}).remote(context).single_node()
    started = time.perf_counter()
    query.execute(blocking=False).await_result()
    return (time.perf_counter() - started) * 1000


def _sides(context: Any, folder: Path) -> tuple[Callable[[], float], Callable[[], float]]:
    events = make_events(folder / "events.parquet")

    def local() -> None:
        build_query(events).sink_parquet(folder / "local.parquet", engine="streaming")

    def remote() -> None:
        build_query(events).remote(context).single_node().sink_parquet(str(folder / "remote.parquet")).await_result()

    return timed(local), timed(remote)
