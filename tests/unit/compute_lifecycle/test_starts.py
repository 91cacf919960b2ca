"""The one life cycle of every compute that is started, shown with a manager that follows a script."""

from __future__ import annotations

import dataclasses
import logging
import time

import pytest

from airflow_provider_polars import compute_lifecycle
from airflow_provider_polars.backends.managing import ComputeStatus
from airflow_provider_polars.exceptions import (
    ComputeStartError,
    ConfigurationError,
    ControlPlaneUnavailableError,
    RefusedOptionError,
)
from tests.unit.scripted_manager import (
    AWAY,
    FAILED,
    GONE,
    HANDLE,
    INSTANCE,
    NO_TOKEN,
    OWNER,
    PASSING,
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


# ---- start


def test_a_start_returns_the_handle_once_it_is_ready(service: Service, process: Process) -> None:
    service.statuses = [STARTING, STARTING, READY]
    before = time.time()

    handle = process.lifecycle.start(OWNER, SOON)

    assert handle.ready_at is not None
    assert before <= handle.ready_at <= time.time()
    assert dataclasses.replace(handle, ready_at=None) == HANDLE
    assert service.events == ["start"]
    assert service.looks == 3


def test_what_was_started_is_announced_before_it_is_ready(service: Service, process: Process) -> None:
    service.statuses = [FAILED]
    with pytest.raises(ComputeStartError):
        process.lifecycle.start(OWNER, SOON)
    assert process.announced == [HANDLE]


def test_one_that_fails_while_it_starts_carries_the_reason_and_is_stopped_and_forgotten(
    service: Service, process: Process
) -> None:
    service.statuses, service.after_stop = [STARTING, FAILED], None
    with pytest.raises(ComputeStartError) as caught:
        process.lifecycle.start(OWNER, SOON)
    assert str(caught.value) == (f"CloudCompute {INSTANCE} did not become ready: it is Failed (Failed: no capacity).")
    assert service.events == ["start", *UNDONE]
    assert not service.lives


@pytest.mark.parametrize("end", [STOPPING, STOPPED], ids=lambda end: end.state.value)
def test_one_that_ends_otherwise_while_it_starts_is_told(
    service: Service, process: Process, end: ComputeStatus
) -> None:
    service.statuses = [STARTING, end]
    with pytest.raises(ComputeStartError, match=f"did not become ready: it is {end.words}"):
        process.lifecycle.start(OWNER, SOON)
    assert service.events == ["start", *UNDONE]


def test_one_that_its_service_does_not_know_yet_is_waited_for(service: Service, process: Process) -> None:
    service.statuses = [GONE, GONE, STARTING, READY]
    assert process.lifecycle.start(OWNER, SOON).compute_id == INSTANCE
    assert service.events == ["start"]


def test_one_that_its_service_never_knows_is_stopped(service: Service, process: Process) -> None:
    service.statuses = [GONE]
    with pytest.raises(ComputeStartError, match=r"was not ready within 0\.05 seconds: it is Gone"):
        process.lifecycle.start(OWNER, 0.05)
    assert service.events == ["start", *UNDONE]


def test_one_that_is_not_ready_in_time_is_stopped(service: Service, process: Process) -> None:
    service.statuses = [STARTING]
    with pytest.raises(ComputeStartError) as caught:
        process.lifecycle.start(OWNER, 0.05)
    assert str(caught.value) == (
        f"{HANDLE!r} was not ready within 0.05 seconds: it is Starting. It is being stopped: see the log. Raise "
        "start_timeout=, or try again."
    )
    assert service.events == ["start", *UNDONE]


@pytest.mark.parametrize("away", PASSING, ids=lambda error: type(error).__name__)
def test_a_service_that_is_away_for_a_while_does_not_end_the_wait(
    service: Service, process: Process, caplog: pytest.LogCaptureFixture, away: Exception
) -> None:
    service.statuses = [STARTING, away, away, READY]
    with caplog.at_level(logging.WARNING):
        assert process.lifecycle.start(OWNER, SOON).compute_id == INSTANCE
    assert [record.message for record in caplog.records] == [str(away)] * 2
    assert service.events == ["start"]


def test_a_service_that_stays_away_ends_the_wait_in_time(
    service: Service, process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What may live is named, for whoever looks for it."""
    monkeypatch.setattr(compute_lifecycle, "UNDO_SECONDS", 0.05)
    service.statuses, service.after_stop = [AWAY], None
    with caplog.at_level(logging.WARNING), pytest.raises(ComputeStartError) as caught:
        process.lifecycle.start(OWNER, 0.05)
    assert "was not ready within 0.05 seconds: it is not to be asked about." in str(caught.value)
    assert service.events == ["start", "stop"]
    assert caplog.records[-1].message.endswith(
        f"Its mark is {OWNER.mark}: a next try finds it, if there is one, and so does PolarsSweepComputeOperator."
    )


@pytest.mark.parametrize("error", [ConfigurationError("too large"), AWAY, ComputeStartError("not now")])
def test_a_start_that_raises_leaves_nothing_to_stop(service: Service, process: Process, error: Exception) -> None:
    service.errors["start"] = error
    with pytest.raises(type(error)) as caught:
        process.lifecycle.start(OWNER, SOON)
    assert caught.value is error
    assert service.events == ["start", "find"]
    assert process.announced == []


def test_what_a_start_that_raises_has_made_all_the_same_is_stopped(service: Service, process: Process) -> None:
    """As one whose answer was lost."""
    service.errors["start"] = AWAY
    service.before_start = lambda: setattr(service, "lives", True)
    with pytest.raises(ControlPlaneUnavailableError):
        process.lifecycle.start(OWNER, SOON)
    assert service.events == ["start", "find", *UNDONE]


def test_what_a_start_that_raises_may_have_made_is_told_where_it_cannot_be_found(
    service: Service, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    service.errors |= {"start": ComputeStartError("not now"), "find": AWAY}
    with caplog.at_level(logging.WARNING), pytest.raises(ComputeStartError, match="not now"):
        process.lifecycle.start(OWNER, SOON)
    assert service.events == ["start", "find"]
    assert caplog.messages[-1].startswith(f"{AWAY} Its mark is {OWNER.mark}: ")


@pytest.mark.parametrize("interruption", [AWAY, KeyboardInterrupt()], ids=lambda error: type(error).__name__)
def test_what_comes_of_an_interrupted_start_after_a_while_is_stopped(
    service: Service, process: Process, interruption: Exception
) -> None:
    """The service goes on with a request whose answer nobody waits for any more."""
    service.errors["start"], service.may_come = interruption, True
    service.before_find = lambda: setattr(service, "lives", service.events.count("find") == 2)
    with pytest.raises(type(interruption)):
        process.lifecycle.start(OWNER, SOON)
    assert service.events == ["start", "find", "find", "find", *UNDONE]


def test_what_may_come_of_an_interrupted_start_even_later_is_told(
    service: Service, process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compute_lifecycle, "UNDO_SECONDS", 0.05)
    service.errors["start"], service.may_come = AWAY, True
    with caplog.at_level(logging.WARNING), pytest.raises(ControlPlaneUnavailableError):
        process.lifecycle.start(OWNER, SOON)
    assert set(service.events[1:]) == {"find"}
    assert caplog.messages[-1].startswith(
        f"A compute may still come of the start that was interrupted. Its mark is {OWNER.mark}: a next try finds it"
    )


def test_an_error_of_whoever_is_told_of_the_start_is_logged(
    service: Service, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    """A page is not worth a compute."""

    def fail(handle: object) -> None:
        raise OSError("no such page")

    process.lifecycle.announce = fail
    with caplog.at_level(logging.WARNING):
        assert process.lifecycle.start(OWNER, SOON).compute_id == INSTANCE
    assert service.events == ["start"]
    assert caplog.messages == [f"The page of {HANDLE!r} cannot be shown: no such page"]


def test_an_interrupt_in_the_middle_undoes_the_start(service: Service, process: Process) -> None:
    """As the error of Airflow's own that ends a task whose time is over."""
    service.statuses = [STARTING, KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        process.lifecycle.start(OWNER, SOON)
    assert service.events == ["start", *UNDONE]


def test_the_error_of_a_start_is_not_covered_by_one_of_undoing_it(
    service: Service, process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compute_lifecycle, "UNDO_SECONDS", 0.05)
    service.statuses = [FAILED]
    service.errors["stop"] = ConfigurationError("its mark is not ours")
    with caplog.at_level(logging.WARNING), pytest.raises(ComputeStartError, match="no capacity"):
        process.lifecycle.start(OWNER, SOON)
    assert "its mark is not ours Its mark is " in caplog.text


# ---- adopt


def test_nothing_is_adopted_where_nothing_lives(service: Service, process: Process) -> None:
    assert process.lifecycle.adopt(OWNER, SOON) is None
    assert service.events == ["find"]
    assert process.announced == []


def test_what_could_not_be_started_is_refused_before_anything_is_asked_for(service: Service, process: Process) -> None:
    def refuse() -> None:
        raise RefusedOptionError("CloudCompute(storage=) is no parameter of ComputeContext in polars_cloud 0.1.0.")

    service.check = refuse
    with pytest.raises(RefusedOptionError):
        process.lifecycle.adopt(OWNER, SOON)
    assert service.events == []


def test_what_lives_is_adopted_with_the_time_since_when_it_may_cost(service: Service, process: Process) -> None:
    """When it was ready is not known any more: it is not charged for less than it has run."""
    service.lives = True
    handle = process.lifecycle.adopt(OWNER, SOON)
    assert handle == dataclasses.replace(HANDLE, ready_at=REQUESTED)
    assert process.announced == [HANDLE]
    assert service.events == ["find"]


@pytest.mark.parametrize(
    ("looks", "known"), [([AWAY], True), ([AWAY, NO_TOKEN], True), ([AWAY, STARTING], False), ([STARTING, AWAY], False)]
)
def test_a_look_that_got_no_answer_does_not_say_that_it_was_not_ready(
    service: Service, process: Process, looks: list[ComputeStatus | BaseException], known: bool
) -> None:
    service.lives, service.statuses = True, [*looks, READY]
    handle = process.lifecycle.adopt(OWNER, SOON)
    assert handle is not None
    assert handle.ready_at is not None
    assert (handle.ready_at == REQUESTED) is known


def test_what_still_starts_is_adopted_once_it_is_ready(service: Service, process: Process) -> None:
    service.lives, service.statuses = True, [STARTING, READY]
    before = time.time()
    handle = process.lifecycle.adopt(OWNER, SOON)
    assert handle is not None
    assert handle.ready_at is not None
    assert handle.ready_at >= before
    assert service.events == ["find"]


def test_what_was_adopted_and_does_not_become_ready_is_stopped(service: Service, process: Process) -> None:
    service.lives, service.statuses = True, [STARTING]
    with pytest.raises(ComputeStartError, match="was not ready within"):
        process.lifecycle.adopt(OWNER, 0.05)
    assert service.events == ["find", *UNDONE]


@pytest.mark.parametrize("found", [FAILED, STOPPING, STOPPED, GONE, READY], ids=lambda found: found.state.value)
def test_what_was_adopted_and_does_not_start_any_more_is_left_alone(
    service: Service, process: Process, caplog: pytest.LogCaptureFixture, found: ComputeStatus
) -> None:
    """Once it is ready other tasks may use it, and what has ended costs nothing."""
    service.lives, service.statuses = True, [KeyboardInterrupt(), found]
    with caplog.at_level(logging.INFO), pytest.raises(KeyboardInterrupt):
        process.lifecycle.adopt(OWNER, SOON)
    assert service.events == ["find"]
    assert caplog.messages == [f"{HANDLE!r} is left alone after a start that failed: "]


@pytest.mark.parametrize("found", [STARTING, READY], ids=lambda found: found.state.value)
def test_what_a_task_has_for_itself_is_stopped_when_its_adoption_fails(service: Service, found: ComputeStatus) -> None:
    service.lives, service.statuses = True, [KeyboardInterrupt(), found]
    with pytest.raises(KeyboardInterrupt):
        Process(service, shared=False).lifecycle.adopt(OWNER, SOON)
    assert service.events == ["find", *UNDONE]


def test_what_was_adopted_and_cannot_be_asked_about_is_left_alone(
    service: Service, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    service.lives, service.statuses = True, [AWAY]
    with caplog.at_level(logging.INFO), pytest.raises(ComputeStartError, match="it is not to be asked about"):
        process.lifecycle.adopt(OWNER, 0.05)
    assert service.events == ["find"]
    assert caplog.messages[-1].startswith(f"{AWAY} Its mark is {OWNER.mark}: ")


def test_what_somebody_else_has_started_is_left_alone(
    service: Service, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    service.lives, service.handle, service.statuses = True, SOMEBODY_ELSES, [STARTING]
    with caplog.at_level(logging.INFO), pytest.raises(ComputeStartError, match="was not ready within"):
        process.lifecycle.adopt(OWNER, 0.05)
    assert service.events == ["find"]
    assert caplog.messages[-1].startswith(f"{SOMEBODY_ELSES!r} is left alone after a start that failed: ")


def test_the_error_of_a_start_is_not_covered_by_a_mark_of_another_deployment(
    service: Service, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    service.lives, service.statuses = True, [STARTING]
    service.errors["is ours"] = ConfigurationError("It carries the mark of another one.")
    with caplog.at_level(logging.INFO), pytest.raises(ComputeStartError, match="was not ready within"):
        process.lifecycle.adopt(OWNER, 0.05)
    assert service.events == ["find"]
    assert caplog.messages[-1].startswith(f"It carries the mark of another one. Its mark is {OWNER.mark}: ")


def test_a_search_that_fails_is_told_and_stops_nothing(service: Service, process: Process) -> None:
    service.errors["find"] = AWAY
    with pytest.raises(ControlPlaneUnavailableError):
        process.lifecycle.adopt(OWNER, SOON)
    assert service.events == ["find"]


def test_the_next_try_finds_what_a_killed_one_has_started(service: Service) -> None:
    service.statuses = [STARTING]
    Process(service).lifecycle.manager.start(OWNER)
    service.statuses = [STARTING, READY]
    handle = Process(service).lifecycle.adopt(OWNER, SOON)
    assert handle is not None
    assert service.events == ["start", "find"]
