"""The child process of a query ends with its task in every case, and the next try tidies up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from airflow_provider_polars.backends.execution import RunnerExecution
from airflow_provider_polars.backends.local import LocalBackend
from airflow_provider_polars.compute.local import LocalCompute
from airflow_provider_polars.exceptions import QueryCancelledError, QueryTimeoutError, RunnerError
from airflow_provider_polars.query.sinks import ParquetSink
from tests.harness.processes import session_members
from tests.harness.waiting import wait_for
from tests.unit.backends.endless_query import SECONDS, endless, is_alive, wait_for_pids, wait_until_gone
from tests.unit.backends.local_runs import IN_CHILD, IN_PROCESS, lifecycle, run_one, submission, submitted


@contextmanager
def task(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program as the process of a task; it does not outlive the test."""
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=Path(__file__).parents[3])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def rows() -> pl.LazyFrame:
    return pl.LazyFrame({"id": [1, 2]})


def test_cancel_ends_the_child_and_its_own_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    sink = ParquetSink(str(tmp_path / "out" / "a.parquet"))
    backend = LocalBackend(IN_CHILD)
    (run,) = submitted(backend, submission(endless, sink, kwargs={"pids": str(pids)}))
    started = wait_for_pids(pids, 2)

    backend.cancel([run])
    backend.cancel([run])

    for pid in started:
        wait_until_gone(pid)
    assert isinstance(backend.poll(run).error, QueryCancelledError)
    backend.close()
    assert not list((tmp_path / "out").iterdir())


def test_a_timeout_ends_the_child_and_all_that_it_started(tmp_path: Path) -> None:
    cycle = lifecycle(IN_CHILD)
    sink = ParquetSink(str(tmp_path / "out" / "a"))

    with pytest.raises(QueryTimeoutError, match="did not end within timeout=1 seconds and was cancelled"):
        cycle.execute(submission(endless, sink, kwargs={"pids": str(tmp_path / "pids")}, timeout=1))

    assert isinstance(cycle.backend, LocalBackend)
    execution = cycle.backend._execution
    assert isinstance(execution, RunnerExecution)
    wait_for(lambda: not session_members(execution.pid) or None, SECONDS, lambda: "end of the child", interval=0.02)
    assert not list((tmp_path / "out").iterdir())


def test_the_child_ends_when_the_process_of_its_task_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = f"""\
        from airflow_provider_polars.query.sinks import ParquetSink
        from tests.unit.backends.endless_query import endless
        from tests.unit.backends.local_runs import IN_CHILD, run_one
        sink = ParquetSink({str(tmp_path / "out" / "a")!r})
        run_one(endless, sink, IN_CHILD, kwargs={{"pids": {str(pids)!r}}})
        """
    with task(program) as process:
        child, grandchild = wait_for_pids(pids, 2)
        process.send_signal(signal.SIGKILL)
        process.wait(SECONDS)
        wait_until_gone(child)
    os.kill(grandchild, signal.SIGKILL)


def test_the_child_ends_when_its_task_closes_the_pipe_without_a_word(tmp_path: Path) -> None:
    """The way that is left where the system has no signal for the death of a parent."""
    pids = tmp_path / "pids"
    backend = LocalBackend(IN_CHILD)
    (run,) = submitted(backend, submission(endless, ParquetSink(str(tmp_path / "a")), kwargs={"pids": str(pids)}))
    child, grandchild = wait_for_pids(pids, 2)
    execution = backend._execution
    assert isinstance(execution, RunnerExecution)
    stdin = execution._process.stdin
    assert stdin is not None

    stdin.close()

    backend.watch([run], SECONDS)
    assert isinstance(backend.poll(run).error, RunnerError)
    assert execution.pid == child
    assert not is_alive(child)
    backend.close()
    os.kill(grandchild, signal.SIGKILL)


@pytest.mark.parametrize("compute", [IN_PROCESS, IN_CHILD], ids=["in process", "in a child"])
def test_the_next_try_removes_what_a_killed_task_had_staged(
    tmp_path: Path, tree: Callable[[Path], dict[str, bytes]], compute: LocalCompute
) -> None:
    sink = ParquetSink(str(tmp_path / "out" / "a"))
    run_one(rows, sink, mark="an earlier run")
    before = tree(tmp_path / "out")
    pids = tmp_path / "pids"
    program = f"""\
        from airflow_provider_polars.compute.local import LocalCompute
        from airflow_provider_polars.query.sinks import ParquetSink
        from tests.unit.backends.endless_query import endless
        from tests.unit.backends.local_runs import run_one
        compute = LocalCompute.from_dict({compute.to_dict()!r})
        sink = ParquetSink({sink.path!r})
        run_one(endless, sink, compute, kwargs={{"pids": {str(pids)!r}}}, mark="this run")
        """
    with task(program):
        _, grandchild = wait_for_pids(pids, 2)
    os.kill(grandchild, signal.SIGKILL)
    assert tree(tmp_path / "out")["a"] == before["a"]
    assert len(os.listdir(tmp_path / "out")) == 2

    run_one(rows, sink, mark="this run")

    assert os.listdir(tmp_path / "out") == ["a"]
