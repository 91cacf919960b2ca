"""The same query three ways: raw Polars, through the operator's ``execute()``, and a ``@task`` with pandas."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, interleave, median, ratio
from tests.harness.environment import clean_environment, library_environment

ROWS = 6_500_000
EMPTY_PAIRS = 40


def figures() -> list[Figure]:
    """Return the ratios on a query of two seconds, the overhead on an empty one, and the size in XCom."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= clean_environment() | library_environment(Path(folder))
        os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
        from tests.harness.in_memory import InMemoryAirflow

        airflow = InMemoryAirflow()
        events = make_events(Path(folder) / "events.parquet")
        raw, operator, pandas = _sides(airflow, events, Path(folder))
        raw_seconds, operator_seconds, pandas_seconds = interleave(raw, operator, pandas)
        nothing, empty = interleave(_empty_raw(Path(folder)), _empty_operator(airflow, Path(folder)), pairs=EMPTY_PAIRS)
        overheads = [(our - their) * 1000 for our, their in zip(empty, nothing, strict=True)]
        note = f"query of {statistics.median(raw_seconds):.2f} s"
        return [
            ratio("operator execute() / raw Polars", operator_seconds, raw_seconds, target=1.05, note=note),
            ratio("@task with pandas / operator execute()", pandas_seconds, operator_seconds, note=note),
            median("overhead of the operator on an empty query", overheads, unit="ms"),
            *_xcom_sizes(airflow),
        ]


def make_events(path: Path) -> str:
    """Write the table that the queries read; return its path."""
    import polars as pl

    number = pl.int_range(ROWS)
    pl.select(
        customer=(number * 7919) % 500_000,
        day=(number * 104_729) % 365,
        amount=((number * 31) % 10_007) / 7,
    ).write_parquet(path, row_group_size=500_000)
    return str(path)


def build_query(events: str) -> Any:
    """Return the query of two seconds."""
    import polars as pl

    orders = pl.scan_parquet(events)
    best = orders.group_by("customer").agg(spent=pl.col("amount").sum(), orders=pl.len())
    return (
        orders.join(best, on="customer")
        .group_by("customer", "day")
        .agg(share=(pl.col("amount") / pl.col("spent")).sum())
        .sort("share", "customer", "day", descending=[True, False, False])
    )


def _pandas_query(events: str, out: str) -> int:
    import pandas as pd

    orders = pd.read_parquet(events)
    best = orders.groupby("customer", as_index=False).agg(spent=("amount", "sum"), orders=("amount", "size"))
    joined = orders.merge(best, on="customer")
    joined["share"] = joined["amount"] / joined["spent"]
    shares = joined.groupby(["customer", "day"], as_index=False)["share"].sum()
    shares.sort_values(["share", "customer", "day"], ascending=[False, True, True]).to_parquet(out)
    return len(shares)


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """Return what measures the seconds of ``work``."""

    def measure() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return measure


def task_seconds(airflow: Any, make_task: Callable[[], Any]) -> Callable[[], float]:
    """Return what measures ``execute()`` alone, without the work of Airflow around it."""

    def measure() -> float:
        task = make_task()
        clock: list[float] = []
        task._pre_execute_hook = lambda context: clock.append(time.perf_counter())
        task._post_execute_hook = lambda context, result: clock.append(time.perf_counter())
        outcome = airflow.run_task(task)
        assert outcome.state == "success", outcome.error
        started, ended = clock
        return ended - started

    return measure


def _sides(airflow: Any, events: str, folder: Path) -> tuple[Callable[[], float], ...]:
    from airflow.sdk import task as airflow_task

    from airflow_provider_polars import ParquetSink, PolarsRemoteOperator

    def operator() -> Any:
        sink = ParquetSink(f"{folder}/operator.parquet")
        return PolarsRemoteOperator(task_id="ours", query=build_query, query_kwargs={"events": events}, sink=sink)

    def pandas() -> Any:
        return airflow_task(_pandas_query)(events, f"{folder}/pandas.parquet").operator  # type: ignore[attr-defined]

    return (
        timed(lambda: build_query(events).sink_parquet(folder / "raw.parquet")),
        task_seconds(airflow, operator),
        task_seconds(airflow, pandas),
    )


def _nothing() -> Any:
    import polars as pl

    return pl.LazyFrame({"a": []})


def _empty_raw(folder: Path) -> Callable[[], float]:
    return timed(lambda: _nothing().sink_parquet(folder / "nothing.parquet"))


def _empty_operator(airflow: Any, folder: Path) -> Callable[[], float]:
    from airflow_provider_polars import ParquetSink, PolarsRemoteOperator

    sink = ParquetSink(f"{folder}/empty.parquet")
    return task_seconds(airflow, lambda: PolarsRemoteOperator(task_id="empty", query=_nothing, sink=sink))


def _numbers(rows: int) -> Any:
    import polars as pl

    return pl.select(number=pl.int_range(rows)).lazy()


def _xcom_sizes(airflow: Any) -> list[Figure]:
    from airflow_provider_polars import PolarsRemoteOperator

    sizes = []
    for rows in (10, 10_000_000):
        task = PolarsRemoteOperator(task_id="size", query=_numbers, query_kwargs={"rows": rows})
        sizes.append(float(len(json.dumps(airflow.run_task(task).result).encode())))
    small, large = sizes
    return [
        Figure("bytes in XCom for 10 rows", small, small, small, "B", 4096),
        Figure("bytes in XCom for 10,000,000 rows", large, large, large, "B", small + 32),
    ]
