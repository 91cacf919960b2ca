"""How the life cycle of a compute ends: told to stop, seen to have stopped, and what it has cost."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time

import pytest

from airflow_provider_polars import compute_lifecycle
from airflow_provider_polars.backends.managing import ComputeState, ComputeStatus
from airflow_provider_polars.compute_lifecycle import Usage
from airflow_provider_polars.exceptions import (
    ComputeStopError,
    ConfigurationError,
    ControlPlaneRefusedError,
)
from tests.unit.scripted_manager import (
    AWAY,
    GONE,
    HANDLE,
    INSTANCE,
    PASSING,
    READY,
    REQUESTED,
    SOON,
    STOPPED,
    STOPPING,
    Process,
    Service,
    status,
)

CHARGED = dataclasses.replace(HANDLE, ready_at=REQUESTED + 60)


def test_a_compute_is_told_once_and_forgotten_when_it_has_really_ended(service: Service, process: Process) -> None:
    service.after_stop = [READY, STOPPING, STOPPING, STOPPED]
    usage = process.lifecycle.stop(HANDLE, SOON)
    assert (usage.compute_id, usage.end) == (INSTANCE, "Stopped")
    assert service.events == ["stop", "forget"]
    assert service.looks == 4


@pytest.mark.parametrize(
    ("before", "counted"), [([READY, STOPPING], [("compute.minutes", 2.0)]), ([], [])], ids=["stopped here", "before"]
)
def test_minutes_of_what_has_ended_in_this_stop_are_counted(
    service: Service, process: Process, before: list[ComputeStatus], counted: list[tuple[str, float]]
) -> None:
    """A stop that is cleared, or tried again after its end, counts nothing twice."""
    told: list[tuple[str, float]] = []
    process.lifecycle.metrics.count = lambda name, by=1, **_: told.append((name, by))  # type: ignore[method-assign]
    service.after_stop = [*before, dataclasses.replace(STOPPED, ended=REQUESTED + 180)]

    process.lifecycle.stop(CHARGED, SOON)

    assert told == counted


@pytest.mark.parametrize(
    "end", [STOPPED, status(ComputeState.FAILED, "Failed: the machine was lost")], ids=lambda end: end.state.value
)
def test_one_that_has_ended_already_is_fine(service: Service, process: Process, end: ComputeStatus) -> None:
    service.statuses, service.after_stop = [end], None
    assert process.lifecycle.stop(HANDLE, SOON).end == (end.reason or end.words)
    assert service.events == ["stop", "forget"]


def test_one_that_is_not_known_any_more_keeps_its_mark(service: Service, process: Process) -> None:
    """Should it be known again, the mark is what it is found by."""
    service.statuses, service.after_stop = [GONE], None
    assert process.lifecycle.stop(HANDLE, SOON).end == "Gone"
    assert service.events == ["stop"]


def test_one_that_does_not_begin_to_stop_is_told_again(
    service: Service, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a request that the service took and forgot."""
    monkeypatch.setattr(compute_lifecycle, "SAY_AGAIN_SECONDS", 0.0)
    service.after_stop = None
    service.statuses = [READY, READY, STOPPED]
    process.lifecycle.stop(HANDLE, SOON)
    assert service.events == ["stop", "stop", "stop", "forget"]


def test_one_that_was_told_is_not_told_at_each_look(service: Service, process: Process) -> None:
    service.after_stop = [READY] * 20 + [STOPPED]
    process.lifecycle.stop(HANDLE, SOON)
    assert service.events == ["stop", "forget"]


def test_an_end_that_is_never_confirmed_is_told_with_what_is_known(service: Service, process: Process) -> None:
    service.after_stop = [STOPPING]
    with pytest.raises(ComputeStopError) as caught:
        process.lifecycle.stop(HANDLE, 0.05)
    assert not caught.value.permanent
    assert str(caught.value) == (
        f"{HANDLE!r} was told to stop, and has not within 0.05 seconds: it is Stopping. It may run on, and cost. Try "
        "again, or stop it by hand."
    )
    assert service.events == ["stop"]


@pytest.mark.parametrize("away", PASSING, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("step", "events"),
    [
        ("stop", ["stop", "stop", "stop", "forget"]),
        ("look", ["stop", "forget"]),
        ("forget", ["stop", "forget", "forget", "forget"]),
    ],
)
def test_a_service_that_is_away_for_a_while_is_asked_again(
    service: Service,
    process: Process,
    caplog: pytest.LogCaptureFixture,
    step: str,
    events: list[str],
    away: Exception,
) -> None:
    if step == "look":
        service.after_stop = [away, away, STOPPED]
    else:
        service.errors[step] = [away, away]  # type: ignore[list-item]
    with caplog.at_level(logging.WARNING):
        assert process.lifecycle.stop(HANDLE, SOON).end == "Stopped"
    assert service.events == events
    assert [record.message for record in caplog.records] == [str(away)] * 2


