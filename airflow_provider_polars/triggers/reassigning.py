"""Whether a trigger is to end because its task is wanted no more, or because another trigger waits for it now.

Airflow 3.3 does not tell the two apart: a triggerer that was held up for longer than ``[triggerer]
triggerer_health_check_threshold`` finds that its triggers are another's, and calls ``on_kill()`` of each
(``TriggerRunnerSupervisor.update_triggers``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

DEFERRED = "deferred"
ANSWER_SECONDS = 20.0
"""The first question to a triggerer takes seconds: it makes its API for that (``in_process_api_server``)."""
_undoing: set[asyncio.Future[Any]] = set()


async def undo_if_unwanted(trigger: BaseTrigger, undo: Callable[[], Awaitable[None]]) -> None:
    """Call ``undo`` unless the task still waits, and see to its end.

    A triggerer that looks again meanwhile cancels ``on_kill()`` itself; the work goes on then.
    """

    async def work() -> None:
        if not await is_reassigned(trigger):
            await undo()

    undoing = asyncio.ensure_future(work())
    _undoing.add(undoing)
    undoing.add_done_callback(_undoing.discard)
    await asyncio.shield(undoing)


async def is_reassigned(trigger: BaseTrigger) -> bool:
    """Return whether the task still waits; False if nobody can be asked.

    Another triggerer has its trigger then, or a next try, which itself ends or adopts what was there before.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from asgiref.sync import sync_to_async

    ti = trigger.task_instance
    if ti is None:
        return False
    asked = sync_to_async(RuntimeTaskInstance.get_task_states)(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    try:
        states = await asyncio.wait_for(asked, ANSWER_SECONDS)
    except Exception as error:
        trigger.log.warning("Whether the task still waits is not known: %s", type(error).__name__)
        return False
    found = set(states.get(ti.run_id, {}).values()) == {DEFERRED}
    if found:
        trigger.log.info("The task still waits, but not for this trigger")
    return found
