"""The trigger that waits for computes, with a manager that follows a script."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest

from airflow_provider_polars import CloudCompute
from airflow_provider_polars.backends.managing import ComputeStatus
from airflow_provider_polars.exceptions import ConfigurationError, ControlPlaneUnavailableError, CredentialsError
from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from airflow_provider_polars.triggers import compute, compute_watches
from airflow_provider_polars.triggers.compute import PolarsComputeTrigger
from tests.harness.waiting import wait_for
from tests.unit.scripted_manager import (
    AWAY,
    FAILED,
    GONE,
    HANDLE,
    OWNER,
    PASSING,
    READY,
    SOON,
    STARTING,
    STOPPED,
    STOPPING,
    ScriptedManager,
    Service,
)

SINCE = 1_767_225_600.0


def trigger(**arguments: Any) -> PolarsComputeTrigger:
    """Return the trigger of a start."""
    return PolarsComputeTrigger(
        **{
            "handle": HANDLE.to_dict(),
            "until": "ready",
            "since": SINCE,
            "owner": dataclasses.asdict(OWNER),
            **arguments,
        }
    )


def stopping(**arguments: Any) -> PolarsComputeTrigger:
    """Return the trigger of a stop."""
    return trigger(until="over", owner=None, **arguments)


async def event_of(waiting: PolarsComputeTrigger) -> dict[str, Any]:
    """Return the payload of the event of a trigger."""
    events = [event async for event in waiting.run()]
    (event,) = events
    payload: dict[str, Any] = event.payload
    return payload


def fired(waiting: PolarsComputeTrigger) -> dict[str, Any]:
    """Run a trigger to its end."""
    return asyncio.run(asyncio.wait_for(event_of(waiting), SOON))


def killed(waiting: PolarsComputeTrigger, service: Service) -> None:
    """Let a trigger look once, and do what the triggerer does when a person acts on its task."""

    async def run() -> None:
        task = asyncio.ensure_future(event_of(waiting))
        await asyncio.to_thread(service.looked.wait, SOON)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await waiting.on_kill()
        await waiting.cleanup()

    asyncio.run(asyncio.wait_for(run(), SOON))


def test_it_is_made_again_from_what_it_is_written_as() -> None:
    waiting = trigger(conn_id="cloud", deadline=SINCE + 900, adopted=True, shared=False)
    path, arguments = waiting.serialize()
    assert path == "airflow_provider_polars.triggers.compute.PolarsComputeTrigger"
    assert PolarsComputeTrigger(**arguments).serialize() == (path, arguments)


# ---- events


def test_a_compute_that_becomes_ready_is_told_with_the_time(service: Service) -> None:
    service.statuses = [GONE, STARTING, STARTING, READY]
    before = time.time()
    event = fired(trigger(deadline=before + SOON))
    assert (event["status"], event["message"]) == ("ready", "Ready")
    assert before <= event["at"] <= time.time()
    assert (event["handle"], event["since"], event["adopted"]) == (HANDLE.to_dict(), SINCE, False)
    assert event["deadline"] == before + SOON
    assert service.looks == 4


@pytest.mark.parametrize("end", [FAILED, STOPPING, STOPPED], ids=str)
def test_one_that_will_not_become_ready_ends_the_wait(service: Service, end: ComputeStatus) -> None:
    service.statuses = [STARTING, end]
    event = fired(trigger())
    assert (event["status"], event["message"]) == ("over", str(end))


def test_one_that_was_adopted_and_is_not_known_any_more_ends_the_wait(service: Service) -> None:
    service.statuses = [STARTING, GONE]
    assert fired(trigger(adopted=True))["status"] == "over"


@pytest.mark.parametrize("end", [STOPPED, FAILED, GONE], ids=str)
def test_an_end_is_told(service: Service, end: ComputeStatus) -> None:
    service.statuses = [READY, STOPPING, end]
    assert fired(stopping())["status"] == "over"
    assert service.events == []


@pytest.mark.parametrize("waiting", [trigger, stopping])
def test_a_deadline_is_an_event(service: Service, waiting: Any) -> None:
    service.statuses = [STARTING]
    event = fired(waiting(deadline=time.time() + 0.05))
    assert (event["status"], event["message"]) == ("timeout", "")


@pytest.mark.parametrize("away", PASSING, ids=lambda error: type(error).__name__)
def test_what_passes_is_ridden_out(service: Service, away: Exception) -> None:
    service.statuses = [away, STARTING, away, away, READY]
    assert fired(trigger())["status"] == "ready"


def test_credentials_that_are_refused_are_read_anew(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str | None] = []

    def manager(hook: PolarsCloudHook, asked_for: CloudCompute) -> ScriptedManager:
        read.append(hook.conn_id)
        return ScriptedManager(service)

    monkeypatch.setattr(PolarsCloudHook, "get_manager", manager)
    service.statuses = [STARTING, CredentialsError("the account is gone"), STARTING, READY]
    assert fired(trigger(conn_id="cloud"))["status"] == "ready"
    assert read == ["cloud", "cloud"]


@pytest.mark.parametrize("away", PASSING, ids=lambda error: type(error).__name__)
def test_what_does_not_pass_within_the_grace_is_told(
    service: Service, monkeypatch: pytest.MonkeyPatch, away: Exception
) -> None:
    monkeypatch.setattr(compute_watches, "GRACE_SECONDS", 0.05)
    service.statuses = [STARTING, away]
    event = fired(trigger())
    assert (event["status"], event["message"]) == ("unreachable", str(away))


def test_a_service_that_asks_to_be_left_alone_is(service: Service) -> None:
    service.statuses = [ControlPlaneUnavailableError("429: too many requests", retry_after=0.3), READY]
    begin = time.monotonic()
    assert fired(trigger())["status"] == "ready"
    assert time.monotonic() - begin > 0.3


def test_what_cannot_be_asked_for_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise ConfigurationError("[polars] deployment_id is not set.")

    monkeypatch.setattr(PolarsCloudHook, "get_manager", refuse)
    event = fired(trigger())
    assert (event["status"], event["message"]) == ("failed", "[polars] deployment_id is not set.")


def test_a_mistake_of_ours_is_no_event(service: Service) -> None:
    service.statuses = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        fired(trigger())


# ---- many


def test_computes_of_one_place_are_asked_about_together(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    managers: list[ScriptedManager] = []
    asked: list[set[str | None]] = []
    ready = False

    class Many(ScriptedManager):
        def statuses(self, handles: Collection[CloudCompute]) -> Mapping[CloudCompute, ComputeStatus]:
            asked.append({handle.compute_id for handle in handles})
            return dict.fromkeys(handles, READY if ready else STARTING)

    def manager(hook: PolarsCloudHook, asked_for: CloudCompute) -> ScriptedManager:
        managers.append(Many(service))
        return managers[-1]

    async def run() -> list[dict[str, Any]]:
        nonlocal ready
        waiting = [
            asyncio.ensure_future(event_of(trigger(handle={**HANDLE.to_dict(), "compute_id": name}))) for name in names
        ]
        await asyncio.to_thread(wait_for, lambda: set(names) in asked or None, SOON, lambda: str(asked))
        ready = True
        return await asyncio.gather(*waiting)

    monkeypatch.setattr(PolarsCloudHook, "get_manager", manager)
    names = [f"00000000-0000-0000-0000-{number:012}" for number in range(50)]
    events = asyncio.run(asyncio.wait_for(run(), SOON))

    assert {event["status"] for event in events} == {"ready"}
    assert len(managers) == 1


# ---- what a person does to the task


@pytest.mark.parametrize("adopted", [False, True])
def test_a_kill_undoes_a_start_and_sees_that_it_has_ended(service: Service, adopted: bool) -> None:
    service.statuses, service.after_stop = [STARTING], [STOPPING, STOPPED]
    killed(trigger(adopted=adopted), service)
    assert service.events == ["give up", "stop", "forget"]
    assert service.given_up == [(OWNER, HANDLE)]


def test_a_kill_leaves_alone_what_was_adopted_and_is_ready_by_now(service: Service) -> None:
    service.statuses = [AWAY, READY]
    killed(trigger(adopted=True), service)
    assert service.events == []


def test_a_kill_of_a_stop_undoes_nothing(service: Service) -> None:
    service.statuses = [STOPPING]
    killed(stopping(), service)
    assert service.events == []


def test_a_kill_after_the_event_undoes_nothing(service: Service) -> None:
    waiting = trigger()
    fired(waiting)
    asyncio.run(waiting.on_kill())
    assert service.events == []


def test_the_end_of_a_triggerer_undoes_nothing(service: Service) -> None:
    """It cancels its triggers, and another one makes them again."""
    service.statuses = [STARTING]
    waiting = trigger()

    async def run() -> None:
        task = asyncio.ensure_future(event_of(waiting))
        await asyncio.to_thread(service.looked.wait, SOON)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await waiting.cleanup()

    asyncio.run(run())
    assert service.events == []


# ---- a stop that nobody has heard


def test_a_compute_that_does_not_begin_to_stop_is_told_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "SAY_AGAIN_SECONDS", 0.05)
    service.errors["stop"] = [AWAY]
    service.statuses, service.after_stop = [READY], [STOPPING, STOPPED]
    assert fired(stopping())["status"] == "over"
    assert service.events == ["stop", "stop"]


def test_a_compute_that_stops_is_not_told_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "SAY_AGAIN_SECONDS", 0.01)
    service.statuses = [STOPPING]
    assert fired(stopping(deadline=time.time() + 0.2))["status"] == "timeout"
    assert service.events == []


def test_a_start_is_not_told_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "SAY_AGAIN_SECONDS", 0.01)
    service.statuses = [STARTING]
    fired(trigger(deadline=time.time() + 0.1))
    assert service.events == []


def test_what_asks_about_computes_in_a_triggerer_needs_no_polars(run_python: Callable[..., str]) -> None:
    loaded = run_python(
        "import os, sys\n"
        "os.environ |= {'AIRFLOW__POLARS__DEPLOYMENT_ID': 'tests', 'POLARS_CLOUD_CLIENT_ID': 'account-of-tests',\n"
        "               'POLARS_CLOUD_CLIENT_SECRET': 'secret-of-tests'}\n"
        "from airflow_provider_polars.compute.base import Compute\n"
        "from airflow_provider_polars.hooks.polars import make_hook\n"
        "import airflow_provider_polars.triggers.compute\n"
        f"handle = Compute.from_dict({HANDLE.to_dict()})\n"
        "make_hook(handle, None).get_manager(handle)\n"
        "print(*(name for name in ('polars', 'polars_cloud', 'grpc', 'pyarrow') if name in sys.modules), 'none more')"
    )
    assert loaded.splitlines()[-1] == "none more"
