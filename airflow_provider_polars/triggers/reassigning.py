"""What a trigger that is told to end leaves to others: to another trigger of its task, or to the next try of that.

Airflow 3.3 does not say why a trigger ends. A triggerer that was held up for longer than ``[triggerer]
triggerer_health_check_threshold`` finds that its triggers are another's, and calls ``on_kill()`` of each
(``TriggerRunnerSupervisor.update_triggers``), as it does once a person has marked or cleared their tasks.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

DEFERRED = "deferred"
FOLLOWED = ("scheduled", "queued", "running", "restarting", "up_for_retry", "up_for_reschedule")
"""States of a task of which a next try begins, or has begun while nobody had answered yet."""

ANSWER_SECONDS = 20.0
"""The first question to a triggerer takes seconds: it makes its API for that (``in_process_api_server``)."""
_undoing: set[asyncio.Future[Any]] = set()
_asking: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()


async def undo_if_unwanted(trigger: BaseTrigger, undo: Callable[[bool], Awaitable[None]]) -> None:
    """Call ``undo`` unless the task still waits, and see to its end.

    A triggerer that looks again meanwhile cancels ``on_kill()`` itself; the work goes on then.

    :param undo: is told whether a next try follows, which adopts or stops the compute of this one. Queries it submits
        anew.
    """

    async def work() -> None:
        state = await _state(trigger)
        if state == DEFERRED:
            trigger.log.info("The task still waits, but not for this trigger")
        else:
            await undo(state in FOLLOWED)

    undoing = asyncio.ensure_future(work())
    _undoing.add(undoing)
    undoing.add_done_callback(_undoing.discard)
    await asyncio.shield(undoing)


async def _state(trigger: BaseTrigger) -> str | None:
    """Return the state of the task; None if it has none, or if nobody can be asked.

    One trigger asks at a time, as Airflow has one thread for that: the time of a question that waits for its turn
    does not run.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from asgiref.sync import sync_to_async

    ti = trigger.task_instance
    if ti is None:
        return None
    async with _asking.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        asked = sync_to_async(RuntimeTaskInstance.get_task_states)(
            dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
        )
        try:
            states = await asyncio.wait_for(asked, ANSWER_SECONDS)
        except Exception as error:
            trigger.log.warning("Whether the task still waits is not known: %s", type(error).__name__)
            return None
    found = set(states.get(ti.run_id, {}).values())
    return found.pop() if len(found) == 1 else None