@pytest.mark.parametrize("step", ["stop", "look"])
def test_a_service_that_stays_away_is_told_and_a_retry_may_help(service: Service, process: Process, step: str) -> None:
    if step == "look":
        service.after_stop = [AWAY]
    else:
        service.errors[step] = AWAY
    with pytest.raises(ComputeStopError) as caught:
        process.lifecycle.stop(HANDLE, 0.05)
    assert f"has not within 0.05 seconds: {AWAY} It may run on, and cost." in str(caught.value)
    assert not caught.value.permanent
    assert "forget" not in service.events


def test_a_refusal_that_stays_is_told_in_time(service: Service, process: Process) -> None:
    """The compute costs meanwhile: a refusal may be a mistake of the service too, and is asked about again."""
    service.errors["stop"] = ControlPlaneRefusedError("forbidden")
    with pytest.raises(ComputeStopError, match=r"has not within 0\.5 seconds: forbidden\. It may run on"):
        process.lifecycle.stop(HANDLE, 0.5)
    assert service.events[-2:] == ["stop", "stop"]


def test_what_cannot_be_stopped_is_told_once(service: Service, process: Process) -> None:
    service.errors["stop"] = error = ConfigurationError("it carries another mark")
    with pytest.raises(ConfigurationError) as caught:
        process.lifecycle.stop(HANDLE, SOON)
    assert caught.value is error
    assert service.events == ["stop"]


@pytest.mark.parametrize(
    ("error", "again"), [(AWAY, True), (ControlPlaneRefusedError("forbidden"), True), (ConfigurationError("no"), False)]
)
def test_a_mark_that_stays_is_told_and_the_stop_has_succeeded(
    service: Service,
    process: Process,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    again: bool,
) -> None:
    """What has ended costs no more."""
    monkeypatch.setattr(compute_lifecycle, "FORGET_SECONDS", 0.05)
    service.errors["forget"] = error
    with caplog.at_level(logging.WARNING):
        assert process.lifecycle.stop(HANDLE, SOON).end == "Stopped"
    assert (service.events.count("forget") > 1) is again
    assert caplog.messages[-2:] == [str(error), f"{HANDLE!r} has ended; its mark stays, which costs nothing."]


def test_a_kill_of_a_stop_ends_its_wait_and_takes_nothing_back(
    service: Service, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute_lifecycle, "LOOK_SECONDS", 60.0)
    service.after_stop = [STOPPING]
    killer = threading.Thread(target=lambda: service.looked.wait(SOON) and process.lifecycle.kill(None))
    killer.start()
    with pytest.raises(ComputeStopError, match="it is Stopping"):
        process.lifecycle.stop(HANDLE, 600.0)
    killer.join(SOON)
    assert service.events == ["stop"]


def test_a_kill_before_a_stop_lets_it_be_told_once(service: Service, process: Process) -> None:
    service.after_stop = [STOPPING]
    process.lifecycle.kill(None)
    with pytest.raises(ComputeStopError):
        process.lifecycle.stop(HANDLE, SOON)
    assert service.events == ["stop"]


# ---- what it has cost


@pytest.mark.parametrize(("seconds", "minutes"), [(60, 0.0), (90, 0.5), (3660, 60.0), (61, 0.017), (0, 0.0)])
def test_minutes_count_from_ready_to_the_end(
    service: Service, process: Process, seconds: float, minutes: float
) -> None:
    service.after_stop = [status(ComputeState.STOPPED, "StoppedByUser", ended=REQUESTED + seconds, vcpus=8)]
    usage = process.lifecycle.stop(CHARGED, SOON)
    assert usage == Usage(compute_id=INSTANCE, minutes=minutes, vcpus=8, end="StoppedByUser")


def test_without_the_time_of_the_end_it_is_now(service: Service, process: Process) -> None:
    usage = process.lifecycle.stop(dataclasses.replace(HANDLE, ready_at=time.time() - 120), SOON)
    assert usage.minutes == pytest.approx(2.0, abs=0.1)


def test_what_was_never_ready_costs_nothing(service: Service, process: Process) -> None:
    service.after_stop = [status(ComputeState.STOPPED, ended=REQUESTED + 600)]
    assert process.lifecycle.stop(HANDLE, SOON).minutes == 0.0


@pytest.mark.parametrize(
    ("minutes", "vcpus", "price", "cost"),
    [
        (90.0, 8, 0.05, 0.6),
        (1.0, 2, 0.05, 0.0017),
        (0.0, 8, 0.05, 0.0),
        (90.0, 8, 0.0, 0.0),
        (90.0, 8, None, None),
        (90.0, None, 0.05, None),
    ],
)
def test_money_is_hours_times_vcpus_times_price(
    minutes: float, vcpus: int | None, price: float | None, cost: float | None
) -> None:
    assert Usage(compute_id=INSTANCE, minutes=minutes, vcpus=vcpus, end="").cost(price) == cost
