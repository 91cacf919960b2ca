"""The one life cycle of every query, shown with a backend that follows a script."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from airflow_provider_polars.backends.base import Run, RunState, RunStatus
from airflow_provider_polars.exceptions import (
    PolarsProviderError,
    QueryCancelledError,
    QueryDefinitionError,
    QueryFailedError,
    QueryTimeoutError,
    SchemaError,
    SinkWriteError,
)
from airflow_provider_polars.kept_runs import STORE_KEY, Try
from airflow_provider_polars.lifecycle import Lifecycle
from airflow_provider_polars.query.sinks import ParquetSink
from tests.unit.backends.local_runs import LOG, submission, submitted
from tests.unit.scripted_backend import (
    QUEUED,
    RUNNING,
    SUCCEEDED,
    Cluster,
    RecordingStore,
    ScriptedBackend,
    failed,
    one,
    two,
)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def store(cluster: Cluster) -> RecordingStore:
    return RecordingStore(cluster)


@pytest.fixture
def new_try(cluster: Cluster, store: RecordingStore) -> Callable[..., Lifecycle]:
    """Return ``new_try(max_tries=9)``: the life cycle of another try of one task, in another process."""
    number = itertools.count(1)

    def make(max_tries: int = 9, **options: Any) -> Lifecycle:
        return Lifecycle(ScriptedBackend(cluster), store, attempt=Try(next(number), max_tries), log=LOG, **options)

    return make


NewTry = Callable[..., Lifecycle]


def test_a_run_is_stored_before_anything_else_and_its_result_once_it_is_there(
    cluster: Cluster, store: RecordingStore, new_try: NewTry
) -> None:
    cluster.statuses["q1"] = [QUEUED, RUNNING, SUCCEEDED]

    results = new_try().execute(one())

    assert results["return_value"].query_id == "q1"
    assert cluster.events == ["submit q1", "store q1", "result q1", "close", "store q1"]
    assert store.values[STORE_KEY]["results"] == results


def test_each_of_several_runs_is_stored_the_moment_it_exists(cluster: Cluster, new_try: NewTry) -> None:
    cluster.statuses |= {"q1": [SUCCEEDED], "q2": [RUNNING, SUCCEEDED]}

    assert list(new_try().execute(two())) == ["a", "b"]

    assert cluster.events[:4] == ["submit q1", "store q1", "submit q2", "store q1 q2"]


def test_what_is_stored_is_enough_to_pick_a_run_up(cluster: Cluster, store: RecordingStore, new_try: NewTry) -> None:
    cluster.statuses["q1"] = [failed(QueryFailedError("no"))]

    with pytest.raises(QueryFailedError):
        new_try(max_tries=2).execute(one())

    stored = store.values[STORE_KEY]
    run = Run.from_dict(stored["runs"][0])
    assert stored["owner"] == {"number": 1, "max_tries": 2, "retries": 0}
    assert (run.query_id, run.output, run.details) == ("q1", "return_value", {"node": 3})
    assert Run.from_dict(run.to_dict()) == run


@pytest.mark.parametrize("status", [QUEUED, RUNNING, SUCCEEDED], ids=lambda status: status.state.value)
def test_an_automatic_retry_adopts_a_query_that_lives_or_has_succeeded(
    cluster: Cluster, store: RecordingStore, new_try: NewTry, status: RunStatus
) -> None:
    leave_behind(cluster, store, new_try)
    cluster.statuses["q1"] = [status, SUCCEEDED]

    results = new_try().execute(one())

    assert results["return_value"].query_id == "q1"
    assert "submit q2" not in cluster.events
    assert store.values[STORE_KEY]["results"] == results


def leave_behind(cluster: Cluster, store: RecordingStore, new_try: NewTry, *, outputs: int = 1) -> None:
    """Let a try die right after it stored its Runs, as by a power cut."""
    lifecycle = new_try()
    lifecycle._begin(one() if outputs == 1 else two())
    assert len(store.values[STORE_KEY]["runs"]) == outputs
    cluster.events.clear()
    cluster.events += ["submit q1"] * outputs
    cluster.statuses = {"q1": [RUNNING], "q2": [RUNNING]}


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED, RunState.LOST])
def test_a_retry_submits_anew_where_the_earlier_query_has_ended_badly(
    cluster: Cluster, store: RecordingStore, new_try: NewTry, state: RunState
) -> None:
    leave_behind(cluster, store, new_try)
    cluster.statuses = {"q1": [RunStatus(state=state)], "q2": [SUCCEEDED]}

    assert new_try().execute(one())["return_value"].query_id == "q2"


def test_a_cleared_task_cancels_the_query_of_before_and_submits_anew(
    cluster: Cluster, store: RecordingStore, new_try: NewTry
) -> None:
    leave_behind(cluster, store, new_try)
    cluster.statuses["q2"] = [SUCCEEDED]

    assert new_try(max_tries=10).execute(one())["return_value"].query_id == "q2"
    assert "cancel q1" in cluster.events


def test_a_retry_submits_all_anew_and_cancels_the_rest_where_one_of_several_is_lost(
    cluster: Cluster, store: RecordingStore, new_try: NewTry
) -> None:
    leave_behind(cluster, store, new_try, outputs=2)
    cluster.statuses = {
        "q1": [RUNNING],
        "q2": [RunStatus(state=RunState.LOST)],
        "q3": [SUCCEEDED],
        "q4": [SUCCEEDED],
    }

    results = new_try().execute(two())

    assert [result.query_id for result in results.values()] == ["q3", "q4"]
    assert "cancel q1" in cluster.events
    assert cluster.events.index("cancel q1") < cluster.events.index("submit q3")


def test_a_retry_submits_anew_where_the_earlier_try_died_between_two_submissions(
    cluster: Cluster, store: RecordingStore, new_try: NewTry
) -> None:
    leave_behind(cluster, store, new_try)
    cluster.statuses |= {"q2": [SUCCEEDED], "q3": [SUCCEEDED]}

    assert list(new_try().execute(two())) == ["a", "b"]

    assert "cancel q1" in cluster.events


@pytest.mark.parametrize("stored", ["text", {"owner": None}, {}, 7])
def test_a_store_that_holds_something_else_is_no_reason_to_fail(
    cluster: Cluster, store: RecordingStore, new_try: NewTry, stored: Any
) -> None:
    store.values[STORE_KEY] = stored
    cluster.statuses["q1"] = [SUCCEEDED]

    assert new_try().execute(one())["return_value"].query_id == "q1"


def test_a_timeout_cancels_the_query_and_keeps_what_is_stored(
    cluster: Cluster, store: RecordingStore, new_try: NewTry
) -> None:
    cluster.statuses["q1"] = [RUNNING]

    with pytest.raises(QueryTimeoutError, match=r"q1 did not end within timeout=0\.05 seconds and was cancelled"):
        new_try().execute(one(timeout=0.05))

    assert cluster.events == ["submit q1", "store q1", "cancel q1", "close"]
    assert STORE_KEY in store.values


def test_an_adopted_query_has_no_more_time_than_it_had_at_first(
    cluster: Cluster, store: RecordingStore, new_try: NewTry
) -> None:
    leave_behind(cluster, store, new_try)
    store.values[STORE_KEY]["runs"][0]["submitted_at"] = time.time() - 3600

    with pytest.raises(QueryTimeoutError, match="timeout=3600 seconds"):
        new_try().execute(one(timeout=3600))

    assert "cancel q1" in cluster.events


def test_a_kill_cancels_the_query_and_execute_raises(cluster: Cluster, store: RecordingStore, new_try: NewTry) -> None:
    cluster.statuses["q1"] = [RUNNING]
    lifecycle = new_try()

    def kill() -> None:
        cluster.watching.wait(10)
        lifecycle.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(QueryCancelledError, match="The task was killed; query q1 was cancelled"):
        lifecycle.execute(one())
    killer.join()

    assert "cancel q1" in cluster.events
    assert cluster.events[-1] == "close"
    assert STORE_KEY in store.values


def test_a_task_that_has_lost_its_supervisor_ends_and_leaves_its_query_to_the_next_try(
    cluster: Cluster, store: RecordingStore, new_try: NewTry, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.statuses["q1"] = [RUNNING, SUCCEEDED]
    lifecycle = new_try(supervisor=os.getppid())
    monkeypatch.setattr(os, "getppid", lambda: 1)
    with pytest.raises(QueryCancelledError, match="supervisor of the task is gone"):
        lifecycle.execute(one())

    assert "cancel q1" not in cluster.events
    assert new_try().execute(one())["return_value"].query_id == "q1"


def test_a_task_that_has_lost_its_supervisor_cancels_the_query_that_it_cannot_store(
    cluster: Cluster, store: RecordingStore, new_try: NewTry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(key: str, value: Any) -> None:
        if value["runs"]:
            raise BrokenPipeError

    cluster.statuses["q1"] = [RUNNING]
    lifecycle = new_try(supervisor=os.getppid())
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(store, "set", refuse)
    with pytest.raises(BrokenPipeError):
        lifecycle.execute(one())

    assert "cancel q1" in cluster.events


def test_a_task_without_a_supervisor_outlives_the_process_that_started_it(
    cluster: Cluster, new_try: NewTry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``dag.test()`` in a terminal that is closed."""
    cluster.statuses["q1"] = [RUNNING, SUCCEEDED]
    lifecycle = new_try()
    monkeypatch.setattr(os, "getppid", lambda: 1)

    assert lifecycle.execute(one()) is not None


