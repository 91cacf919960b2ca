"""Instances of a development control plane through the operators, against the raw client on the same one.

The client reads its addresses once, when it is imported, and the other figures lead it elsewhere: these are measured
in a process of their own, ``python -m benchmarks.cloud``, which prints them as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

from airflow_provider_polars.testing import ControlPlane, start_control_plane
from benchmarks.figures import PAIRS, Figure, interleave, median, ratio
from benchmarks.queries import task_seconds
from tests.harness.environment import clean_environment, library_environment

BOOT_SECONDS = 2
EMPTY_PAIRS = 100
PAUSES = {"direct": "", "proxy": ", mostly its pause between two looks"}
"""In proxy mode a query is looked at at once, and again after 75 ms by the client, after 50 ms by the operator."""

_MACHINE: dict[str, Any] = {"cpus": 2, "memory": 4, "idle_timeout_mins": 60}


def figures() -> list[Figure]:
    """Return from when an instance is ready to the end of its start, and the overhead of the operator per query."""
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, env=clean_environment(), stdout=subprocess.PIPE, text=True, check=True)
    return [Figure(**values) for values in json.loads(done.stdout.splitlines()[-1])]


def _measure() -> list[Figure]:
    options = ("--starting-seconds", str(BOOT_SECONDS))
    with tempfile.TemporaryDirectory() as folder, start_control_plane(*options) as plane:
        os.environ.clear()
        os.environ |= plane.environment | library_environment(Path(folder))
        os.environ |= {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR", "AIRFLOW__POLARS__DEPLOYMENT_ID": "bench"}
        from tests.harness.in_memory import InMemoryAirflow

        airflow = InMemoryAirflow()
        return [*_starts(airflow, plane), *(_overhead(airflow, plane, mode, folder) for mode in PAUSES)]


def _starts(airflow: Any, plane: ControlPlane) -> list[Figure]:
    """Start instances in pairs, at the same time. The raw client sleeps for 30 s in each start, and pairs overlap."""
    account = plane.account
    ours, theirs = [], []
    with ThreadPoolExecutor(PAIRS + 1) as threads:
        import polars_cloud as pc

        pc.authenticate(client_id=account.id, client_secret=account.secret, interactive=False)
        for pair in range(PAIRS + 1):
            theirs.append(threads.submit(_raw_start))
            ours.append(_our_start(airflow, plane, f"pair-{pair}", shift=(pair + 1) / (PAIRS + 1)))
        raw = [start.result() for start in theirs]
    ready = {instance["id"]: instance["ready"] for instance in plane.instances}
    plane.reset()
    our_seconds, raw_seconds = (
        [ended - ready[instance_id] for instance_id, ended in starts[1:]]  # the first one is warm-up
        for starts in (ours, raw)
    )
    note = f"ready after {BOOT_SECONDS} s"
    return [
        median("cloud: ready to end of the start task", our_seconds, unit="s", target=3.0, note=note),
        median("cloud: ready to end of the raw client's start()", raw_seconds, unit="s", note=note),
        ratio("cloud: start task / raw client, from ready on", our_seconds, raw_seconds, note=note),
    ]


def _our_start(airflow: Any, plane: ControlPlane, run_id: str, shift: float) -> tuple[str, float]:
    """Return the id of an instance and when the task that started it has ended, in epoch seconds; stop it.

    :param shift: seconds by which all looks at the instance are later. Instances here take equally long to start: else
        each would be ready at the same moment between two looks.
    """
    from airflow_provider_polars import CloudCompute, PolarsStartComputeOperator, PolarsStopComputeOperator

    start = PolarsStartComputeOperator(task_id="start", compute=CloudCompute(**_MACHINE, connection_mode="direct"))
    delay = plane.faults.add("GET workspace/*/compute", "delay", seconds=shift)  # asked for once, before the first look
    outcome = airflow.run_task(start, run_id=run_id)
    ended = time.time()
    assert outcome.state == "success", outcome.error
    assert plane.faults.hits(delay) == 1
    stopped = airflow.run_task(PolarsStopComputeOperator(task_id="stop", compute=outcome.result), run_id=run_id)
    assert stopped.state == "success", stopped.error
    return outcome.result["compute_id"], ended


def _raw_start() -> tuple[str, float]:
    """Return the same of the raw client."""
    import polars_cloud as pc

    context = pc.ComputeContext(**_MACHINE, connection_mode="direct")
    context.start()
    ended = time.time()
    context.stop()
    return str(context._compute_id), ended


def _overhead(airflow: Any, plane: ControlPlane, mode: str, folder: str) -> Figure:
    """Return what the operator adds to an empty query on an instance that was started before."""
    from airflow_provider_polars import CloudCompute, PolarsStartComputeOperator

    compute = CloudCompute(**_MACHINE, connection_mode=mode, scaling="single-node")  # type: ignore[arg-type]
    started = airflow.run_task(PolarsStartComputeOperator(task_id="start", compute=compute), run_id=mode)
    assert started.state == "success", started.error
    raw, operator = _sides(airflow, plane, started.result, f"{folder}/{mode}")
    raw_seconds, our_seconds = interleave(raw, operator, pairs=EMPTY_PAIRS)
    plane.reset()
    overheads = [(our - their) * 1000 for our, their in zip(our_seconds, raw_seconds, strict=True)]
    note = f"raw client: {statistics.median(raw_seconds) * 1000:.1f} ms{PAUSES[mode]}"
    return median(f"cloud: overhead on an empty query, {mode} mode", overheads, unit="ms", note=note)


def _sides(
    airflow: Any, plane: ControlPlane, handle: dict[str, Any], place: str
) -> tuple[Callable[[], float], Callable[[], float]]:
    """Return the raw client, which signs in and connects as each task has to, and the operator."""
    from airflow.sdk import task as airflow_task
    from airflow.sdk._shared.secrets_masker import reset_secrets_masker

    from airflow_provider_polars import ParquetSink, PolarsRemoteOperator

    account = plane.account
    compute_id, workspace_id = UUID(handle["compute_id"]), UUID(account.workspace.id)

    def by_hand() -> int:
        import polars_cloud as pc

        pc.authenticate(client_id=account.id, client_secret=account.secret, interactive=False)
        context = pc.ComputeContext.connect(compute_id, workspace_id)
        remote: Any = _one_row().remote(context).single_node()
        return int(remote.sink_parquet(f"{place}-raw.parquet").await_result().n_rows_total)

    def raw() -> Any:
        return airflow_task(by_hand)().operator  # type: ignore[attr-defined]

    def operator() -> Any:
        reset_secrets_masker()  # each task is a process of its own, and masks the tokens of no other
        sink = ParquetSink(f"{place}-ours.parquet")
        return PolarsRemoteOperator(task_id="ours", query=_one_row, sink=sink, compute=handle)

    return task_seconds(airflow, raw), task_seconds(airflow, operator)


def _one_row() -> Any:
    import polars as pl

    return pl.LazyFrame({"a": [1]})


if __name__ == "__main__":
    print(json.dumps([dataclasses.asdict(figure) for figure in _measure()]))
