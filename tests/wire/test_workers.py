"""Workers and the planner that end in the middle of their work: no query hangs, and another process takes over."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from polars.exceptions import ComputeError
from polars.io.plugins import register_io_source
from polars_cloud import QueryStatus

from airflow_provider_polars.testing import DevCluster
from tests.harness.waiting import wait_for
from tests.wire.gates import Gate

pytestmark = pytest.mark.own_cluster

FRAME = pl.LazyFrame({"a": [1, 2, 3]})
SECONDS = 30.0
StartCluster = Callable[..., DevCluster]


def pids(cluster: DevCluster) -> dict[str, int]:
    return {worker["name"]: worker["pid"] for worker in cluster.workers}


def kill_worker_of(cluster: DevCluster, query_id: str) -> None:
    (pid,) = [worker["pid"] for worker in cluster.workers if worker["query_id"] == query_id]
    os.kill(pid, signal.SIGKILL)


def wait_until_replaced(cluster: DevCluster, before: dict[str, int], *names: str) -> None:
    """Return when other processes have these names, and all names of before are there."""

    def replaced() -> bool | None:
        now = pids(cluster)
        return (now.keys() == before.keys() and all(now[name] != before[name] for name in names)) or None

    wait_for(replaced, SECONDS, lambda: f"{before} became {pids(cluster)}", interval=0.02)


@pytest.fixture
def one_worker(start_cluster: StartCluster) -> DevCluster:
    return start_cluster("--workers", "1")


def test_queries_whose_workers_are_killed_fail_with_the_reason_and_all_others_succeed(
    start_cluster: StartCluster, tmp_path: Path
) -> None:
    cluster = start_cluster("--workers", "3")
    context, before = cluster.context(), pids(cluster)
    enough, kills = tmp_path / "enough", 8

    def slow(column: pl.Series) -> pl.Series:
        time.sleep(0.06)
        while column[0] >= 50 - 2 * kills and not enough.exists():  # some run until the last kill, however late it is
            time.sleep(0.01)
        return column

    queries = []
    for number in range(50):
        frame = pl.LazyFrame({"a": [number]}).select(pl.col("a").map_batches(slow, return_dtype=pl.Int64))
        queries.append(frame.remote(context).single_node().sink_parquet(tmp_path / f"{number}.parquet"))
    killed = 0
    while any(facts["ended"] is None for facts in cluster.queries):
        busy = [worker["pid"] for worker in cluster.workers if worker["query_id"]]
        if busy and killed < kills:
            with contextlib.suppress(ProcessLookupError):
                os.kill(busy[killed % len(busy)], signal.SIGKILL)
                killed += 1
        elif killed == kills:
            enough.touch()
        time.sleep(0.1)

    failed = 0
    for number, query in enumerate(queries):
        result = query.await_result(raise_on_failure=False)
        if result.status is QueryStatus.FAILED:
            failed += 1
            with pytest.raises(ComputeError, match=r"worker-\d ended while it ran the query"):
                query.await_result()
        else:
            assert result.status is QueryStatus.SUCCESS
            assert pl.read_parquet(tmp_path / f"{number}.parquet")["a"].to_list() == [number]
    assert 0 < failed <= killed == kills
    wait_until_replaced(cluster, before)


def run_file(frame: pl.LazyFrame, context: Any, folder: Path) -> list[str]:
    query = frame.remote(context, n_retries=1).single_node().sink_parquet(folder / "out.parquet")
    assert query.await_result().location == [str(folder / "out.parquet")]
    return pl.read_parquet(folder / "out.parquet")["name"].to_list()


def run_partitions(frame: pl.LazyFrame, context: Any, folder: Path) -> list[str]:
    remote = frame.with_columns(key=pl.lit(1)).remote(context, n_retries=1).single_node()
    files = remote.sink_parquet(pl.PartitionBy(folder / "out", key="key")).await_result().location
    return pl.read_parquet(files)["name"].to_list()


def run_execute(frame: pl.LazyFrame, context: Any, folder: Path) -> list[str]:
    result = frame.remote(context, n_retries=1).single_node().execute()
    return result.lazy().collect()["name"].to_list()


def run_collect(frame: pl.LazyFrame, context: Any, folder: Path) -> list[str]:
    return frame.remote(context, n_retries=1).single_node().collect()["name"].to_list()


@pytest.mark.parametrize("run", [run_file, run_partitions, run_execute, run_collect])
def test_a_query_with_retries_runs_again(one_worker: DevCluster, gate: Gate, run: Any, tmp_path: Path) -> None:
    before = pids(one_worker)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(run, gate.frame("again"), one_worker.context(), tmp_path)
        gate.wait_until_started("again")

        os.kill(before["worker-1"], signal.SIGKILL)
        gate.wait_until_started("again", times=2)
        gate.open()

        assert answer.result(SECONDS) == ["again"]
    assert [facts["attempts"] for facts in one_worker.queries] == [2]


def test_retries_are_counted(one_worker: DevCluster, gate: Gate) -> None:
    query = gate.frame("once").remote(one_worker.context(), n_retries=1).single_node().execute(blocking=False)
    for time_ in (1, 2):
        gate.wait_until_started("once", times=time_)
        kill_worker_of(one_worker, str(query._query_id))

    with pytest.raises(ComputeError, match="worker-1 ended while it ran the query"):
        query.await_result()
    assert gate.starts("once") == 2


def test_workers_that_a_query_only_reserves_may_end(start_cluster: StartCluster, gate: Gate) -> None:
    cluster = start_cluster("--workers", "2")
    before = pids(cluster)
    query = gate.frame("distributed").remote(cluster.context(), n_retries=1).distributed().execute(blocking=False)
    gate.wait_until_started("distributed")
    _, stands_by = cluster.queries[0]["workers"]

    os.kill(before[stands_by], signal.SIGKILL)
    wait_until_replaced(cluster, before, stands_by)
    assert query.get_status() is QueryStatus.INPROGRESS
    gate.open()

    assert query.await_result().status is QueryStatus.SUCCESS
    assert gate.starts("distributed") == 1


def test_a_worker_that_is_killed_while_idle_is_replaced(one_worker: DevCluster) -> None:
    context, before, replaced = one_worker.context(), pids(one_worker), 3
    files = psutil.Process(one_worker.pid).num_fds()

    for _ in range(replaced):
        killed = pids(one_worker)
        os.kill(killed["worker-1"], signal.SIGKILL)
        wait_until_replaced(one_worker, killed, "worker-1")
        assert FRAME.remote(context).single_node().execute().status is QueryStatus.SUCCESS

    assert pids(one_worker)["planner"] == before["planner"]
    scheduler = psutil.Process(one_worker.pid)
    wait_for(lambda: scheduler.num_fds() < files + replaced or None, SECONDS, lambda: str(scheduler.open_files()))
    assert {child.pid for child in scheduler.children()} == set(pids(one_worker).values())


def test_a_function_that_ends_its_process_again_and_again_does_not_end_the_cluster(one_worker: DevCluster) -> None:
    context = one_worker.context()
    frame = FRAME.select(pl.col("a").map_batches(lambda column: os._exit(3), return_dtype=pl.Int64))

    query = frame.remote(context, n_retries=7).single_node().execute(blocking=False)

    with pytest.raises(ComputeError, match="worker-1 ended while it ran the query"):
        query.await_result()
    assert one_worker.queries[0]["attempts"] == 8
    assert FRAME.remote(context).single_node().execute().status is QueryStatus.SUCCESS


def test_an_error_without_a_text_fails_its_query(one_worker: DevCluster) -> None:
    def fail(column: pl.Series) -> pl.Series:
        class OddError(ValueError):
            def __str__(self) -> str:
                raise RuntimeError("no text for you")

        raise OddError

    def fail_oddly(column: pl.Series) -> pl.Series:
        raise ValueError("half a character: \udcff")

    for function, reason in ((fail, "OddError: it has no text"), (fail_oddly, r"half a character: \?")):
        frame = FRAME.select(pl.col("a").map_batches(function, return_dtype=pl.Int64))
        with pytest.raises((ComputeError, ValueError), match=reason):
            frame.remote(one_worker.context()).single_node().execute()
    assert [facts["state"] for facts in one_worker.queries] == ["FAILED"] * 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_the_planner_is_replaced(one_worker: DevCluster, number: signal.Signals) -> None:
    context, before = one_worker.context(), pids(one_worker)

    os.kill(before["planner"], number)

    assert FRAME.remote(context).single_node().execute().status is QueryStatus.SUCCESS
    wait_until_replaced(one_worker, before, "planner")
    assert one_worker.queries[0]["state"] == "SUCCESS"


def source(schema: Callable[[], pl.Schema]) -> pl.LazyFrame:
    """Return a query over one row whose schema is asked for while it is planned, and on the worker."""

    def read(*_: object) -> Iterator[pl.DataFrame]:
        yield pl.DataFrame({"a": [1]})

    def only_in_the_cluster() -> Any:
        return schema() if "polars_worker" in sys.modules else pl.Schema({"a": pl.Int64})

    return register_io_source(read, schema=only_in_the_cluster)


def test_a_query_is_planned_again_if_the_planner_ends(one_worker: DevCluster, tmp_path: Path) -> None:
    before, begun = pids(one_worker), tmp_path / "begun"

    def schema() -> pl.Schema:
        while not begun.exists():
            begun.touch()
            time.sleep(3600)
        return pl.Schema({"a": pl.Int64})

    remote = source(schema).remote(one_worker.context(), plan_type="plain").single_node()
    with ThreadPoolExecutor(1) as thread:
        submitted = thread.submit(remote.execute, blocking=False)
        wait_for(lambda: begun.exists() or None, SECONDS, lambda: "nothing is planned", interval=0.01)
        os.kill(before["planner"], signal.SIGKILL)
        query = submitted.result(SECONDS)

    assert query.await_result().status is QueryStatus.SUCCESS
    assert query.plan("ir")


def test_a_plan_that_ends_the_planner_is_refused(one_worker: DevCluster) -> None:
    def schema() -> pl.Schema:
        os._exit(3)

    remote = source(schema).remote(one_worker.context()).single_node()

    for _ in range(4):
        with pytest.raises(ComputeError, match="the process that checks plans ended 2 times at this one"):
            remote.execute(blocking=False)
    assert FRAME.remote(one_worker.context()).single_node().execute().status is QueryStatus.SUCCESS
    assert len(one_worker.queries) == 1


def test_a_query_above_the_memory_limit_fails_and_the_next_one_runs(start_cluster: StartCluster) -> None:
    cluster = start_cluster("--workers", "1", "--memory-limit-gb", "0.4")
    context, before = cluster.context(), pids(cluster)

    def take(column: pl.Series) -> pl.Series:
        held = []
        while True:
            held.append(b"x" * 10_000_000)
            time.sleep(0.001)

    greedy = FRAME.select(pl.col("a").map_batches(take, return_dtype=pl.Int64))

    with pytest.raises(MemoryError, match=r"the query used 0\.\d+ GB; each worker may use 0\.4 GB"):
        greedy.remote(context, n_retries=2).single_node().execute()

    assert FRAME.remote(context).single_node().execute().status is QueryStatus.SUCCESS
    wait_until_replaced(cluster, before, "worker-1")
    assert [facts["attempts"] for facts in cluster.queries] == [1, 1]
