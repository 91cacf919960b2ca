"""A triggerer that finds its triggers with another one calls them as if a person had ended their tasks."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from airflow_provider_polars.triggers.compute import PolarsComputeTrigger
from tests.unit.scripted_manager import STARTING, Service
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


@pytest.mark.parametrize("state", ["failed", "success", "scheduled", "running", None])
def test_a_task_that_a_person_has_marked_or_cleared_is_undone(
    service: Service, said: dict[str, Any], state: str | None
) -> None:
    service.statuses = [STARTING]
    said["state"] = state

    killed(of_task(trigger(), PLAIN), service)

    assert service.events == ["give up", "stop", "forget"]


def test_a_task_of_which_nobody_tells_is_undone(
    service: Service, said: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    service.statuses = [STARTING]
    said["error"] = ConnectionError("away")

    killed(of_task(trigger(), PLAIN), service)

    assert service.events == ["give up", "stop", "forget"]
    assert "Whether the task still waits is not known: ConnectionError" in capsys.readouterr().out


def test_a_question_without_an_answer_is_given_up(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_polars.triggers import reassigning

    async def ask(*args: Any, **kwargs: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(reassigning, "ANSWER_SECONDS", 0.01)
    monkeypatch.setattr("asgiref.sync.sync_to_async", lambda function: ask)
    service.statuses = [STARTING]

    killed(of_task(trigger(), PLAIN), service)

    assert service.events == ["give up", "stop", "forget"]
