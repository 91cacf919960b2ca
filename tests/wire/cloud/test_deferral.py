"""Tasks that give their worker back while an instance starts and while it stops, and go on afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR

from airflow_provider_polars import PolarsStartComputeOperator, PolarsStopComputeOperator
from airflow_provider_polars.backends import rounds
from airflow_provider_polars.triggers import compute as compute_trigger
from airflow_provider_polars.triggers import compute_watches
from airflow_provider_polars.triggers.compute import PolarsComputeTrigger
from tests.harness.waiting import wait_for
from tests.wire.cloud.tasks import LOOK_CALL, STOP_CALL, CloudTasks, compute, retried

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.harness.in_memory import TaskOutcome

LIST_CALL = "GET workspace/*/compute"
AT_ONCE: dict[str, Any] = {"deferrable": True, "defer_after": 0}


@pytest.fixture(scope="module")
def slow_plane() -> Iterator[ControlPlane]:
    """Run a control plane whose instances take two seconds to start, and one to stop."""
    from airflow_provider_polars.testing import start_control_plane

    with start_control_plane("--starting-seconds", "2", "--stopping-seconds", "1") as plane:
        yield plane


@pytest.fixture
def polars_control_plane(slow_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlPlane]:
    """Return it without instances."""
    from airflow_provider_polars.testing.environment import set_environment

    set_environment(slow_plane.environment, monkeypatch)
    slow_plane.reset()
    yield slow_plane
    slow_plane.reset()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(rounds, "_FIRST_PAUSE_SECONDS", 0.05)


class Deferring:
    """Starts and stops that defer at once, and what a triggerer does for them."""

    def __init__(self, cloud: CloudTasks) -> None:
        self.cloud = cloud
        self.plane = cloud.plane

    def start(self, **options: Any) -> TaskOutcome:
        """Run a start up to its deferral."""
        run = {name: options.pop(name) for name in ("run_id", "try_number") if name in options}
        return self.cloud.airflow.run_task(self._start(**options), **{**self.cloud.run, "max_tries": 1, **run})

    def stop(self, handle: Any) -> TaskOutcome:
        """Run a stop up to its deferral."""
        return self.cloud.airflow.run_task(self._stop(handle), max_tries=1, **self.cloud.run)

    def start_goes_on(self, outcome: TaskOutcome, event: dict[str, Any], **options: Any) -> TaskOutcome:
        """Run the rest of a start."""
        return self.cloud.airflow.resume(self._start(**options), outcome, event, max_tries=1, **self.cloud.run)

    def stop_goes_on(self, handle: Any, outcome: TaskOutcome, event: dict[str, Any]) -> TaskOutcome:
        """Run the rest of a stop."""
        return self.cloud.airflow.resume(self._stop(handle), outcome, event, max_tries=1, **self.cloud.run)

    def _start(self, **options: Any) -> PolarsStartComputeOperator:
        return PolarsStartComputeOperator(task_id="start", compute=compute(), **AT_ONCE | options)

    def _stop(self, handle: Any) -> PolarsStopComputeOperator:
        return PolarsStopComputeOperator(task_id="stop", compute=handle, **AT_ONCE)


@pytest.fixture
def ignored_sigterm() -> Iterator[None]:
    """Keep a signal that comes when no task runs from ending the tests."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def deferring(cloud: CloudTasks) -> Deferring:
    return Deferring(cloud)


def trigger_of(outcome: TaskOutcome) -> PolarsComputeTrigger:
    """Return the trigger of a task that is deferred."""
    assert outcome.state == "deferred", f"{outcome.state}: {outcome.error}"
    trigger = outcome.trigger()
    assert isinstance(trigger, PolarsComputeTrigger)
    return trigger


async def event_of(trigger: PolarsComputeTrigger) -> dict[str, Any]:
    """Return the payload of the event of a trigger."""
    ((payload),) = [event.payload async for event in trigger.run()]
    return dict(payload)


