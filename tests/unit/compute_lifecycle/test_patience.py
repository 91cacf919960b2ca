"""A start and a stop that outlast the patience of a process, and another process that goes on with them."""

from __future__ import annotations

import dataclasses
import logging
import time

import pytest

from airflow_provider_polars import CloudCompute, compute_lifecycle
from airflow_provider_polars.backends.managing import ComputeStatus
from airflow_provider_polars.compute_lifecycle import Pending
from airflow_provider_polars.exceptions import (
    ComputeStartError,
    ComputeStopError,
    ConfigurationError,
    ControlPlaneUnavailableError,
)
from tests.unit.scripted_manager import (
    AWAY,
    FAILED,
    GONE,
    HANDLE,
    OWNER,
    READY,
    REQUESTED,
    SOMEBODY_ELSES,
    SOON,
    STARTING,
    STOPPED,
    STOPPING,
    Process,
    Service,
)

UNDONE = ["stop", "forget"]


def pending(*, adopted: bool = False, age: float = 0.0, ready_at: float | None = None) -> Pending[CloudCompute]:
    """Return a start that another process has begun ``age`` seconds ago."""
    return Pending(handle=HANDLE, adopted=adopted, since=time.time() - age, ready_at=ready_at)


# ---- start


def test_a_start_that_outlasts_the_patience_goes_on_and_is_kept(service: Service, process: Process) -> None:
    service.statuses = [STARTING]
    before = time.time()

    assert process.lifecycle.start(OWNER, SOON, patience=0.01) == HANDLE

    kept = process.lifecycle.pending
    assert kept is not None
    assert process.kept == [kept]
    assert (kept.handle, kept.adopted) == (HANDLE, False)
    assert before <= kept.since <= time.time()
    assert service.events == ["start"]
    assert process.announced == [HANDLE]


def test_without_patience_one_look_is_taken_all_the_same(service: Service, process: Process) -> None:
    assert process.lifecycle.start(OWNER, SOON, patience=0) != HANDLE
    assert process.lifecycle.pending is None
    assert service.looks == 1


def test_one_that_is_ready_in_time_is_not_kept(service: Service, process: Process) -> None:
    service.statuses = [STARTING, STARTING, READY]
    process.lifecycle.start(OWNER, SOON, patience=SOON)
    assert (process.lifecycle.pending, process.kept) == (None, [])


def test_one_that_was_adopted_is_told_from_one_that_was_started(service: Service, process: Process) -> None:
    service.lives, service.statuses = True, [STARTING]
    assert process.lifecycle.adopt(OWNER, SOON, patience=0) == HANDLE
    assert process.lifecycle.pending is not None
    assert process.lifecycle.pending.adopted


def test_a_start_that_cannot_be_kept_is_undone(service: Service, process: Process) -> None:
    """Nobody would go on with it."""
    service.statuses = [STARTING]

    def fail(start: object) -> None:
        raise OSError("no memory of tasks")

    process.lifecycle.keep = fail
    with pytest.raises(OSError, match="no memory"):
        process.lifecycle.start(OWNER, SOON, patience=0)
    assert service.events == ["start", *UNDONE]
    assert process.lifecycle.pending is None


def test_a_kill_while_it_is_kept_gives_it_up(service: Service, process: Process) -> None:
    service.statuses = [STARTING]
    process.lifecycle.keep = lambda start: process.lifecycle.kill(OWNER)
    with pytest.raises(ComputeStartError, match="The task was killed"):
        process.lifecycle.start(OWNER, SOON, patience=0)
    assert service.events == ["start", "give up", "give up"]


# ---- another process goes on


def test_one_that_is_ready_meanwhile_costs_since_somebody_has_seen_that(service: Service, process: Process) -> None:
    handle = process.lifecycle.resume(OWNER, pending(ready_at=REQUESTED + 30), SOON)
    assert handle == dataclasses.replace(HANDLE, ready_at=REQUESTED + 30)
    assert service.events == []


def test_one_that_nobody_has_seen_ready_costs_from_now_on(process: Process) -> None:
    before = time.time()
    handle = process.lifecycle.resume(OWNER, pending(), SOON)
    assert handle.ready_at is not None
    assert before <= handle.ready_at <= time.time()


@pytest.mark.parametrize("end", [FAILED, STOPPING, STOPPED], ids=str)
def test_one_that_has_ended_meanwhile_is_undone(service: Service, process: Process, end: ComputeStatus) -> None:
    service.statuses = [end]
    with pytest.raises(ComputeStartError, match=f"did not become ready: it is {end.words}"):
        process.lifecycle.resume(OWNER, pending(), SOON)
    assert service.events == UNDONE


def test_one_that_is_late_is_undone_although_the_next_process_has_patience(service: Service, process: Process) -> None:
    """Its time counts from the first process on."""
    service.statuses = [STARTING]
    with pytest.raises(ComputeStartError, match="was not ready within 10 seconds"):
        process.lifecycle.resume(OWNER, pending(age=11), 10, patience=SOON)
    assert service.events == UNDONE


def test_one_that_is_late_and_ready_is_fine(service: Service, process: Process) -> None:
    assert process.lifecycle.resume(OWNER, pending(age=11), 10).compute_id == HANDLE.compute_id


def test_the_end_of_the_task_itself_counts_too(service: Service, process: Process) -> None:
    service.statuses = [STARTING]
    process.lifecycle.deadline = time.time() - 1
    with pytest.raises(ComputeStartError, match="was not ready within the execution_timeout of the task: it is St"):
        process.lifecycle.resume(OWNER, pending(), SOON)
    assert service.events == UNDONE


