"""A life cycle that lets others wait: what it leaves behind when it does, and how it goes on in another process."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from airflow_provider_polars import lifecycle
from airflow_provider_polars.backends.base import Run, RunState, RunStatus
from airflow_provider_polars.exceptions import (
    ClusterAccessError,
    ClusterUnreachableError,
    CredentialsError,
    PolarsProviderError,
    QueryCancelledError,
    QueryFailedError,
    QueryTimeoutError,
)
from airflow_provider_polars.kept_runs import STORE_KEY, Try, stored_runs
from airflow_provider_polars.lifecycle import Lifecycle
from tests.unit.backends.local_runs import LOG
from tests.unit.scripted_backend import LOST, RUNNING, SUCCEEDED, ScriptedBackend, Tries, failed, one, two

AWAY = ClusterUnreachableError("the cluster is away")


@pytest.fixture
def tries() -> Tries:
    """Return the tries of a task that nobody has tried yet."""
    return Tries()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "CANCEL_SECONDS", 0.02)


def let_go(tries: Tries, given: Any = None, **options: Any) -> list[Run]:
    """Let a try submit and lose its patience at once; return the queries that run on."""
    tries.cluster.statuses |= {"q1": [RUNNING], "q2": [RUNNING]}
    assert tries.new(**options).execute(given or one(), patience=0) is None
    return stored_runs(tries.store)


def test_a_query_that_outlasts_the_patience_runs_on_and_is_kept_for_whoever_goes_on(tries: Tries) -> None:
    runs = let_go(tries)

    assert [run.query_id for run in runs] == ["q1"]
    assert tries.cluster.events == ["submit q1", "store q1", "announce q1", "close"]


def test_a_query_that_ends_within_the_patience_is_done_at_once(tries: Tries) -> None:
    tries.cluster.statuses["q1"] = [RUNNING, RUNNING, SUCCEEDED]

    results = tries.new().execute(one(), patience=60)

    assert results is not None
    assert results["return_value"].query_id == "q1"
    assert tries.store.values[STORE_KEY]["results"] == results


def test_what_the_function_submits_by_itself_is_waited_for_whatever_the_patience(tries: Tries) -> None:
    tries.cluster.adoptable = False
    tries.cluster.statuses["q1"] = [RUNNING, RUNNING, SUCCEEDED]

    assert tries.new().execute(one(), patience=0) is not None


def test_another_process_hands_on_the_results_and_keeps_them(tries: Tries) -> None:
    runs = let_go(tries, two())
    tries.cluster.statuses |= {"q1": [SUCCEEDED], "q2": [SUCCEEDED]}
    tries.cluster.events.clear()

    results = tries.new().resume(runs, timeout=None)

    assert results is not None
    assert {name: result.query_id for name, result in results.items()} == {"a": "q1", "b": "q2"}
    assert tries.cluster.events == ["announce q1", "announce q2", "result q1", "result q2", "close", "store q1 q2"]


def test_it_may_let_others_wait_once_more(tries: Tries) -> None:
    runs = let_go(tries)

    assert tries.new().resume(runs, timeout=None, patience=0) is None
    assert "cancel q1" not in tries.cluster.events


def test_a_query_that_has_failed_meanwhile_fails_the_task(tries: Tries) -> None:
    runs = let_go(tries)
    tries.cluster.statuses["q1"] = [failed(QueryFailedError("no such column"))]

    with pytest.raises(QueryFailedError, match="no such column"):
        tries.new().resume(runs, timeout=None)


def test_a_query_that_its_compute_has_forgotten_meanwhile_is_submitted_again_by_the_next_try(tries: Tries) -> None:
    runs = let_go(tries)
    tries.cluster.statuses["q1"] = [LOST]
    with pytest.raises(QueryFailedError, match="is not known to"):
        tries.new().resume(runs, timeout=None)
    tries.cluster.statuses["q2"] = [SUCCEEDED]

    results = tries.new().execute(one())

    assert results is not None
    assert results["return_value"].query_id == "q2"


# ---- deadlines


def test_the_timeout_counts_from_the_submission_and_not_from_the_resumption(tries: Tries) -> None:
    (run,) = let_go(tries)
    tries.cluster.statuses["q1"] = [RUNNING]

    with pytest.raises(QueryTimeoutError, match="q1 did not end within timeout=30 seconds and was cancelled"):
        tries.new().resume([Run(**{**run.to_dict(), "submitted_at": time.time() - 31})], timeout=30)

    assert "cancel q1" in tries.cluster.events


def test_the_execution_timeout_of_the_task_holds_too_and_is_named(tries: Tries) -> None:
    runs = let_go(tries)

    with pytest.raises(QueryTimeoutError, match="did not end within the execution_timeout of the task and was canc"):
        tries.new(deadline=time.time() - 1).resume(runs, timeout=3600)


def test_a_query_that_its_trigger_has_told_to_end_at_the_deadline_is_late_and_not_cancelled_by_others(
    tries: Tries,
) -> None:
    runs = let_go(tries)
    tries.cluster.statuses["q1"] = [RunStatus(state=RunState.CANCELLED)]

    with pytest.raises(QueryTimeoutError, match="q1 did not end within the execution_timeout of the task"):
        tries.new(deadline=time.time() - 1).resume(runs, timeout=None)


def test_the_earliest_of_all_limits_is_that_of_the_trigger(tries: Tries) -> None:
    (run,) = let_go(tries)
    backend = ScriptedBackend(tries.cluster)
    given = Lifecycle(backend, tries.store, attempt=Try(), log=LOG, deadline=run.submitted_at + 20)
    given._runs = [run]

    assert given.must_end(None) == (run.submitted_at + 20, "the execution_timeout of the task")
    assert given.must_end(10.0) == (run.submitted_at + 10, "timeout=10 seconds")
    backend.ends_at = run.submitted_at + 5
    assert given.must_end(10.0)[0] == run.submitted_at + 5


# ---- trouble with the waiting


def test_queries_out_of_reach_are_left_to_the_next_try(tries: Tries) -> None:
    runs = let_go(tries)

    with pytest.raises(ClusterUnreachableError):
        tries.new().resume(runs, timeout=None, trouble=AWAY)

    assert "cancel q1" not in tries.cluster.events
    tries.cluster.statuses["q1"] = [SUCCEEDED]
    results = tries.new().execute(one())
    assert results is not None
    assert results["return_value"].query_id == "q1"


@pytest.mark.parametrize("options", [{"max_tries": 0}, {"durable": False}], ids=str)
def test_queries_that_no_try_will_take_over_are_cancelled_when_the_waiting_ends(
    tries: Tries, options: dict[str, Any]
) -> None:
    runs = let_go(tries, **options)

    with pytest.raises(ClusterUnreachableError):
        tries.new(**options).resume(runs, timeout=None, trouble=AWAY)

    assert "cancel q1" in tries.cluster.events


@pytest.mark.parametrize("kind", [ClusterAccessError, CredentialsError])
def test_credentials_that_are_refused_confirm_no_cancel_and_hide_no_error(
    tries: Tries, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: type[PolarsProviderError]
) -> None:
    def refuse(*_: object) -> None:
        raise kind("the token is refused here too")

    first = kind("the token is refused")
    runs = let_go(tries)
    tries.cluster.statuses["q1"] = [first]
    monkeypatch.setattr(ScriptedBackend, "watch", refuse)

    with pytest.raises(kind) as caught:
        tries.new().resume(runs, timeout=None)

    assert caught.value is first
    assert "query q1 was told to end, which is not confirmed: look at LocalCompute()" in caplog.messages


# ---- durable= and cancel_on_kill=


def test_a_task_that_is_not_durable_cancels_what_an_earlier_try_submitted_and_submits_anew(tries: Tries) -> None:
    let_go(tries, durable=False)
    tries.cluster.statuses["q2"] = [SUCCEEDED]

    results = tries.new(durable=False).execute(one())

    assert results is not None
    assert results["return_value"].query_id == "q2"
    assert tries.cluster.events.index("cancel q1") < tries.cluster.events.index("submit q2")


def test_a_task_that_became_durable_does_not_adopt_what_was_submitted_before(tries: Tries) -> None:
    let_go(tries, durable=False)
    tries.cluster.statuses["q2"] = [SUCCEEDED]

    results = tries.new().execute(one())

    assert results is not None
    assert results["return_value"].query_id == "q2"


def test_a_killed_task_leaves_its_query_alone_if_it_is_told_to_and_does_not_succeed(tries: Tries) -> None:
    runs = let_go(tries)
    killed = tries.new(cancel_on_kill=False)
    killed.kill()

    with pytest.raises(QueryCancelledError, match="was killed; query q1 runs on, as cancel_on_kill=False says"):
        killed.resume(runs, timeout=None)

    assert "cancel q1" not in tries.cluster.events
    assert STORE_KEY in tries.store.values


def test_an_error_that_is_no_kill_cancels_the_query_also_with_cancel_on_kill_false(tries: Tries) -> None:
    runs = let_go(tries)

    with pytest.raises(QueryTimeoutError):
        tries.new(cancel_on_kill=False, deadline=time.time() - 1).resume(runs, timeout=None)

    assert "cancel q1" in tries.cluster.events


# ---- progress


def test_people_are_told_now_and_then_how_far_a_query_has_come(
    tries: Tries, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lifecycle, "FIRST_WORD_SECONDS", 0.0)
    monkeypatch.setattr(ScriptedBackend, "progress", lambda self, run: "2 of 5 stages done")
    tries.cluster.statuses["q1"] = [*[RUNNING] * 6, SUCCEEDED]

    with caplog.at_level(logging.INFO):
        tries.new().execute(one())

    told = [record.getMessage() for record in caplog.records if "runs for" in record.getMessage()]
    assert set(told) == {"query q1 runs for 0.0 minutes: 2 of 5 stages done"}


# ---- figures


class Counted:
    """Metrics that are kept."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.states: list[str] = []

    def count(self, name: str, by: float = 1, **tags: str) -> None:
        self.names.append(name)

    def time(self, name: str, seconds: float, **tags: str) -> None:
        assert seconds >= 0
        self.names.append(name)
        self.states.append(tags["state"])


@pytest.mark.parametrize(
    ("status", "counted"),
    [
        (SUCCEEDED, []),
        (failed(QueryFailedError("no")), []),
        (RunStatus(state=RunState.CANCELLED), ["query.cancelled"]),
        (LOST, ["query.lost"]),
    ],
    ids=lambda value: value.state.value if isinstance(value, RunStatus) else "",
)
def test_each_query_is_counted_once_and_its_end_once(tries: Tries, status: RunStatus, counted: list[str]) -> None:
    metrics: Any = Counted()
    tries.cluster.statuses["q1"] = [RUNNING, status]

    try:
        tries.new(metrics=metrics).execute(one())
    except (QueryFailedError, QueryCancelledError):
        assert status is not SUCCEEDED

    assert metrics.names == ["query.submitted", "query.duration", *counted]
    assert metrics.states == [status.state.value]


def test_an_adopted_query_is_counted_as_such(tries: Tries) -> None:
    let_go(tries)
    metrics: Any = Counted()
    tries.cluster.statuses["q1"] = [RUNNING, SUCCEEDED]

    tries.new(metrics=metrics).execute(one())

    assert metrics.names == ["query.reattached", "query.duration"]