def fired(*outcomes: TaskOutcome) -> list[dict[str, Any]]:
    """Run the triggers of tasks in one process, and return the payloads of their events."""

    async def run() -> list[dict[str, Any]]:
        return await asyncio.gather(*(event_of(trigger_of(outcome)) for outcome in outcomes))

    return asyncio.run(run())


# ---- both


def test_start_and_stop_go_on_when_the_instance_is_there_and_when_it_has_gone(deferring: Deferring) -> None:
    started = deferring.start()
    (ready,) = fired(started)
    handle = deferring.start_goes_on(started, ready).result
    stopped = deferring.stop(handle)
    (over,) = fired(stopped)
    report = deferring.stop_goes_on(handle, stopped, over).result

    assert (ready["status"], over["status"]) == ("ready", "over")
    (instance,) = deferring.plane.instances
    assert (report["compute_id"], report["end"], instance["state"]) == (instance["id"], "StoppedByUser", "Stopped")
    assert report["minutes"] == pytest.approx(instance["billable_seconds"] / 60, abs=0.05)
    assert len(deferring.plane.recorder.calls(STOP_CALL)) == 1
    assert len(deferring.plane.recorder.calls("DELETE workspace/*/manifest")) == 1


def test_instances_of_a_workspace_are_asked_about_in_one_request(deferring: Deferring) -> None:
    outcomes = [deferring.start(run_id=f"run {number}") for number in range(8)]
    deferring.plane.recorder.forget()

    events = fired(*outcomes)

    assert {event["status"] for event in events} == {"ready"}
    lists, looks = (deferring.plane.recorder.calls(call) for call in (LIST_CALL, LOOK_CALL))
    assert len(lists) > 2
    assert len([look for look in looks if look["index"] < lists[-1]["index"]]) <= 1, "but for the first trigger alone"


def test_they_are_asked_about_one_by_one_where_they_may_not_be_listed(deferring: Deferring) -> None:
    outcomes = [deferring.start(run_id=f"run {number}") for number in range(3)]
    deferring.plane.faults.add(LIST_CALL, "answer", status=403, body={"message": "no lists"}, times=None)
    deferring.plane.recorder.forget()

    assert {event["status"] for event in fired(*outcomes)} == {"ready"}

    assert len(deferring.plane.recorder.calls(LOOK_CALL)) > 3 * len(outcomes)


@pytest.mark.parametrize("fault", [{"do": "drop"}, {"do": "answer", "status": 503}, {"do": "answer", "status": 403}])
def test_what_passes_is_ridden_out(deferring: Deferring, fault: dict[str, Any]) -> None:
    outcome = deferring.start()
    deferring.plane.faults.add("* workspace/*", times=3, **fault)

    (event,) = fired(outcome)

    assert deferring.start_goes_on(outcome, event).state == "success"


def test_a_service_that_stays_away_is_asked_by_the_task_itself_until_its_time_is_over(
    deferring: Deferring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute_watches, "GRACE_SECONDS", 0.2)
    outcome = deferring.start()
    deferring.plane.faults.add("* workspace/*", "answer", status=503, times=None)

    (event,) = fired(outcome)
    again = deferring.start_goes_on(outcome, event)
    deferring.plane.faults.clear()
    (ready,) = fired(again)

    assert event["status"] == "unreachable"
    assert trigger_of(again).serialize() == trigger_of(outcome).serialize()
    assert deferring.start_goes_on(again, ready).state == "success"


# ---- start


def test_an_instance_that_fails_meanwhile_is_told_with_its_reason(deferring: Deferring) -> None:
    deferring.plane.fail_starts("no machine of this size is to be had")
    outcome = deferring.start()

    (event,) = fired(outcome)
    message = retried(deferring.start_goes_on(outcome, event))

    assert event["status"] == "over"
    assert message.startswith("ComputeStartError: ")
    assert "Failed: no machine of this size is to be had" in message
    assert deferring.plane.running == []


def test_an_instance_that_is_late_is_stopped(deferring: Deferring) -> None:
    outcome = deferring.start(start_timeout=0.3)

    (event,) = fired(outcome)
    message = retried(deferring.start_goes_on(outcome, event, start_timeout=0.3))

    assert event["status"] == "timeout"
    assert "was not ready within 0.3 seconds: it is Starting" in message
    deferring.cloud.wait_until_ended()


