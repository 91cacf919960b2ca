"""A kill of a task that starts a compute, or adopts one: nothing is left running that other tasks do not use."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from airflow_provider_polars import compute_lifecycle
from airflow_provider_polars.backends.managing import ComputeStatus
from airflow_provider_polars.exceptions import ComputeStartError, ControlPlaneUnavailableError
from tests.unit.scripted_manager import (
    AWAY,
    FAILED,
    GONE,
    HANDLE,
    OWNER,
    READY,
    SOMEBODY_ELSES,
    SOON,
    STARTING,
    STOPPED,
    STOPPING,
    Process,
    Service,
)


def test_after_a_kill_nothing_is_started(service: Service, process: Process) -> None:
    """What may be there from an earlier try is given up."""
    process.lifecycle.kill(OWNER)
    with pytest.raises(ComputeStartError) as caught:
        process.lifecycle.start(OWNER, SOON)
    assert str(caught.value) == "The task was killed; nothing is started."
    assert service.events == ["give up"]
    assert service.looks == 0


def test_a_kill_between_search_and_start_starts_nothing(service: Service, process: Process) -> None:
    assert process.lifecycle.adopt(OWNER, SOON) is None
    process.lifecycle.kill(OWNER)
    with pytest.raises(ComputeStartError, match="nothing is started"):
        process.lifecycle.start(OWNER, SOON)
    assert service.events == ["find", "give up"]


def test_a_kill_within_the_start_gives_up_what_it_makes(service: Service, process: Process) -> None:
    service.before_start = lambda: process.lifecycle.kill(OWNER)
    with pytest.raises(ComputeStartError) as caught:
        process.lifecycle.start(OWNER, SOON)
    assert str(caught.value) == f"The task was killed; {HANDLE!r} is to stop, unless other tasks may use it."
    assert service.events == ["give up", "start", "give up"]
    assert service.given_up == [(OWNER, None), (OWNER, HANDLE)]
    assert service.looks == 0


def test_a_kill_within_a_start_that_raises_gives_up_what_it_may_have_made(service: Service, process: Process) -> None:
    service.before_start = lambda: process.lifecycle.kill(OWNER)
    service.errors["start"] = AWAY
    with pytest.raises(ControlPlaneUnavailableError):
        process.lifecycle.start(OWNER, SOON)
    assert service.events == ["give up", "start", "give up"]
    assert service.given_up == [(OWNER, None)] * 2


@pytest.fixture
def signal_process(process: Process) -> Iterator[Callable[[], None]]:
    """Return what has a signal handler of this thread kill the process."""
    before = signal.signal(signal.SIGUSR1, lambda *_: process.lifecycle.kill(OWNER))
    yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_a_kill_while_it_becomes_ready_ends_the_wait(
    service: Service, process: Process, signal_process: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute_lifecycle, "LOOK_SECONDS", 60.0)
    service.statuses = [STARTING]

    def terminate() -> None:
        assert service.looked.wait(SOON)
        signal_process()

    killer = threading.Thread(target=terminate)
    killer.start()
    begin = time.monotonic()
    with pytest.raises(ComputeStartError, match="The task was killed"):
        process.lifecycle.start(OWNER, 600.0)
    killer.join(SOON)
    assert time.monotonic() - begin < SOON
    assert service.events == ["start", "give up", "give up"]
    assert service.given_up[-1] == (OWNER, HANDLE)


@pytest.mark.parametrize("found", [READY, FAILED, STOPPING, STOPPED, GONE, AWAY], ids=str)
def test_a_kill_while_one_is_adopted_that_does_not_start_any_more_leaves_it_alone(
    service: Service, process: Process, found: ComputeStatus | BaseException
) -> None:
    """One that is ready may have queries of other tasks."""
    service.lives, service.statuses = True, [found]
    service.before_find = lambda: process.lifecycle.kill(OWNER)
    with pytest.raises(ComputeStartError, match="The task was killed"):
        process.lifecycle.adopt(OWNER, SOON)
    assert service.events == ["find"]


def test_a_kill_while_one_is_adopted_that_starts_gives_it_up(service: Service, process: Process) -> None:
    service.lives, service.statuses = True, [STARTING]
    service.before_find = lambda: process.lifecycle.kill(OWNER)
    with pytest.raises(ComputeStartError, match="The task was killed"):
        process.lifecycle.adopt(OWNER, SOON)
    assert service.events == ["find", "give up"]
    assert service.given_up == [(OWNER, HANDLE)]


def test_a_kill_while_one_of_somebody_else_is_adopted_leaves_it_alone(service: Service, process: Process) -> None:
    service.lives, service.handle, service.statuses = True, SOMEBODY_ELSES, [STARTING]
    service.before_find = lambda: process.lifecycle.kill(OWNER)
    with pytest.raises(ComputeStartError, match="The task was killed"):
        process.lifecycle.adopt(OWNER, SOON)
    assert service.events == ["find"]


def test_a_kill_while_nothing_is_found_leaves_it_at_that(service: Service, process: Process) -> None:
    service.errors["find"] = AWAY
    process.lifecycle.kill(OWNER)
    with pytest.raises(ControlPlaneUnavailableError):
        process.lifecycle.adopt(OWNER, SOON)
    assert service.events == ["give up", "find"]


def test_a_kill_after_the_end_of_a_start_gives_it_up(service: Service, process: Process) -> None:
    process.lifecycle.start(OWNER, SOON)
    process.lifecycle.kill(OWNER)
    assert service.events == ["start", "give up"]
    assert service.given_up == [(OWNER, None)]


def test_a_kill_tells_what_was_started_where_that_is_known(service: Service, process: Process) -> None:
    process.lifecycle.kill(OWNER, HANDLE)
    assert service.given_up == [(OWNER, HANDLE)]


def test_a_kill_after_one_was_adopted_leaves_it_alone(service: Service, process: Process) -> None:
    service.lives = True
    process.lifecycle.adopt(OWNER, SOON)
    process.lifecycle.kill(OWNER)
    assert service.events == ["find"]


# ---- of a task that has its compute for itself


@pytest.mark.parametrize("found", [STARTING, READY], ids=str)
def test_a_kill_while_a_task_adopts_its_own_gives_it_up(service: Service, found: ComputeStatus) -> None:
    own = Process(service, shared=False)
    service.lives, service.statuses = True, [found]
    service.before_find = lambda: own.lifecycle.kill(OWNER)
    with pytest.raises(ComputeStartError, match="The task was killed"):
        own.lifecycle.adopt(OWNER, SOON)
    assert service.events == ["give up", "find", "give up"]
    assert service.given_up == [(OWNER, None), (OWNER, HANDLE)]


def test_a_kill_after_a_task_has_adopted_its_own_gives_it_up(service: Service) -> None:
    own = Process(service, shared=False)
    service.lives = True
    own.lifecycle.adopt(OWNER, SOON)
    own.lifecycle.kill(OWNER)
    assert service.events == ["find", "give up"]
