"""Five hundred queries at once from twenty client processes."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import polars as pl
import psutil
import pytest

from airflow_provider_polars.testing import DevCluster
from tests.wire.conftest import RESULT_MILLISECONDS

pytestmark = pytest.mark.own_cluster

PROCESSES, QUERIES_EACH = 20, 25
QUERIES = PROCESSES * QUERIES_EACH
BATCHES = 3  # the first one warms up
GROWTH_BYTES = 20_000
"""That the scheduler may keep for each query that it remembers."""

WORKER_GROWTH_BYTES = 20_000_000
CLIENT = Path(__file__).with_name("load_client.py")


class Clients:
    """Client processes, ready to submit."""

    def __init__(self, cluster: DevCluster, stack: contextlib.ExitStack) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        for _ in range(PROCESSES):
            process = subprocess.Popen(
                [sys.executable, CLIENT, cluster.uri],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=cluster.environment | {"POLARS_TIMEOUT_MS": RESULT_MILLISECONDS},
            )
            self._processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        for process in self._processes:
            assert _pipe(process.stdout).readline() == "ready\n"

    def submit(self, folder: Path) -> tuple[list[dict[str, Any]], float]:
        """Submit the queries of all clients at once; return how each one ended, and the seconds until the last one."""
        folder.mkdir()
        begun = time.monotonic()
        for index, process in enumerate(self._processes):
            job = {"first": index * QUERIES_EACH, "count": QUERIES_EACH, "folder": str(folder)}
            print(json.dumps(job), file=_pipe(process.stdin), flush=True)
        outcomes = [outcome for process in self._processes for outcome in json.loads(_pipe(process.stdout).readline())]
        return outcomes, time.monotonic() - begun


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def memory(cluster: DevCluster) -> dict[str, int]:
    """Return the resident bytes of the scheduler and of its workers, by name."""
    pids = {"scheduler": cluster.pid, **{worker["name"]: worker["pid"] for worker in cluster.workers}}
    return {name: psutil.Process(pid).memory_info().rss for name, pid in pids.items()}


def test_500_queries_at_once_from_20_processes_run_once_each_and_memory_stays_flat(
    polars_dev_cluster: DevCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = polars_dev_cluster
    resident, figures = [], []
    with contextlib.ExitStack() as stack:
        clients = Clients(cluster, stack)
        for batch in range(BATCHES):
            cluster.recorder.forget()
            folder = tmp_path / str(batch)
            outcomes, seconds = clients.submit(folder)

            expected = [(number, "SUCCESS", [f"{folder}/{number}.parquet"]) for number in range(QUERIES)]
            assert [(each["number"], each["status"], each["location"]) for each in outcomes] == expected
            assert {file.name for file in folder.iterdir()} == {f"{number}.parquet" for number in range(QUERIES)}
            for number in range(QUERIES):
                assert pl.read_parquet(folder / f"{number}.parquet")["number"].to_list() == [number]
            submitted = {record["query_id"] for record in cluster.recorder.submissions}
            assert len(cluster.recorder.submissions) == len(submitted) == QUERIES
            remembered = [query for query in cluster.queries if query["id"] in submitted]
            assert [(query["state"], query["attempts"]) for query in remembered] == [("SUCCESS", 1)] * QUERIES
            resident.append(memory(cluster))
            times = statistics.quantiles([each["seconds"] for each in outcomes], n=100)
            figures.append(
                f"{QUERIES / seconds:.0f} queries/s, submit to result {times[49]:.2f} s (p50), {times[98]:.2f} s (p99)"
                + "".join(f", {name} {used / 1e6:.0f} MB" for name, used in resident[-1].items())
            )
    with capsys.disabled():
        print("", *figures, sep="\n")

    growth = {name: resident[-1][name] - resident[0][name] for name in resident[0]}
    assert growth.pop("scheduler") < GROWTH_BYTES * QUERIES * (BATCHES - 1)
    assert max(growth.values()) < WORKER_GROWTH_BYTES


def test_plans_of_queries_that_have_ended_are_not_kept_in_memory(start_cluster: Callable[..., DevCluster]) -> None:
    cluster = start_cluster("--workers", "1")
    context = cluster.context()
    numbers, rounds = pl.DataFrame({"a": pl.int_range(1_000_000, eager=True)}), 10
    resident = []
    for _ in range(2):
        for _ in range(rounds):
            numbers.lazy().select(pl.sum("a")).remote(context).single_node().execute()
        resident.append(memory(cluster)["scheduler"])
    sizes = [record["plan_bytes"] for record in cluster.recorder.submissions]

    assert min(sizes) > numbers.estimated_size()
    assert resident[1] - resident[0] < sum(sizes[:rounds]) / 2
