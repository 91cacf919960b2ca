"""Queries in the process of their task: Python stays awake while Polars runs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.backends.base import RunState
from airflow_provider_polars.backends.execution import call_in_background
from airflow_provider_polars.backends.local import LocalBackend
from airflow_provider_polars.exceptions import QueryCancelledError, QueryTimeoutError
from airflow_provider_polars.query.sinks import ParquetSink
from tests.harness.waiting import wait_for
from tests.unit.backends.local_runs import IN_PROCESS, lifecycle, read, run_one, submission, submitted

NOTICED = 20.0
"""Seconds within which a busy machine shows what takes a fraction of one."""


class Gate:
    """A query that waits inside Polars until the test lets it go on."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def ring(self) -> None:
        """Send this process a signal once the query runs."""
        if self.entered.wait(60):
            os.kill(os.getpid(), signal.SIGALRM)

    def query(self) -> pl.LazyFrame:
        def wait(frame: pl.DataFrame) -> pl.DataFrame:
            self.entered.set()
            self.opened.wait(60)
            return frame

        return pl.LazyFrame({"id": [1]}).map_batches(wait)


def query_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("polars-")]


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()
    wait_for(lambda: not query_threads() or None, 60, lambda: f"end of {query_threads()}", interval=0.02)


def rows() -> pl.LazyFrame:
    return pl.LazyFrame({"id": [1, 2]})


def test_a_timeout_acts_although_polars_cannot_be_stopped(tmp_path: Path, gate: Gate) -> None:
    started = time.monotonic()

    with pytest.raises(QueryTimeoutError, match=r"timeout=0\.3 seconds"):
        run_one(gate.query, ParquetSink(str(tmp_path / "a")), timeout=0.3)

    assert time.monotonic() - started < NOTICED
    assert gate.entered.wait(60)


def test_what_a_cancelled_query_still_writes_never_gets_to_its_target(tmp_path: Path, gate: Gate) -> None:
    sink = ParquetSink(str(tmp_path / "a"))
    earlier = run_one(rows, sink, mark="an earlier run")
    with pytest.raises(QueryTimeoutError):
        run_one(gate.query, sink, timeout=0.3, mark="this run")

    gate.opened.set()
    wait_for(lambda: not query_threads() or None, 60, lambda: f"end of {query_threads()}", interval=0.02)

    assert read(earlier).equals(rows().collect())
    run_one(rows, sink, mark="this run")
    assert os.listdir(tmp_path) == ["a"]


def test_a_signal_handler_runs_at_once_while_polars_works(tmp_path: Path, gate: Gate) -> None:
    class Alarm(BaseException): ...

    def ring(*_: Any) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        threading.Thread(target=gate.ring).start()
        started = time.monotonic()
        with pytest.raises(Alarm):
            run_one(gate.query, ParquetSink(str(tmp_path / "a")))
    finally:
        signal.signal(signal.SIGALRM, before)

    assert time.monotonic() - started < NOTICED
    assert not list(tmp_path.iterdir())


def test_a_kill_from_a_signal_handler_ends_the_wait(tmp_path: Path, gate: Gate) -> None:
    cycle = lifecycle()
    before = signal.signal(signal.SIGALRM, lambda *_: cycle.kill())
    try:
        threading.Thread(target=gate.ring).start()
        with pytest.raises(QueryCancelledError, match="The task was killed"):
            cycle.execute(submission(gate.query, ParquetSink(str(tmp_path / "a"))))
    finally:
        signal.signal(signal.SIGALRM, before)

    assert not list(tmp_path.iterdir())


def test_a_run_of_another_process_is_lost_here(tmp_path: Path) -> None:
    backend = LocalBackend(IN_PROCESS)
    (run,) = submitted(backend, submission(rows, ParquetSink(str(tmp_path / "a"))))
    stranger = LocalBackend(IN_PROCESS)

    assert stranger.poll(run).state is RunState.LOST
    stranger.cancel([run])
    stranger.watch([run], 0.01)
    stranger.close()

    backend.watch([run], 15)
    assert backend.poll(run).state is RunState.SUCCEEDED
    assert backend.result(run).query_id == run.query_id
    backend.close()


def test_a_submission_that_cannot_be_built_leaves_no_staging_of_any_output(tmp_path: Path) -> None:
    def raises() -> pl.LazyFrame:
        raise ValueError("no")

    backend = LocalBackend(IN_PROCESS)
    sinks = {name: ParquetSink(str(tmp_path / name)) for name in "ab"}

    with pytest.raises(ValueError, match="no"):
        submitted(backend, submission(raises, sinks))

    assert not list(tmp_path.iterdir())


def test_what_is_called_in_the_background_returns_or_raises_here() -> None:
    def panic() -> None:
        raise pl.exceptions.PanicException("boom")

    assert call_in_background(lambda: 7, threading.Event()) == 7
    with pytest.raises(pl.exceptions.PanicException, match="boom"):
        call_in_background(panic, threading.Event())


def test_what_is_called_in_the_background_is_left_when_it_is_interrupted(gate: Gate) -> None:
    interrupted = threading.Event()

    def interrupt() -> None:
        if gate.entered.wait(60):
            interrupted.set()

    threading.Thread(target=interrupt).start()

    with pytest.raises(QueryCancelledError):
        call_in_background(gate.query().collect, interrupted)
