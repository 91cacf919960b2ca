"""A task that gives its worker back while its query runs on a cluster, and goes on once it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars import LocalCompute, ParquetSink, polars_task
from airflow_provider_polars.links.observatory import LINK_KEY
from tests.harness.summaries import summary
from tests.harness.waiting import wait_for
from tests.unit.outcomes import failure, rows, succeeded
from tests.wire.cluster.own import Meanwhile, Tasks, broken, frame, kill_task, when_started
from tests.wire.gates import START_SECONDS
from tests.wire.sensing import event_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.in_memory import TaskOutcome
    from tests.wire.gates import Gate

EARLY = {"deferrable": True, "defer_after": 0.2}


@pytest.fixture
def deferring(tasks: Tasks) -> Tasks:
    """Return tasks that defer after a moment."""
    tasks.options |= EARLY
    return tasks


def resumed(tasks: Tasks, function: Callable[[], Any], deferred: TaskOutcome, event: dict[str, Any], **run: Any) -> Any:
    """Run the rest of a deferred task."""
    task = polars_task(**tasks.options)(function)()
    return tasks.airflow.resume(task, deferred, event, **run)


Deferred = tuple["TaskOutcome", Callable[[], Any]]


@pytest.fixture
def held(deferring: Tasks, gate: Gate) -> Deferred:
    """Return a task that has deferred, its query held, and its function."""

    def function() -> Any:
        return gate.frame("held")

    outcome = deferring.run(function, max_tries=1)
    assert outcome.state == "deferred"
    return outcome, function


def test_a_query_that_ends_soon_is_waited_for_on_the_worker(tasks: Tasks) -> None:
    tasks.options |= {"deferrable": True}

    assert succeeded(tasks.run(frame))["rows"] == 3


def test_a_long_query_is_waited_for_without_a_worker_and_its_result_is_handed_on(
    deferring: Tasks, gate: Gate, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    deferring.options |= {"sink": ParquetSink(str(tmp_path / "result.parquet"))}

    def function() -> Any:
        return gate.frame("held")

    deferred = deferring.run(function)
    assert deferred.state == "deferred"
    event = event_of(deferred.trigger(), gate.open)
    outcome = resumed(deferring, function, deferred, event)

    assert event["status"] == "ended"
    assert event["states"] == {deferring.submitted[0]: "succeeded"}
    assert rows(succeeded(outcome)) == [{"name": "held"}]
    assert len(deferring.submitted) == 1
    told = summary(capfd.readouterr().out)
    assert (told["query"], told["rows"]) == (deferring.submitted[0], "1")
    assert told["ran on"] == f"cluster {deferring.cluster.uri}"


def test_several_outputs_are_waited_for_by_one_trigger(deferring: Tasks, gate: Gate, tmp_path: Path) -> None:
    deferring.options |= {"sink": {name: ParquetSink(str(tmp_path / f"{name}.parquet")) for name in ("a", "b")}}

    def function() -> Any:
        return {"a": gate.frame("a"), "b": frame()}

    deferred = deferring.run(function)
    assert deferred.state == "deferred", deferred.error
    event = event_of(deferred.trigger(), gate.open)
    results = succeeded(resumed(deferring, function, deferred, event))

    assert set(event["states"].values()) == {"succeeded"}
    assert {name: rows(result) for name, result in results.items()} == {
        "a": [{"name": "a"}],
        "b": [{"a": number} for number in range(3)],
    }


def test_what_the_function_submits_by_itself_is_waited_for_on_the_worker(deferring: Tasks, gate: Gate) -> None:
    opening = when_started(gate, "held", gate.open)

    outcome = deferring.run(lambda: gate.frame("held").remote().execute(blocking=False), defer_after=0.0)
    opening.join()

    assert outcome.state == "success"


def test_a_query_on_the_worker_is_waited_for_there(deferring: Tasks) -> None:
    assert deferring.run(frame, compute=LocalCompute(), defer_after=0.0).state == "success"


# ---- deadlines


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ({"timeout": 0.5}, "did not end within timeout=0.5 seconds and was cancelled"),
        ({"execution_timeout": timedelta(seconds=0.7)}, "did not end within the execution_timeout of the task"),
    ],
    ids=["timeout", "execution_timeout"],
)
def test_a_deadline_holds_while_the_task_is_deferred(
    deferring: Tasks, gate: Gate, limit: dict[str, Any], words: str
) -> None:
    deferring.options |= {**limit, "defer_after": 0.1}

    def function() -> Any:
        return gate.frame("held")

    deferred = deferring.run(function)
    event = event_of(deferred.trigger())
    error = failure(resumed(deferring, function, deferred, event))

    assert event["status"] == "timeout"
    assert error.startswith(f"QueryTimeoutError: query {deferring.submitted[0]} {words}")
    assert deferring.states == ["CANCELED"]


# ---- faults of the waiting


def test_a_cluster_that_stays_out_of_reach_leaves_the_query_to_the_next_try(
    deferring: Tasks, held: Deferred, gate: Gate
) -> None:
    deferred, function = held
    event = {**idle_event(deferred), "status": "unreachable", "message": "the cluster is away"}

    outcome = resumed(deferring, function, deferred, event, max_tries=1)
    assert outcome.state == "up_for_retry"
    assert str(outcome.error) == "the cluster is away"
    assert [run.query_id for run in deferring.stored] == deferring.submitted
    gate.open()

    result = succeeded(deferring.run(function, try_number=2, max_tries=1, defer_after=60))
    assert [result["query_id"]] == deferring.submitted


@pytest.mark.parametrize(("max_tries", "state"), [(1, "IN_PROGRESS"), (0, "CANCELED")], ids=["retry left", "last try"])
def test_a_trigger_that_fails_ends_the_query_unless_a_retry_can_take_it_over(
    deferring: Tasks, held: Deferred, max_tries: int, state: str
) -> None:
    _, function = held
    task = polars_task(**deferring.options)(function)()

    outcome = deferring.airflow.run_task(
        task, next_method="__fail__", next_kwargs={"error": "Trigger failure"}, max_tries=max_tries
    )

    assert type(outcome.error).__name__ == "TaskDeferralError"
    assert deferring.states == [state]


def test_what_a_trigger_could_not_ask_about_the_worker_asks_again(deferring: Tasks, held: Deferred, gate: Gate) -> None:
    deferred, function = held
    gate.open()
    event = {**idle_event(deferred), "status": "failed", "message": "no such connection"}

    assert succeeded(resumed(deferring, function, deferred, event))["query_id"] == deferring.submitted[0]


def test_a_query_that_no_trigger_can_wait_for_is_waited_for_on_the_worker_which_says_why(
    deferring: Tasks, held: Deferred, gate: Gate, capfd: pytest.CaptureFixture[str]
) -> None:
    deferred, function = held
    deferring.options |= {"defer_after": 0.0}
    asked = len(deferring.cluster.recorder.calls("GetQueryResult"))

    def open_once_it_waits() -> None:
        calls = deferring.cluster.recorder.calls
        wait_for(lambda: len(calls("GetQueryResult")) > asked or None, START_SECONDS, str)
        gate.open()

    opening = Meanwhile(open_once_it_waits)
    event = {**idle_event(deferred), "status": "failed", "message": "no such file: ca.pem"}
    outcome = resumed(deferring, function, deferred, event)
    opening.join()

    assert succeeded(outcome)["query_id"] == deferring.submitted[0]
    assert "The wait without a worker has ended: no such file: ca.pem" in capfd.readouterr().out


def test_a_task_defers_again_if_its_query_has_not_ended_after_all(deferring: Tasks, held: Deferred, gate: Gate) -> None:
    deferred, function = held

    again = resumed(deferring, function, deferred, {**idle_event(deferred), "status": "ended"})
    assert again.state == "deferred"
    assert again.trigger().serialize() == deferred.trigger().serialize()

    event = event_of(again.trigger(), gate.open)
    assert succeeded(resumed(deferring, function, again, event))["query_id"] == deferring.submitted[0]


# ---- killed, cleared


def test_a_task_that_is_killed_as_it_goes_on_cancels_its_query_and_does_not_succeed(
    deferring: Tasks, held: Deferred, gate: Gate
) -> None:
    deferred, function = held
    deferring.options |= {"defer_after": 60.0}
    asked = len(deferring.cluster.recorder.calls())

    def kill_once_it_asks() -> None:
        wait_for(lambda: len(deferring.cluster.recorder.calls()) > asked or None, START_SECONDS, str)
        kill_task()

    killing = Meanwhile(kill_once_it_asks)
    error = failure(resumed(deferring, function, deferred, {**idle_event(deferred), "status": "ended"}))
    killing.join()

    assert error.startswith("QueryCancelledError: The task was killed; query ")
    assert deferring.states == ["CANCELED"]


def test_the_trigger_of_a_task_that_was_cleared_does_not_touch_the_query_of_the_new_try(
    deferring: Tasks, held: Deferred, gate: Gate
) -> None:
    """Airflow starts the new try before it tells the trigger of the old one."""
    deferred, function = held

    again = deferring.run(function, try_number=2, max_tries=2)
    assert again.state == "deferred"
    gate.wait_until_started("held", times=2)
    asyncio.run(deferred.trigger().on_kill())

    assert deferring.states == ["CANCELED", "IN_PROGRESS"]
    event = event_of(again.trigger(), gate.open)
    assert succeeded(resumed(deferring, function, again, event))["query_id"] == deferring.submitted[1]


def test_a_task_that_is_marked_while_deferred_cancels_its_query(deferring: Tasks, held: Deferred) -> None:
    deferred, _ = held

    asyncio.run(deferred.trigger().on_kill())

    assert deferring.states == ["CANCELED"]


def test_a_query_that_is_to_outlive_its_task_does(deferring: Tasks, gate: Gate) -> None:
    deferring.options |= {"cancel_on_kill": False}
    deferred = deferring.run(lambda: gate.frame("held"))

    asyncio.run(deferred.trigger().on_kill())

    assert deferring.states == ["IN_PROGRESS"]


def test_a_query_that_ends_with_its_task_cannot_outlive_it(deferring: Tasks) -> None:
    error = failure(deferring.run(frame, compute=LocalCompute(), cancel_on_kill=False))

    assert error.startswith("RefusedOptionError: cancel_on_kill=False cannot be honoured by LocalCompute()")


# ---- what people see


def test_each_stint_leaves_a_record_of_the_query(deferring: Tasks, held: Deferred, gate: Gate) -> None:
    deferred, function = held
    first = deferred.xcoms["polars_run"]
    event = event_of(deferred.trigger(), gate.open)

    last = resumed(deferring, function, deferred, event).xcoms["polars_run"]

    (query_id,) = deferring.submitted
    assert (first["outcome"], last["outcome"]) == ("deferred", "succeeded")
    assert first["compute"] == deferring.options["compute"].serialize()
    (running,), (ended,) = first["queries"], last["queries"]
    assert (running["query_id"], running["status"], ended["status"]) == (query_id, "running", "succeeded")
    assert (ended["rows"], ended["format"], ended["files"]) == (1, "parquet", 1)
    assert ended["timings"]["run"] > 0
    assert ended["link"] == running["link"] == deferred.xcoms[LINK_KEY]


def test_the_record_of_a_query_that_failed_says_why(deferring: Tasks) -> None:
    record = deferring.run(lambda: broken(), defer_after=60.0).xcoms["polars_run"]

    assert record["outcome"] == "failed"
    assert record["error"].startswith("QueryFailedError: ")
    assert "by design" in record["error"]
    assert [query["status"] for query in record["queries"]] == ["failed"]


def idle_event(deferred: TaskOutcome) -> dict[str, Any]:
    """Return the payload of an event whose trigger has seen no query end."""
    _, given = deferred.trigger().serialize()
    return {"message": "", "states": {}, "runs": given["runs"], "deadline": given["deadline"]}
