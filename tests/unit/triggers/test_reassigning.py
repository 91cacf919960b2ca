"""A triggerer that finds its triggers with another one calls them as if a person had ended their tasks."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from airflow_provider_polars.triggers import reassigning
from airflow_provider_polars.triggers.compute import PolarsComputeTrigger
from tests.unit.scripted_manager import SOON, STARTING, Service
from tests.unit.triggers.test_compute_trigger import killed, trigger

PLAIN, MAPPED = -1, 2


def of_task(waiting: PolarsComputeTrigger, map_index: int) -> PolarsComputeTrigger:
    """Return a trigger that knows its task, as the triggerer makes it."""
    waiting._task_instance = SimpleNamespace(dag_id="sales", task_id="start", run_id="manual", map_index=map_index)
    return waiting


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what Airflow answers to the question for states, to be filled in; what was asked is ``asked``."""
    answer: dict[str, Any] = {}

    def get_task_states(**asked: Any) -> dict[str, Any]:
        answer["asked"] = asked
        time.sleep(answer.get("seconds", 0.0))
        if "error" in answer:
            raise answer["error"]
        name = "start" if asked["map_index"] < 0 else f"start_{asked['map_index']}"
        return {"manual": {name: answer["state"]} if answer["state"] else {}}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(get_task_states))
    return answer


@pytest.mark.parametrize("map_index", [PLAIN, MAPPED], ids=["plain", "mapped"])
def test_a_task_that_still_waits_is_another_triggerers_and_nothing_is_undone(
    service: Service, said: dict[str, Any], map_index: int, capsys: pytest.CaptureFixture[str]
) -> None:
    service.statuses = [STARTING]
    said["state"] = "deferred"

    killed(of_task(trigger(), map_index), service)

    assert service.events == []
    assert said["asked"] == {"dag_id": "sales", "task_ids": ["start"], "run_ids": ["manual"], "map_index": map_index}
    assert "The task still waits, but not for this trigger" in capsys.readouterr().out


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed", "upstream_failed", None])
def test_the_start_of_a_task_that_has_ended_or_that_nobody_schedules_is_undone(
    service: Service, said: dict[str, Any], state: str | None
) -> None:
    service.statuses = [STARTING]
    said["state"] = state

    killed(of_task(trigger(), PLAIN), service)

    assert service.events == ["give up", "stop", "forget"]


@pytest.mark.parametrize("state", ["scheduled", "queued", "running", "restarting", "up_for_retry", "up_for_reschedule"])
def test_the_compute_of_a_cleared_task_is_left_to_its_next_try_which_may_have_it_already(
    service: Service, said: dict[str, Any], state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service.statuses = [STARTING]
    said["state"] = state

    killed(of_task(trigger(), PLAIN), service)

    assert service.events == []
    assert "is left to the next try of the task" in capsys.readouterr().out


def test_many_that_ask_at_once_all_hear_that_their_tasks_still_wait(
    service: Service, said: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All together they take longer than the answer to one of them may."""
    monkeypatch.setattr(reassigning, "ANSWER_SECONDS", 1.0)
    said["state"] = "deferred"
    said["seconds"] = 0.02
    triggers = [of_task(trigger(), index) for index in range(100)]

    async def kill() -> None:
        await asyncio.gather(*(each.on_kill() for each in triggers))

    asyncio.run(asyncio.wait_for(kill(), 30 * SOON))

    assert service.events == []


def test_a_task_of_which_nobody_tells_is_undone(
    service: Service, said: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    service.statuses = [STARTING]
    said["error"] = ConnectionError("away")

    killed(of_task(trigger(), PLAIN), service)

    assert service.events == ["give up", "stop", "forget"]
    assert "Whether the task still waits is not known: ConnectionError" in capsys.readouterr().out


def test_a_question_without_an_answer_is_given_up(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(*args: Any, **kwargs: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(reassigning, "ANSWER_SECONDS", 0.01)
    monkeypatch.setattr("asgiref.sync.sync_to_async", lambda function: ask)
    service.statuses = [STARTING]

    killed(of_task(trigger(), PLAIN), service)

    assert service.events == ["give up", "stop", "forget"]
