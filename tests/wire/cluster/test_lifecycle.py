"""The life of a task's queries on a cluster: killed, timed out, tried again, cleared."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from airflow_provider_polars import ClusterCompute, ParquetSink, lifecycle
from airflow_provider_polars.clients.compute_plane import ComputePlane
from airflow_provider_polars.hooks.cluster import PolarsClusterHook
from tests.harness.waiting import wait_for
from tests.unit.outcomes import failure, rows, succeeded
from tests.wire.cluster.own import WAITING, Form, Tasks, frame, kill_task, when_kept, when_started

if TYPE_CHECKING:
    from tests.wire.gates import Gate

AT_ONCE = 10.0
"""Seconds within which a busy machine shows what takes a fraction of one; queries are held for much longer."""

START_SECONDS = 60.0
each_form = pytest.mark.parametrize("form", WAITING.values(), ids=list(WAITING))


@each_form
def test_a_killed_task_ends_at_once_and_its_query_with_it(tasks: Tasks, gate: Gate, form: Form) -> None:
    killing = when_started(gate, "held", kill_task)

    error = failure(tasks.run(lambda: form(gate.frame("held"))))

    killing.join()
    assert time.monotonic() - killing.at < AT_ONCE
    assert error.startswith("QueryCancelledError: The task was killed; query ")
    assert tasks.states == ["CANCELED"]
    assert {cancel["query_id"] for cancel in tasks.cluster.recorder.cancels} == set(tasks.submitted)


@each_form
def test_a_query_that_takes_too_long_is_cancelled_however_it_is_waited_for(
    tasks: Tasks, gate: Gate, form: Form
) -> None:
    begun = time.monotonic()

    error = failure(tasks.run(lambda: form(gate.frame("held")), timeout=0.3))

    assert time.monotonic() - begun < 0.3 + AT_ONCE
    assert error.startswith("QueryTimeoutError: query ")
    assert "did not end within timeout=0.3 seconds and was cancelled" in error
    assert tasks.states == ["CANCELED"]


@pytest.mark.parametrize(
    "form", [pytest.param(WAITING[name], id=name) for name in ("returned", "execute()", "collect()")]
)
def test_the_time_limit_of_airflow_ends_the_query_too(tasks: Tasks, gate: Gate, form: Form) -> None:
    """Airflow sets an alarm; it rings here once the task waits, however long it took to get there."""

    def ring_once_it_waits() -> None:
        def waits() -> bool | None:
            return any(call["call"] in ("GetQueryResult", "PollFlightInfo") for call in recorder.calls()) or None

        recorder = tasks.cluster.recorder
        wait_for(waits, START_SECONDS, lambda: str(recorder.calls()), interval=0.02)
        os.kill(os.getpid(), signal.SIGALRM)

    ringing = when_kept(tasks, gate, "held", ring_once_it_waits)

    outcome = tasks.run(lambda: form(gate.frame("held")), execution_timeout=timedelta(minutes=10))

    ringing.join()
    assert type(outcome.error).__name__ == "AirflowTaskTimeout"
    assert tasks.states == ["CANCELED"]


def test_a_task_that_is_killed_while_its_function_computes_submits_nothing(tasks: Tasks) -> None:
    def function() -> pl.LazyFrame:
        kill_task()
        return frame()

    assert "QueryCancelledError: The task was killed" in failure(tasks.run(function))
    assert tasks.submitted == []


def test_a_task_that_is_killed_while_its_connection_is_read_submits_nothing(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def access(hook: PolarsClusterHook, compute: ClusterCompute) -> Any:
        kill_task()
        return read(hook, compute)

    read = PolarsClusterHook.access
    monkeypatch.setattr(PolarsClusterHook, "access", access)

    assert failure(tasks.run(frame)) == "QueryCancelledError: The task was killed; nothing more is submitted."
    assert tasks.submitted == []


def test_a_task_that_is_killed_between_two_queries_does_not_submit_the_second(tasks: Tasks, gate: Gate) -> None:
    def function() -> None:
        gate.frame("first").remote().execute(blocking=False)
        kill_task()
        gate.frame("second").remote().execute(blocking=False)

    assert "QueryCancelledError: The task was killed" in failure(tasks.run(function))
    assert tasks.states == ["CANCELED"]


def test_an_exception_that_a_kill_causes_in_the_function_does_not_hide_the_kill(tasks: Tasks, gate: Gate) -> None:
    def function() -> None:
        gate.frame("held").remote().execute(blocking=False)
        kill_task()
        raise LookupError("of the function")

    outcome = tasks.run(function)

    assert failure(outcome).startswith("QueryCancelledError: The task was killed; query ")
    assert isinstance(outcome.error and outcome.error.__cause__, LookupError)


def test_a_query_that_someone_else_cancels_fails_the_task_with_these_words(tasks: Tasks, gate: Gate) -> None:
    someone_else = tasks.cluster.context()._get_direct_client()

    def cancel() -> None:
        someone_else.cancel_direct_query(uuid.UUID(tasks.submitted[0]))

    cancelling = when_started(gate, "held", cancel)
    error = failure(tasks.run(lambda: gate.frame("held")))
    cancelling.join()

    assert error == f"QueryCancelledError: query {tasks.submitted[0]} was cancelled, not by this task."


def lose_first_try(tasks: Tasks, function: Callable[[], Any], **options: Any) -> str:
    """Run a first try up to where its query is submitted, as if its worker were lost then; return the query's id."""
    succeeded(tasks.run(function, wait=False, **options))
    (run,) = tasks.stored
    return run.query_id


