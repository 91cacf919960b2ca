"""Sensors run one by one, and the triggers that they defer to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

    from tests.harness.in_memory import InMemoryAirflow, TaskOutcome

SOON = {"poke_interval": 0.05, "timeout": 60}
DEFERRABLE = {**SOON, "deferrable": True}


def event_of(trigger: BaseTrigger, meanwhile: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Run a trigger as the triggerer does, ``meanwhile`` once it waits, and return the payload of its event."""

    async def run() -> dict[str, Any]:
        events = trigger.run()
        fired = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await asyncio.to_thread(meanwhile)
        payload: dict[str, Any] = (await fired).payload
        return payload

    return asyncio.run(run())


class Sensing:
    """Runs tries of one sensor.

    :param make: makes the sensor, for each stint anew.
    :ivar events: payloads of what its triggers have fired.
    """

    def __init__(self, airflow: InMemoryAirflow, make: Callable[[], Any], **run: Any) -> None:
        self.airflow = airflow
        self.make = make
        self.run = {"max_tries": 3, **run}
        self.events: list[dict[str, Any]] = []

    def begin(self) -> TaskOutcome:
        """Run it until it ends, defers or is put off."""
        return self.airflow.run_task(self.make(), **self.run)

    def resume(self, deferred: TaskOutcome, event: dict[str, Any]) -> TaskOutcome:
        """Run what is left of it."""
        return self.airflow.resume(self.make(), deferred, event, **self.run)

    def end(self, meanwhile: Callable[[], None] = lambda: None) -> TaskOutcome:
        """Run it to its end, its triggers included; ``meanwhile`` while the first of them waits."""
        outcome = self.begin()
        while outcome.state == "deferred":
            self.events.append(event_of(outcome.trigger(), meanwhile))
            meanwhile = lambda: None  # noqa: E731
            outcome = self.resume(outcome, self.events[-1])
        return outcome