def test_a_kill_before_the_query_is_submitted_cancels_it_once_it_is(cluster: Cluster, new_try: NewTry) -> None:
    cluster.statuses["q1"] = [RUNNING]
    lifecycle = new_try()

    lifecycle.kill()

    with pytest.raises(QueryCancelledError):
        lifecycle.execute(one())
    assert "cancel q1" in cluster.events


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), RuntimeError("of the watch")], ids=repr)
def test_any_exception_while_waiting_cancels_the_query_and_passes_unchanged(
    cluster: Cluster, new_try: NewTry, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def interrupt(self: ScriptedBackend, runs: Sequence[Run], seconds: float) -> None:
        raise error

    cluster.statuses["q1"] = [RUNNING]
    monkeypatch.setattr(ScriptedBackend, "watch", interrupt)

    with pytest.raises(type(error)) as caught:
        new_try().execute(one())

    assert caught.value is error
    assert cluster.events == ["submit q1", "store q1", "cancel q1", "close"]


def test_a_submission_that_fails_cancels_what_was_submitted_before(cluster: Cluster, new_try: NewTry) -> None:
    cluster.submit_errors["b"] = QueryDefinitionError("not b")

    with pytest.raises(QueryDefinitionError, match="not b"):
        new_try().execute(two())

    assert cluster.events == ["submit q1", "store q1", "cancel q1", "close"]


def test_a_result_that_cannot_be_put_into_place_is_an_error_and_stays_stored(
    cluster: Cluster, store: RecordingStore, new_try: NewTry
) -> None:
    cluster.statuses["q1"] = [SUCCEEDED]
    cluster.result_error = SinkWriteError("disk full")

    with pytest.raises(SinkWriteError, match="disk full"):
        new_try().execute(one())

    assert STORE_KEY in store.values
    assert "forget" not in cluster.events


def test_a_failure_is_raised_as_the_backend_tells_it(cluster: Cluster, store: RecordingStore, new_try: NewTry) -> None:
    error = SchemaError("no column amount")
    cluster.statuses["q1"] = [RUNNING, failed(error)]

    with pytest.raises(SchemaError) as caught:
        new_try().execute(one())

    assert caught.value is error
    assert STORE_KEY in store.values


def test_an_error_that_is_not_ours_becomes_ours(cluster: Cluster, new_try: NewTry) -> None:
    cluster.statuses["q1"] = [failed(OSError("of a client"))]

    with pytest.raises(QueryFailedError, match="The query failed with OSError: of a client") as caught:
        new_try().execute(one())

    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize(
    ("state", "kind", "message"),
    [
        (RunState.CANCELLED, QueryCancelledError, "query q1 was cancelled, not by this task"),
        (RunState.LOST, QueryFailedError, r"query q1 is not known to LocalCompute\(\) any more"),
        (RunState.FAILED, QueryFailedError, r"query q1 failed and LocalCompute\(\) gave no reason"),
    ],
)
def test_every_end_but_success_is_an_error_even_without_a_reason(
    cluster: Cluster, new_try: NewTry, state: RunState, kind: type[PolarsProviderError], message: str
) -> None:
    cluster.statuses["q1"] = [RUNNING, RunStatus(state=state)]

    with pytest.raises(kind, match=message):
        new_try().execute(one())

    assert "result q1" not in cluster.events
    assert cluster.events[-1] == "close"


def test_all_outputs_end_before_the_failed_ones_are_named(cluster: Cluster, new_try: NewTry) -> None:
    cluster.statuses = {
        "q1": [failed(SchemaError("no column amount."))],
        "q2": [RUNNING, RUNNING, RUNNING, failed(SchemaError("no column price."))],
    }

    with pytest.raises(SchemaError) as caught:
        new_try().execute(two())

    assert str(caught.value) == (
        "2 of 2 outputs failed. a: no column amount; b: no column price. Without error: none; "
        "what has succeeded stays in its place."
    )
    assert "result q1" not in cluster.events


def test_outputs_that_fail_for_one_reason_share_it(cluster: Cluster, new_try: NewTry) -> None:
    cluster.statuses = {name: [failed(QueryDefinitionError("must return a dict."))] for name in ("q1", "q2")}

    with pytest.raises(QueryDefinitionError, match=r"2 of 2 outputs failed\. a, b: must return a dict\. Without"):
        new_try().execute(two())


def test_states_say_whether_they_can_still_change() -> None:
    assert [state.value for state in RunState if not state.is_terminal] == ["queued", "running"]


def test_the_log_names_the_query_that_was_submitted_or_adopted(
    cluster: Cluster, store: RecordingStore, new_try: NewTry, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        leave_behind(cluster, store, new_try)
        cluster.statuses["q1"] = [SUCCEEDED]
        new_try().execute(one())

    assert "Submitted query q1 to LocalCompute()" in caplog.messages
    assert "Adopted query q1 of an earlier try" in caplog.messages


def test_handles_hold_no_credentials(cluster: Cluster) -> None:
    given = submission("m:f", ParquetSink("s3://b/a"), storage_options={"aws_secret_access_key": "hidden"})

    (run,) = submitted(ScriptedBackend(cluster), given)

    assert "hidden" not in repr(given)
    assert "hidden" not in json.dumps(run.to_dict())
    assert "hidden" in json.dumps(dataclasses.asdict(given.outputs[0])["storage_options"])
