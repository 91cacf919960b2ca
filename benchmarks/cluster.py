"""A query on a cluster through the operator, against the raw client in an ``@task`` on the same development cluster."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from benchmarks.figures import Figure, interleave, median, ratio
from benchmarks.queries import build_query, make_events, task_seconds
from tests.harness.environment import clean_environment, library_environment

EMPTY_PAIRS = 100


def figures() -> list[Figure]:
    """Return the overhead of the operator on an empty query, and the ratio on one of two seconds."""
    with tempfile.TemporaryDirectory() as folder, start_dev_cluster("--workers", "1") as cluster:
        os.environ |= clean_environment() | library_environment(Path(folder)) | cluster.environment
        os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
        from tests.harness.in_memory import InMemoryAirflow

        airflow = InMemoryAirflow()
        events = make_events(Path(folder) / "events.parquet")
        raw, operator = _sides(airflow, cluster, _empty, {}, f"{folder}/empty")
        raw_seconds, operator_seconds = interleave(raw, operator, pairs=EMPTY_PAIRS)
        overheads = [(our - their) * 1000 for our, their in zip(operator_seconds, raw_seconds, strict=True)]
        long_raw, long_operator = _sides(airflow, cluster, build_query, {"events": events}, f"{folder}/long")
        long_raw_seconds, long_operator_seconds = interleave(long_raw, long_operator)
        note = f"query of {statistics.median(long_raw_seconds):.2f} s"
        return [
            median("cluster: overhead of the operator on an empty query", overheads, unit="ms", target=10.0),
            ratio("cluster: operator / raw client", long_operator_seconds, long_raw_seconds, target=1.05, note=note),
        ]


def _empty() -> Any:
    import polars as pl

    return pl.LazyFrame({"a": [1]})


def _sides(
    airflow: Any, cluster: DevCluster, query: Callable[..., Any], kwargs: dict[str, Any], place: str
) -> tuple[Callable[[], float], Callable[[], float]]:
    """Return the raw client, with a context of its own as each task has one, and the operator."""
    from airflow.sdk import task as airflow_task

    from airflow_provider_polars import ClusterCompute, ParquetSink, PolarsRemoteOperator

    compute = ClusterCompute(uri=cluster.uri, observatory=cluster.observatory, scaling="single-node")

    def by_hand() -> int:
        remote = query(**kwargs).remote(cluster.context()).single_node()
        return int(remote.sink_parquet(f"{place}-raw.parquet").await_result().n_rows_total)

    def raw() -> Any:
        return airflow_task(by_hand)().operator  # type: ignore[attr-defined]

    def operator() -> Any:
        sink = ParquetSink(f"{place}-ours.parquet")
        return PolarsRemoteOperator(task_id="ours", query=query, query_kwargs=kwargs, sink=sink, compute=compute)

    return task_seconds(airflow, raw), task_seconds(airflow, operator)
