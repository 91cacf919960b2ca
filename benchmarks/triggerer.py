"""A real triggerer with 500 deferred queries, beside one with 500 triggers that sleep; and how soon tasks end."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from airflow_provider_polars.compute.cluster import ClusterCompute
from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from benchmarks.figures import PAIRS, Figure, median
from benchmarks.watching import Queue, quiet_looks
from tests.harness.environment import clean_environment
from tests.harness.stack import AirflowStack
from tests.harness.waiting import wait_for

QUERIES = 500
IDLE_SECONDS = 6
START_SECONDS = 120.0
QUERY_SECONDS = 12.0
"""Of a query whose end is measured: its task has deferred long before."""

DAGS = Path(__file__).with_name("dags")
REPOSITORY = Path(__file__).resolve().parents[1]
_KIB, _MIB = 1024, 2**20


def figures() -> list[Figure]:
    """Return our share of a triggerer, and the time from the end of a query to the success of its task."""
    environment = {
        "PYTHONPATH": str(REPOSITORY),
        "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": "1000",
    }
    with (
        start_dev_cluster("--workers", "3") as cluster,
        AirflowStack(DAGS, env=environment) as stack,
    ):
        stack.rest.wait_for_dag("ends")
        return [*_ends(stack, cluster), *_share(stack)]


def _ends(stack: AirflowStack, cluster: DevCluster) -> list[Figure]:
    """Run three tasks at a time whose queries begin at about the same time."""
    waited: dict[str, list[float]] = {"sync": [], "deferred": [], "by_hand": []}
    for number in range(PAIRS + 1):
        cluster.recorder.forget()
        conf = {"uri": cluster.uri, "observatory": cluster.observatory, "seconds": QUERY_SECONDS}
        run_id = stack.rest.trigger("ends", conf=conf)
        state = stack.rest.wait_for_run("ends", run_id)
        assert state == "success", stack.rest.diagnose()
        ended = _ended(cluster, stack, run_id)
        if number:  # the first run is warm-up
            for task_id, at in ended.items():
                succeeded = stack.rest.task_instance("ends", run_id, task_id)["end_date"]
                waited[task_id].append(dt.datetime.fromisoformat(succeeded).timestamp() - at)
    more = [ours - by_hand for ours, by_hand in zip(waited["sync"], waited["by_hand"], strict=True)]
    return [
        median("end of a query to success of its task, by hand", waited["by_hand"], unit="s"),
        median("end of a query to success of its task, sync", waited["sync"], unit="s"),
        median("end of a query to success of its task, deferred", waited["deferred"], unit="s"),
        median("end of a query to success of its task, sync - by hand", more, unit="s"),
    ]


def _ended(cluster: DevCluster, stack: AirflowStack, run_id: str) -> dict[str, float]:
    """Return when the query of each task ended, in epoch seconds."""
    by_id = {query["id"]: query["ended"] for query in cluster.queries}
    ours = {task_id: stack.rest.xcom("ends", run_id, task_id)["query_id"] for task_id in ("sync", "deferred")}
    submitted = {record["query_id"] for record in cluster.recorder.submissions}
    (by_hand,) = submitted - set(ours.values())
    return {task_id: by_id[query_id] for task_id, query_id in (ours | {"by_hand": by_hand}).items()}


Measured = tuple[int, float]


def _share(stack: AirflowStack) -> list[Figure]:
    """Start a triggerer with each kind of triggers by turns."""
    stack.stop_process("scheduler")
    stack.rest.trigger("deferred")
    asleep = stack.home / "asleep"
    with start_dev_cluster("--workers", "1") as cluster:
        queue = Queue(cluster)
        compute = ClusterCompute(uri=cluster.uri, observatory=cluster.observatory).to_dict()
        run = {"output": "return_value", "compute": compute, "submitted_at": time.time()}
        path = "airflow_provider_polars.triggers.query.PolarsQueryTrigger"
        queries = [[path, {"runs": [{**run, "query_id": query_id}]}] for query_id in queue.submit(QUERIES)]
        sleeping = [["benchmarks.sleeping.SleepingTrigger", {"begun": str(asleep)}]] * QUERIES

        def beside() -> Measured:
            asleep.write_text("")
            return _triggerer(stack, sleeping, lambda: asleep.stat().st_size)

        def ours() -> Measured:
            cluster.recorder.forget()
            return _triggerer(stack, queries, lambda: len(cluster.recorder.calls("GetQueryResult")))

        measured = []
        for turn in range(PAIRS):
            if turn % 2:
                measured.append((beside(), ours()))
            else:
                late = ours()
                measured.append((beside(), late))
    base, with_ours = zip(*measured, strict=True)
    memory = [(late[0] - early[0]) / QUERIES / _KIB for early, late in measured]
    cpu = [late[1] - early[1] for early, late in measured]
    whole = statistics.median(used for used, _ in base) / _MIB
    idle, busy = (statistics.median(each for _, each in side) for side in (base, with_ours))
    return [
        median("triggerer: memory for each query", memory, unit="KiB", note=f"{whole:.0f} MiB with {QUERIES} asleep"),
        median("triggerer: % of a core", cpu, unit="%", note=f"{busy:.1f} with queries, {idle:.1f} asleep"),
    ]


def _triggerer(stack: AirflowStack, triggers: Sequence[Any], begun: Callable[[], int]) -> Measured:
    """Return the memory of a triggerer with these, and the % of a core that it takes.

    :param begun: returns how many of them wait.
    """
    stack.stop_process("triggerer")
    command = [sys.executable, "-m", "benchmarks.sleeping", "deferred"]
    subprocess.run(command, env=stack.env, input=json.dumps(triggers), text=True, check=True)
    stack.start_process("triggerer")
    root = psutil.Process(stack.processes["triggerer"].pid)
    wait_for(lambda: begun() >= QUERIES or None, START_SECONDS, lambda: f"{begun()} triggers wait", interval=1.0)
    for _ in itertools.takewhile(lambda quiet: quiet < 5, quiet_looks(_Tree(root))):
        pass
    processes = [root, *root.children(recursive=True)]
    before = _cpu_seconds(processes)
    time.sleep(IDLE_SECONDS)
    used = (_cpu_seconds(processes) - before) / IDLE_SECONDS * 100
    return sum(int(process.memory_full_info().uss) for process in processes), used


class _Tree:
    """A process and its descendants, as one."""

    def __init__(self, root: Any) -> None:
        self._root = root

    def cpu_percent(self, seconds: float) -> float:
        """Return the % of a core that they use in so many seconds."""
        processes = [self._root, *self._root.children(recursive=True)]
        before = _cpu_seconds(processes)
        time.sleep(seconds)
        return (_cpu_seconds(processes) - before) / seconds * 100


def _cpu_seconds(processes: Sequence[Any]) -> float:
    times = [process.cpu_times() for process in processes]
    return float(sum(each.user + each.system for each in times))


if __name__ == "__main__":
    os.environ |= clean_environment()
    for figure in figures():
        print(figure, flush=True)