def test_one_that_starts_still_is_kept_again(service: Service, process: Process) -> None:
    service.statuses = [STARTING]
    start = pending(age=3)
    assert process.lifecycle.resume(OWNER, start, SOON, patience=0) == HANDLE
    assert process.lifecycle.pending == start
    assert service.events == []


@pytest.mark.parametrize("adopted", [True, False])
def test_a_kill_of_the_next_process_undoes_it(service: Service, process: Process, adopted: bool) -> None:
    service.statuses = [STARTING]
    process.lifecycle.kill(OWNER, HANDLE)
    with pytest.raises(ComputeStartError, match="The task was killed"):
        process.lifecycle.resume(OWNER, pending(adopted=adopted), SOON)
    assert service.given_up[-1] == (OWNER, HANDLE)


def test_a_kill_of_the_next_process_leaves_alone_what_was_adopted_and_is_ready(
    service: Service, process: Process
) -> None:
    process.lifecycle.announce = lambda handle: process.lifecycle.kill(OWNER, HANDLE)
    with pytest.raises(ComputeStartError, match="The task was killed"):
        process.lifecycle.resume(OWNER, pending(adopted=True), SOON)
    assert service.events == []


# ---- nobody goes on


@pytest.mark.parametrize(
    ("adopted", "shared", "found"),
    [(False, True, STARTING), (False, True, READY), (True, True, STARTING), (True, False, READY)],
)
def test_one_that_nobody_goes_on_with_is_given_up_and_seen_to_end(
    service: Service, adopted: bool, shared: bool, found: ComputeStatus
) -> None:
    service.statuses = [found]
    Process(service, shared=shared).lifecycle.abandon(OWNER, pending(adopted=adopted), "cleared")
    assert service.events == ["give up", *UNDONE]
    assert service.given_up == [(OWNER, HANDLE)]


@pytest.mark.parametrize("found", [READY, STOPPING, FAILED, GONE], ids=str)
def test_what_was_adopted_and_does_not_start_any_more_is_left_to_its_users(
    service: Service, process: Process, found: ComputeStatus
) -> None:
    service.statuses = [found]
    process.lifecycle.abandon(OWNER, pending(adopted=True), "cleared")
    assert service.events == []


def test_what_somebody_else_has_started_is_left_alone(service: Service, process: Process) -> None:
    start = dataclasses.replace(pending(), handle=SOMEBODY_ELSES)
    process.lifecycle.abandon(OWNER, start, "cleared")
    assert service.events == []


def test_a_service_that_is_away_is_asked_again_before_it_is_told(
    service: Service, process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compute_lifecycle, "UNDO_SECONDS", 0.05)
    service.errors["stop"] = AWAY
    with caplog.at_level(logging.WARNING):
        process.lifecycle.abandon(OWNER, pending(), "cleared")
    assert service.events[:3] == ["give up", "stop", "stop"]
    assert f"Its mark is {OWNER.mark}: a next try finds it" in caplog.messages[-1]


@pytest.mark.parametrize("error", [AWAY, ConfigurationError("it carries another mark")])
def test_what_cannot_be_judged_is_told_and_left_alone(
    service: Service, process: Process, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    service.errors["is ours"] = error
    with caplog.at_level(logging.WARNING):
        process.lifecycle.abandon(OWNER, pending(), "cleared")
    assert service.events == []
    assert caplog.messages[-1].startswith(f"{error} Its mark is {OWNER.mark}: ")


# ---- stop


def test_a_stop_that_outlasts_the_patience_was_told(service: Service, process: Process) -> None:
    service.after_stop = [STOPPING]
    assert process.lifecycle.begin_stop(HANDLE, SOON, since=time.time(), patience=0) is None
    assert service.events == ["stop"]


def test_a_stop_that_could_not_be_told_is_not_left_to_others(service: Service, process: Process) -> None:
    service.errors["stop"] = [AWAY, AWAY]
    service.after_stop = [STOPPING]
    assert process.lifecycle.begin_stop(HANDLE, SOON, since=time.time(), patience=0) is None
    assert service.events == ["stop"] * 3


def test_another_process_finds_that_it_has_ended(service: Service, process: Process) -> None:
    service.statuses, service.after_stop = [STOPPED], None
    usage = process.lifecycle.begin_stop(HANDLE, 10, since=time.time() - 11, patience=0)
    assert usage is not None
    assert usage.end == "Stopped"
    assert service.events == ["stop", "forget"]


@pytest.mark.parametrize("left", ["stop_timeout", "execution_timeout"])
def test_one_that_is_late_is_told_as_such_by_the_next_process(service: Service, process: Process, left: str) -> None:
    service.after_stop = [STOPPING]
    if left == "execution_timeout":
        process.lifecycle.deadline = time.time() - 1
    limit = "the execution_timeout of the task" if left == "execution_timeout" else "10 seconds"
    with pytest.raises(ComputeStopError, match=f"was told to stop, and has not within {limit}: it is Stopping"):
        process.lifecycle.begin_stop(HANDLE, 10, since=time.time() - 11, patience=SOON)


def test_a_start_that_breaks_off_for_a_service_that_is_away_is_not_kept(service: Service, process: Process) -> None:
    service.errors["start"] = AWAY
    with pytest.raises(ControlPlaneUnavailableError):
        process.lifecycle.start(OWNER, SOON, patience=0)
    assert process.lifecycle.pending is None