def test_the_next_try_adopts_what_it_finds(deferring: Deferring) -> None:
    deferring.start()
    again = deferring.start(try_number=2)
    (event,) = fired(again)

    handle = deferring.start_goes_on(again, event).result

    assert deferring.plane.running == deferring.plane.started == [handle["compute_id"]]


@pytest.mark.parametrize("away", [0, 3])
def test_a_kill_stops_the_instance_and_sees_that_it_has_ended(deferring: Deferring, away: int) -> None:
    trigger = trigger_of(deferring.start())
    if away:
        deferring.plane.faults.add("* workspace/*", "answer", status=503, times=away)

    asyncio.run(trigger.on_kill())

    (instance,) = deferring.plane.instances
    assert instance["state"] == "Stopped"
    assert len(deferring.plane.recorder.calls("DELETE workspace/*/manifest")) == 1


def test_a_start_that_is_cleared_starts_anew_beside_the_end_of_the_old_instance(deferring: Deferring) -> None:
    old = trigger_of(deferring.start())

    async def clear() -> TaskOutcome:
        killing = asyncio.ensure_future(old.on_kill())
        await asyncio.to_thread(
            wait_for, lambda: deferring.plane.recorder.calls(STOP_CALL) or None, 20, lambda: STOP_CALL, 0.02
        )
        again = deferring.start(try_number=2)
        await killing
        return again

    again = asyncio.run(clear())
    (event,) = fired(again)
    handle = deferring.start_goes_on(again, event).result

    assert handle["compute_id"] != old.handle["compute_id"]
    assert deferring.plane.running == [handle["compute_id"]]
    assert deferring.plane.stopped == [old.handle["compute_id"]]


def test_a_kill_leaves_alone_what_was_adopted_and_is_ready_by_now(deferring: Deferring) -> None:
    first = deferring.start()
    again = trigger_of(deferring.start(try_number=2))
    fired(first)

    asyncio.run(again.on_kill())

    assert deferring.plane.running == [again.handle["compute_id"]]


def test_a_kill_of_the_worker_that_goes_on_stops_the_instance(deferring: Deferring, ignored_sigterm: None) -> None:
    outcome = deferring.start()
    event = {**trigger_of(outcome).serialize()[1], "status": "failed", "message": "no such connection", "at": 0.0}
    looks = len(deferring.plane.recorder.calls(LOOK_CALL))

    def terminate() -> None:
        wait_for(lambda: len(deferring.plane.recorder.calls(LOOK_CALL)) > looks or None, 20, lambda: LOOK_CALL, 0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=terminate)
    killer.start()
    message = retried(deferring.start_goes_on(outcome, event))
    killer.join()

    assert "The task was killed" in message
    deferring.cloud.wait_until_ended()
    assert deferring.plane.stopped == deferring.plane.started


def test_a_trigger_that_fails_stops_the_instance(deferring: Deferring) -> None:
    deferring.start()

    failed = deferring.cloud.airflow.run_task(
        deferring._start(),
        next_method=TRIGGER_FAIL_REPR,
        next_kwargs={"error": "Trigger failure"},
        max_tries=1,
        **deferring.cloud.run,
    )

    assert retried(failed).startswith("TaskDeferralError")
    (instance,) = deferring.plane.instances
    assert instance["state"] == "Stopped"


# ---- stop


def test_a_stop_that_the_service_has_forgotten_is_told_again(
    deferring: Deferring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute_trigger, "SAY_AGAIN_SECONDS", 0.1)
    handle = deferring.cloud.started()
    deferring.plane.faults.add(STOP_CALL, "answer", status=204)
    stopped = deferring.stop(handle)

    (event,) = fired(stopped)

    assert deferring.stop_goes_on(handle, stopped, event).state == "success"
    assert len(deferring.plane.recorder.calls(STOP_CALL)) == 2