def test_a_retry_adopts_the_query_of_a_lost_worker(
    tasks: Tasks, gate: Gate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = ParquetSink(str(tmp_path / "held.parquet"))
    lost = lose_first_try(tasks, lambda: gate.frame("held"), sink=sink)
    opening = when_started(gate, "held", gate.open)

    result = succeeded(tasks.run(lambda: pytest.fail("built again"), sink=sink, try_number=2))

    opening.join()
    assert result["query_id"] == lost
    assert tasks.submitted == [lost]
    assert rows(result) == [{"name": "held"}]
    assert gate.starts("held") == 1
    assert tasks.cluster.recorder.cancels == []


@pytest.mark.parametrize(("max_tries", "submitted"), [(1, 1), (2, 2)], ids=["retry", "clear"])
def test_a_retry_hands_on_the_result_of_a_worker_that_was_lost_with_it_and_a_cleared_task_has_another(
    tasks: Tasks, max_tries: int, submitted: int
) -> None:
    first = succeeded(tasks.run(frame, max_tries=1))

    second = succeeded(tasks.run(frame, try_number=2, max_tries=max_tries))

    assert tasks.submitted == list(dict.fromkeys([first["query_id"], second["query_id"]]))
    assert len(tasks.submitted) == submitted
    assert (second == first) == (submitted == 1)
    assert rows(second) == [{"a": 0}, {"a": 1}, {"a": 2}]


def test_a_retry_takes_the_result_of_a_query_that_has_ended_meanwhile(tasks: Tasks) -> None:
    lost = lose_first_try(tasks, frame)
    wait_for(lambda: tasks.states == ["SUCCESS"] or None, START_SECONDS, lambda: str(tasks.states), interval=0.02)

    result = succeeded(tasks.run(frame, try_number=2))

    assert (result["query_id"], tasks.submitted) == (lost, [lost])


def test_a_cleared_task_cancels_the_earlier_query_before_it_submits_a_new_one(tasks: Tasks, gate: Gate) -> None:
    lost = lose_first_try(tasks, lambda: gate.frame("held"))

    result = succeeded(tasks.run(frame, max_tries=1, try_number=2))

    assert tasks.submitted == [lost, result["query_id"]]
    assert tasks.states == ["CANCELED", "SUCCESS"]
    assert calls_between_submissions(tasks, lost)[-2:] == ["CancelQuery", "GetQueryStatus"]


def calls_between_submissions(tasks: Tasks, query_id: str) -> list[str]:
    """Return what was asked about a query after it was submitted and before the next one was."""
    calls = tasks.cluster.recorder.calls()
    first, second = (index for index, call in enumerate(calls) if call["call"] == "SubmitQuery")
    return [call["call"] for call in calls[first:second] if call.get("query_id") == query_id][1:]


def test_a_retry_of_a_function_that_submits_by_itself_ends_its_earlier_queries_and_runs_it_again(
    tasks: Tasks, gate: Gate
) -> None:
    holds = [True, False]

    def function() -> Any:
        return gate.frame("own", holds=holds.pop(0)).remote().execute(blocking=False)

    lost = lose_first_try(tasks, function)
    gate.wait_until_started("own")
    result = succeeded(tasks.run(function, try_number=2))

    assert tasks.submitted == [lost, result["query_id"]]
    assert tasks.states == ["CANCELED", "SUCCESS"]
    assert calls_between_submissions(tasks, lost)[-2:] == ["CancelQuery", "GetQueryStatus"]


def test_nothing_is_submitted_while_the_end_of_an_earlier_query_is_not_confirmed(
    tasks: Tasks, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = lose_first_try(tasks, lambda: gate.frame("held").remote().execute(blocking=False))
    gate.wait_until_started("held")
    with monkeypatch.context() as deaf:
        deaf.setattr(lifecycle, "CANCEL_SECONDS", 0.2)
        deaf.setattr(lifecycle, "WATCH_SECONDS", 0.1)
        deaf.setattr(ComputePlane, "cancel", lambda self, query_id: None)
        error = failure(tasks.run(frame, try_number=2))

    assert error.startswith(
        f"QueryFailedError: query {lost} (query_1) of an earlier try was told to end, which is not "
    )
    assert tasks.submitted == [lost]
    assert [run.query_id for run in tasks.stored] == [lost]

    succeeded(tasks.run(frame, try_number=3))
    assert tasks.states == ["CANCELED", "SUCCESS"]


def test_a_cancel_that_the_cluster_did_not_hear_is_asked_for_again(
    tasks: Tasks, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def lose_first(plane: ComputePlane, query_id: str) -> None:
        asked.append(query_id)
        if len(asked) > 1:
            cancel(plane, query_id)

    cancel = ComputePlane.cancel
    monkeypatch.setattr(lifecycle, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(ComputePlane, "cancel", lose_first)

    assert "QueryTimeoutError" in failure(tasks.run(lambda: gate.frame("held"), timeout=0.2))

    assert tasks.states == ["CANCELED"]
    assert asked[:2] == tasks.submitted * 2


def test_a_cancel_that_is_not_confirmed_is_said_in_the_log(
    tasks: Tasks, gate: Gate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lifecycle, "CANCEL_SECONDS", 0.2)
    monkeypatch.setattr(lifecycle, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(ComputePlane, "cancel", lambda self, query_id: None)

    error = failure(tasks.run(lambda: gate.frame("held"), timeout=0.2))

    assert "QueryTimeoutError" in error
    assert f"query {tasks.submitted[0]} was told to end, which is not confirmed" in capsys.readouterr().out
