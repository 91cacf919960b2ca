"""A trigger that only sleeps, and how tasks come to wait for triggers without a worker that defers them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class SleepingTrigger(BaseTrigger):
    """Sleep for an hour.

    :param begun: a file that gets a letter when it begins to.
    """

    def __init__(self, begun: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.begun = begun

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class and its arguments."""
        return "benchmarks.sleeping.SleepingTrigger", {"begun": self.begun}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event that nobody waits for."""
        with open(self.begun, "a") as file:
            file.write("x")
        await asyncio.sleep(3600)
        yield TriggerEvent(None)  # type: ignore[no-untyped-call]


def defer(dag_id: str, triggers: list[list[Any]]) -> None:
    """Have tasks of a DAG wait for these triggers, given by path and arguments, and for no others."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from sqlalchemy import delete, select

    with create_session() as session:
        tasks = list(session.scalars(select(TaskInstance).where(TaskInstance.dag_id == dag_id)))
        for task in tasks:
            task.trigger_id, task.state = None, None
        session.flush()
        session.execute(delete(Trigger))
        for task, (path, arguments) in zip(tasks, triggers, strict=False):
            trigger = Trigger(path, arguments)
            session.add(trigger)
            session.flush()
            task.trigger_id, task.state = trigger.id, "deferred"


if __name__ == "__main__":
    defer(sys.argv[1], json.load(sys.stdin))
