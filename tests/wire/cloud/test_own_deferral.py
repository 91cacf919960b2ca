"""A task with a compute of its own that gives its worker back while its query runs: the instance ends with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from airflow_provider_polars import polars_task
from airflow_provider_polars.triggers.query import PolarsQueryTrigger
from tests.harness.summaries import summary
from tests.wire.cloud.tasks import CloudTasks, compute, refused, retried

if TYPE_CHECKING:
    from tests.harness.in_memory import TaskOutcome
    from tests.wire.gates import Gate

AT_ONCE: dict[str, Any] = {"deferrable": True, "defer_after": 0, "distributed": False}


class Deferring:
    """A task with one held query on an instance of its own."""

    def __init__(self, cloud: CloudTasks, gate: Gate) -> None:
        self.cloud = cloud
        self.gate = gate
        self.options: dict[str, Any] = {"compute": compute()}
        self.function: Callable[[], Any] = lambda: gate.frame("held")

    def run(self, **run: Any) -> TaskOutcome:
        """Run a try, or what ``next_method`` names."""
        return self.cloud.airflow.run_task(self.task(), **{"max_tries": 1, **self.cloud.run, **run})

    def deferred(self) -> tuple[TaskOutcome, PolarsQueryTrigger]:
        """Run the task up to its deferral; its query runs then."""
        outcome = self.run()
        assert outcome.state == "deferred", f"{outcome.state}: {outcome.error}"
        trigger = outcome.trigger()
        assert isinstance(trigger, PolarsQueryTrigger)
        self.gate.wait_until_started("held")
        return outcome, trigger

    def go_on(self, outcome: TaskOutcome, event: dict[str, Any], **run: Any) -> TaskOutcome:
        """Run the rest of it."""
        return self.cloud.airflow.resume(self.task(), outcome, event, **{"max_tries": 1, **self.cloud.run, **run})

    def task(self) -> Any:
        """Return the task."""
        return polars_task(task_id="query", **AT_ONCE | self.options)(self.function)()


@pytest.fixture
def deferring(cloud: CloudTasks, gate: Gate) -> Deferring:
    return Deferring(cloud, gate)


def event_of(trigger: PolarsQueryTrigger) -> dict[str, Any]:
    """Return the payload of the event of a trigger."""

    async def run() -> dict[str, Any]:
        (event,) = [event async for event in trigger.run()]
        return dict(event.payload)

    return asyncio.run(run())


def test_it_lives_while_the_task_is_deferred_and_is_stopped_after(
    deferring: Deferring, mode: str, capfd: pytest.CaptureFixture[str]
) -> None:
    deferring.options["compute"] = compute(connection_mode=mode)
    outcome, trigger = deferring.deferred()
    alive = deferring.cloud.plane.running
    deferring.gate.open()

    done = deferring.go_on(outcome, event_of(trigger))

    assert alive == deferring.cloud.plane.started == deferring.cloud.plane.stopped
    assert len(alive) == 1
    assert done.result["rows"] == 1
    assert done.state_store["polars_runs"]["results"] == {"return_value": done.result}
    told = summary(capfd.readouterr().out)
    assert told["ran on"] == f"instance {alive[0]}, {mode} mode, 2 vCPUs"
    assert told["used"].endswith(" minutes of 2 vCPUs")


def test_a_query_that_fails_stops_it(deferring: Deferring) -> None:
    held = deferring.function
    deferring.function = lambda: held().select(pl.col("name").cast(pl.Int64))
    outcome, trigger = deferring.deferred()
    deferring.gate.open()

    refused(deferring.go_on(outcome, event_of(trigger), max_tries=0))

    assert deferring.cloud.plane.stopped == deferring.cloud.plane.started


def test_a_query_that_is_late_is_cancelled_and_stops_it(deferring: Deferring) -> None:
    deferring.options["timeout"] = 0.5
    outcome, trigger = deferring.deferred()

    event = event_of(trigger)
    message = retried(deferring.go_on(outcome, event))

    assert event["status"] == "timeout"
    assert message.startswith("QueryTimeoutError: ")
    assert deferring.cloud.plane.stopped == deferring.cloud.plane.started


def test_the_execution_timeout_counts_from_the_start_of_the_try_and_not_from_the_readiness(
    deferring: Deferring,
) -> None:
    deferring.options["execution_timeout"] = timedelta(minutes=5)
    begun = time.time()

    _, trigger = deferring.deferred()

    assert trigger.deadline is not None
    boot = trigger.runs[0]["submitted_at"] - begun
    assert begun + 300 <= trigger.deadline < begun + 300 + boot / 2


def test_a_kill_of_the_deferred_task_stops_it(deferring: Deferring) -> None:
    _, trigger = deferring.deferred()

    asyncio.run(trigger.on_kill())

    assert deferring.cloud.plane.running == []
    deferring.cloud.wait_until_ended()
    assert deferring.cloud.plane.stopped == deferring.cloud.plane.started


def test_a_kill_of_a_task_that_was_cleared_cancels_its_query_and_leaves_the_instance_to_the_next_try(
    deferring: Deferring, monkeypatch: pytest.MonkeyPatch
) -> None:
    deferring.options["compute"] = compute(connection_mode="direct")
    _, trigger = deferring.deferred()
    trigger._task_instance = SimpleNamespace(dag_id="sales", task_id="query", run_id="manual", map_index=-1)
    states = {"manual": {"query": "scheduled"}}
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(lambda **asked: states))

    asyncio.run(trigger.on_kill())
    cancels = deferring.cloud.records(trigger.runs[0]["compute"], "CancelQuery")
    again = deferring.run(try_number=2, max_tries=2)

    assert len(cancels) == 1
    assert again.state == "deferred"
    assert again.trigger().runs[0]["query_id"] != trigger.runs[0]["query_id"]
    assert deferring.cloud.plane.running == deferring.cloud.plane.started
    assert len(deferring.cloud.plane.started) == 1


def test_the_end_of_a_triggerer_leaves_it_alone(deferring: Deferring) -> None:
    _, trigger = deferring.deferred()

    asyncio.run(trigger.cleanup())

    assert deferring.cloud.plane.running == deferring.cloud.plane.started


def test_a_trigger_that_fails_stops_it(deferring: Deferring) -> None:
    deferring.deferred()

    failed = deferring.run(next_method=TRIGGER_FAIL_REPR, next_kwargs={"error": "Trigger failure"})

    assert retried(failed).startswith("TaskDeferralError")
    assert deferring.cloud.plane.stopped == deferring.cloud.plane.started


def test_an_instance_that_is_lost_meanwhile_is_replaced_by_a_retry(deferring: Deferring) -> None:
    outcome, trigger = deferring.deferred()
    deferring.cloud.plane.kill(deferring.cloud.plane.started[0], "the machine was lost")

    lost = deferring.go_on(outcome, event_of(trigger))
    deferring.gate.open()
    again = deferring.run(try_number=2)
    if again.state == "deferred":
        again = deferring.go_on(again, event_of(again.trigger()))

    assert retried(lost)
    assert again.state == "success"
    assert len(deferring.cloud.plane.started) == 2
    assert deferring.cloud.plane.running == []


def test_a_try_that_is_lost_while_it_goes_on_is_adopted_with_its_query(deferring: Deferring) -> None:
    """As by a worker that is killed after the event."""
    outcome, _ = deferring.deferred()
    query = outcome.trigger().runs[0]["query_id"]
    deferring.gate.open()

    again = deferring.run(try_number=2)
    if again.state == "deferred":
        again = deferring.go_on(again, event_of(again.trigger()))

    assert again.result["query_id"] == query
    assert deferring.cloud.plane.stopped == deferring.cloud.plane.started
    assert len(deferring.cloud.plane.started) == 1
