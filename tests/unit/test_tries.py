"""What a try does with the queries of an earlier one, and what it leaves to the next."""

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
    QueryCancelledError,
    QueryDefinitionError,
    QueryFailedError,
    QueryTimeoutError,
)
from airflow_provider_polars.kept_runs import STORE_KEY, Try
from tests.unit.scripted_backend import LOST, QUEUED, RUNNING, SUCCEEDED, Tries, failed, one, two

CANCELLED = RunStatus(state=RunState.CANCELLED)
AWAY = ClusterUnreachableError("the cluster is away")


@pytest.fixture
def tries() -> Tries:
    """Return the tries of a task that nobody has tried yet."""
    return Tries()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tries wait a moment alone for the end of what they cancel."""
    monkeypatch.setattr(lifecycle, "CANCEL_SECONDS", 0.02)


def stored(tries: Tries) -> list[str]:
    """Return the ids of the queries that the next try will find."""
    return [run["query_id"] for run in tries.store.values[STORE_KEY]["runs"]]


# ---- queries that no other try can take over


@pytest.mark.parametrize("status", [QUEUED, RUNNING, SUCCEEDED, LOST], ids=lambda status: status.state.value)
def test_queries_that_cannot_be_adopted_are_cancelled_before_others_are_submitted(
    tries: Tries, status: RunStatus
) -> None:
    """As those of a function that submits by itself: it has to run again."""
    tries.cluster.adoptable = False
    tries.leave_behind(two())
    tries.cluster.statuses = {"q1": [status], "q2": [RUNNING], "q3": [SUCCEEDED], "q4": [SUCCEEDED]}

    results = tries.new().execute(two())

    assert [result.query_id for result in results.values()] == ["q3", "q4"]
    assert tries.cluster.events[2:6] == ["cancel q1", "cancel q2", "submit q3", "store q3"]


def test_one_query_that_cannot_be_adopted_is_enough_to_submit_all_anew(tries: Tries) -> None:
    tries.leave_behind(two())
    tries.store.values[STORE_KEY]["runs"][1]["adoptable"] = False
    tries.cluster.statuses |= {"q3": [SUCCEEDED], "q4": [SUCCEEDED]}

    results = tries.new().execute(two())

    assert [result.query_id for result in results.values()] == ["q3", "q4"]


def test_a_handle_that_an_earlier_version_stored_can_be_adopted(tries: Tries) -> None:
    tries.leave_behind(one())
    for name in ("adoptable", "link"):
        del tries.store.values[STORE_KEY]["runs"][0][name]
    tries.cluster.statuses["q1"] = [SUCCEEDED]

    assert tries.new().execute(one())["return_value"].query_id == "q1"


# ---- a cancel is confirmed, or nothing is submitted


def test_nothing_is_submitted_until_the_end_of_the_earlier_query_is_seen(tries: Tries) -> None:
    tries.leave_behind(one())
    tries.cluster.obeys = False
    tries.cluster.statuses |= {"q1": [RUNNING, RUNNING, CANCELLED], "q2": [SUCCEEDED]}

    assert tries.new(max_tries=10).execute(one())["return_value"].query_id == "q2"
    submitted = tries.cluster.events.index("submit q2")
    assert set(tries.cluster.events[1:submitted]) == {"cancel q1"}
    assert tries.cluster.statuses["q1"] == [CANCELLED]


@pytest.mark.parametrize("script", [[RUNNING], [AWAY]], ids=["runs on", "cannot be asked"])
def test_nothing_is_submitted_where_the_end_of_the_earlier_query_is_not_seen_in_time(
    tries: Tries, impatient: None, caplog: pytest.LogCaptureFixture, script: Any
) -> None:
    tries.leave_behind(one())
    tries.cluster.obeys = False
    tries.cluster.statuses["q1"] = script

    with pytest.raises(QueryFailedError) as caught:
        tries.new(max_tries=10).execute(one())

    assert str(caught.value) == (
        "query q1 of an earlier try was told to end, which is not confirmed: nothing was submitted, or two queries "
        "would write one result. Try again, or end it at LocalCompute() by hand."
    )
    assert list(dict.fromkeys(tries.cluster.events)) == ["submit q1", "cancel q1", "close"]
    assert stored(tries) == ["q1"]
    assert warnings(caplog) == ["query q1 was told to end, which is not confirmed: look at LocalCompute()"]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what someone should read."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_try_after_that_asks_again(tries: Tries, impatient: None) -> None:
    tries.leave_behind(one())
    tries.cluster.obeys = False
    with pytest.raises(QueryFailedError):
        tries.new(max_tries=10).execute(one())
    tries.cluster.obeys = True
    tries.cluster.statuses["q2"] = [SUCCEEDED]

    assert tries.new(max_tries=10).execute(one())["return_value"].query_id == "q2"


def test_a_timeout_that_is_not_confirmed_is_said_in_the_log(
    tries: Tries, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    tries.cluster.obeys = False
    tries.cluster.statuses = {"q1": [RUNNING], "q2": [SUCCEEDED]}

    with pytest.raises(QueryTimeoutError):
        tries.new().execute(two(timeout=0.01))

    assert warnings(caplog) == ["query q1 (a) was told to end, which is not confirmed: look at LocalCompute()"]


def test_a_cancel_that_is_confirmed_is_not_worth_a_warning(tries: Tries, caplog: pytest.LogCaptureFixture) -> None:
    tries.cluster.statuses["q1"] = [RUNNING]

    with pytest.raises(QueryTimeoutError):
        tries.new().execute(one(timeout=0.01))

    assert warnings(caplog) == []


def test_a_killed_task_asks_for_the_end_and_does_not_wait_for_it(
    tries: Tries, caplog: pytest.LogCaptureFixture
) -> None:
    tries.cluster.obeys = False
    tries.cluster.statuses["q1"] = [RUNNING]
    killed = tries.new()
    killed.kill()
    started = time.monotonic()

    with pytest.raises(QueryCancelledError):
        killed.execute(one())

    assert time.monotonic() - started < lifecycle.CANCEL_SECONDS / 3
    assert warnings(caplog) == ["query q1 was told to end, which is not confirmed: look at LocalCompute()"]


# ---- a cluster that is away


def test_queries_of_a_cluster_that_is_away_are_left_alone_and_adopted_by_the_next_try(tries: Tries) -> None:
    tries.cluster.statuses = {"q1": [RUNNING, AWAY], "q2": [RUNNING]}

    with pytest.raises(ClusterUnreachableError) as caught:
        tries.new().execute(two())

    assert caught.value is AWAY
    assert stored(tries) == ["q1", "q2"]
    tries.cluster.statuses = {"q1": [SUCCEEDED], "q2": [RUNNING, SUCCEEDED]}
    results = tries.new().execute(two())
    assert [result.query_id for result in results.values()] == ["q1", "q2"]
    assert [event for event in tries.cluster.events if event.startswith(("submit", "cancel"))] == [
        "submit q1",
        "submit q2",
    ]


def test_queries_that_the_next_try_could_not_adopt_are_told_to_end_even_so(
    tries: Tries, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    tries.cluster.adoptable = False
    tries.cluster.statuses["q1"] = [RUNNING, AWAY]

    with pytest.raises(ClusterUnreachableError):
        tries.new().execute(one())

    assert "cancel q1" in tries.cluster.events
    assert warnings(caplog) == ["query q1 was told to end, which is not confirmed: look at LocalCompute()"]
    assert stored(tries) == ["q1"]


def test_a_cluster_that_goes_away_between_two_submissions_leaves_the_first_to_the_next_try(tries: Tries) -> None:
    """Which cannot adopt one of two, and so ends it and submits both."""
    tries.cluster.statuses["q1"] = [RUNNING]
    tries.cluster.submit_errors["b"] = AWAY
    with pytest.raises(ClusterUnreachableError):
        tries.new().execute(two())
    assert (stored(tries), "cancel q1" in tries.cluster.events) == (["q1"], False)

    tries.cluster.submit_errors.clear()
    tries.cluster.statuses |= {"q2": [SUCCEEDED], "q3": [SUCCEEDED]}
    results = tries.new().execute(two())

    assert [result.query_id for result in results.values()] == ["q2", "q3"]
    assert tries.cluster.events.index("cancel q1") < tries.cluster.events.index("submit q2")


def test_a_killed_task_cancels_also_what_a_cluster_that_is_away_was_given(tries: Tries) -> None:
    """The kill came before the query was submitted, and so could not cancel it."""
    tries.cluster.statuses["q1"] = [RUNNING]
    tries.cluster.submit_errors["b"] = AWAY
    killed = tries.new()
    killed.kill()

    with pytest.raises(QueryCancelledError, match=r"The task was killed; query q1 \(a\) was cancelled\.") as caught:
        killed.execute(two())

    assert caught.value.__cause__ is AWAY
    assert "cancel q1" in tries.cluster.events


def test_a_cluster_that_refuses_the_caller_of_a_sudden_may_run_on_and_that_is_said(
    tries: Tries, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    """As when its token has changed: the query can neither be cancelled nor asked about."""
    refused = ClusterAccessError("refuses the token")
    tries.cluster.statuses["q1"] = [RUNNING, refused]

    with pytest.raises(ClusterAccessError) as caught:
        tries.new().execute(one())

    assert caught.value is refused
    assert caught.value.__context__ is None
    assert warnings(caplog) == ["query q1 was told to end, which is not confirmed: look at LocalCompute()"]
    assert stored(tries) == ["q1"]


# ---- without waiting


def test_without_waiting_the_task_ends_with_its_runs_and_leaves_them_running(tries: Tries) -> None:
    tries.cluster.statuses = {"q1": [QUEUED], "q2": [RUNNING]}

    runs = tries.new().submit(two())

    assert [(run.query_id, run.output) for run in runs] == [("q1", "a"), ("q2", "b")]
    assert tries.cluster.events[-2:] == ["announce q2", "close"]
    assert stored(tries) == ["q1", "q2"]
    assert Run.from_dict(tries.store.values[STORE_KEY]["runs"][0]) == runs[0]


@pytest.mark.parametrize(("max_tries", "expected"), [(9, "q1"), (10, "q2")])
def test_without_waiting_too_a_retry_adopts_and_a_clear_cancels(tries: Tries, max_tries: int, expected: str) -> None:
    tries.leave_behind(one())
    tries.cluster.statuses["q2"] = [RUNNING]

    (run,) = tries.new(max_tries).submit(one())

    assert run.query_id == expected
    assert ("cancel q1" in tries.cluster.events) == (expected == "q2")


def test_without_waiting_too_a_submission_that_fails_cancels_what_was_submitted_before(tries: Tries) -> None:
    tries.cluster.statuses["q1"] = [RUNNING]
    tries.cluster.submit_errors["b"] = QueryDefinitionError("not b")

    with pytest.raises(QueryDefinitionError, match="not b"):
        tries.new().submit(two())

    assert tries.cluster.statuses["q1"] == [CANCELLED]


def test_without_waiting_too_a_killed_task_cancels_what_it_has_submitted(tries: Tries) -> None:
    tries.cluster.statuses["q1"] = [RUNNING]
    killed = tries.new()
    killed.kill()

    with pytest.raises(QueryCancelledError, match=r"The task was killed; query q1 was cancelled\."):
        killed.submit(one())

    assert tries.cluster.statuses["q1"] == [CANCELLED]


# ---- a try that was lost before Airflow heard of its result


@pytest.fixture
def unheard(tries: Tries) -> Tries:
    """Return the tries of a task that had its results; its queries, and what ran them, are gone since."""
    tries.cluster.statuses |= {"q1": [SUCCEEDED], "q2": [SUCCEEDED]}
    tries.new().execute(two())
    tries.cluster.events[:] = ["submit q1", "submit q2"]
    tries.cluster.statuses |= {"q1": [AWAY], "q2": [AWAY], "q3": [SUCCEEDED], "q4": [SUCCEEDED]}
    return tries


def ids(results: Any) -> list[str]:
    """Return which queries the results are of."""
    return [result.query_id for result in results.values()]


def test_a_retry_hands_on_the_results_that_an_earlier_try_had_and_submits_nothing(unheard: Tries) -> None:
    retry = unheard.new()

    assert ids(retry.execute(two())) == ["q1", "q2"]
    assert unheard.cluster.events[2:] == ["announce q1", "announce q2", "close", "store q1 q2"]
    assert [retry.state(run) for run in retry.runs] == [RunState.SUCCEEDED] * 2


def test_so_does_the_retry_after_it(unheard: Tries) -> None:
    unheard.new().execute(two())

    assert ids(unheard.new().execute(two())) == ["q1", "q2"]


@pytest.mark.parametrize(
    "later",
    [
        {"attempt": Try(2, 10, 1)},
        {"attempt": Try(2, 9, 0)},
        {"attempt": Try(1, 9, 1)},
        {"attempt": Try(2, 9, 1), "durable": False},
    ],
    ids=["cleared", "cleared with fewer retries", "run by hand", "not durable"],
)
def test_any_other_try_runs_the_queries_again_and_cancels_nothing(unheard: Tries, later: dict[str, Any]) -> None:
    """Fewer retries may make up for what a clear adds to ``max_tries``; ``airflow tasks test`` raises no number."""
    assert ids(unheard.new(**later).execute(two())) == ["q3", "q4"]
    assert not [event for event in unheard.cluster.events if event.startswith("cancel")]


def test_results_of_other_outputs_are_of_no_use(unheard: Tries) -> None:
    assert ids(unheard.new().execute(one())) == ["q3"]


@pytest.mark.parametrize("adoptable", [True, False], ids=["not durable", "submitted by the function"])
def test_results_that_no_retry_may_take_are_not_kept(tries: Tries, adoptable: bool) -> None:
    tries.cluster.adoptable = adoptable
    tries.cluster.statuses["q1"] = [SUCCEEDED]

    tries.new(durable=not adoptable).execute(one())

    assert tries.store.values == {}


def test_a_query_of_before_the_task_was_cleared_with_fewer_retries_is_cancelled(tries: Tries) -> None:
    tries.leave_behind(one())
    tries.cluster.statuses["q2"] = [SUCCEEDED]

    assert ids(tries.new(attempt=Try(2, 9, 0)).execute(one())) == ["q2"]
    assert "cancel q1" in tries.cluster.events


# ---- what is announced


def test_each_query_is_announced_as_soon_as_it_is_stored(tries: Tries) -> None:
    tries.cluster.statuses = {"q1": [SUCCEEDED], "q2": [failed(QueryFailedError("no"))]}

    with pytest.raises(QueryFailedError):
        tries.new().execute(two())

    assert tries.cluster.events[:6] == [
        "submit q1",
        "store q1",
        "announce q1",
        "submit q2",
        "store q1 q2",
        "announce q2",
    ]


def test_queries_that_are_adopted_are_announced_too(tries: Tries) -> None:
    tries.leave_behind(two())
    tries.cluster.statuses = {"q1": [SUCCEEDED], "q2": [SUCCEEDED]}

    tries.new().execute(two())

    assert tries.cluster.events[2:4] == ["announce q1", "announce q2"]


def test_queries_that_are_not_adopted_are_not_announced(tries: Tries) -> None:
    tries.leave_behind(one())
    tries.cluster.statuses["q2"] = [SUCCEEDED]

    tries.new(max_tries=10).execute(one())

    assert [event for event in tries.cluster.events if event.startswith("announce")] == ["announce q2"]


def test_an_announcement_that_fails_cancels_the_query_which_is_stored(
    tries: Tries, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run) -> None:
        raise RuntimeError("no XCom")

    tries.cluster.statuses["q1"] = [RUNNING]
    failing = tries.new()
    monkeypatch.setattr(failing, "announce", fail)

    with pytest.raises(RuntimeError, match="no XCom"):
        failing.execute(one())

    assert tries.cluster.statuses["q1"] == [CANCELLED]
    assert stored(tries) == ["q1"]
