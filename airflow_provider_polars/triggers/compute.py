"""``PolarsComputeTrigger``: waits until a compute is ready, or has ended, while no worker does."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_polars.backends.compute_watch import ComputeWatch
from airflow_provider_polars.backends.managing import PASSING, ComputeState, ComputeStatus
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.compute_lifecycle import SAY_AGAIN_SECONDS, Pending
from airflow_provider_polars.exceptions import PolarsProviderError
from airflow_provider_polars.lifecycle import FIRST_WORD_SECONDS, LONGEST_SILENCE_SECONDS
from airflow_provider_polars.triggers.compute_watches import abandon_start, watching_compute
from airflow_provider_polars.triggers.reassigning import undo_if_unwanted

ARGUMENTS = ("handle", "until", "since", "conn_id", "deadline", "owner", "adopted", "shared")


class PolarsComputeTrigger(BaseTrigger):
    """Wait until a compute that was started is ready, or one that was told to stop has ended, or the deadline has come.

    It rides out a service that is away for a while. The event is a dict: ``status`` is ``ready``, ``over``,
    ``timeout``, ``unreachable`` or ``failed`` (the waiting, not the compute), ``at`` is when that was seen in epoch
    seconds, ``message`` says what went wrong or how the compute stands, and ``handle``, ``since``, ``deadline`` and
    ``adopted`` are as given.

    :param handle: the compute, as :meth:`Compute.to_dict` writes it.
    :param until: ``ready`` or ``over``. A compute that will not become ready ends the wait for that too.
    :param since: when the wait has begun, in epoch seconds.
    :param conn_id: Airflow connection of the compute.
    :param deadline: epoch seconds; None for none.
    :param owner: whose start is undone when a person marks or clears the task, as a dict; None for a stop.
    :param adopted: whether the compute was there before the task began to wait for it.
    :param shared: whether other tasks may use it: one that was adopted and is ready is left to them.
    """

    def __init__(
        self,
        *,
        handle: Mapping[str, Any],
        until: Literal["ready", "over"],
        since: float,
        conn_id: str | None = None,
        deadline: float | None = None,
        owner: Mapping[str, Any] | None = None,
        adopted: bool = False,
        shared: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.handle = dict(handle)
        self.until = until
        self.since = since
        self.conn_id = conn_id
        self.deadline = deadline
        self.owner = None if owner is None else dict(owner)
        self.adopted = adopted
        self.shared = shared
        self._fired = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class and its arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in ARGUMENTS}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event."""
        handle = Compute.from_dict(self.handle)
        try:
            async with watching_compute(handle, self.conn_id) as watch:
                found = await self._watch(watch, handle)
            if found is None:
                status, message = "timeout", ""
            else:
                status, message = "ready" if found.state is ComputeState.READY else "over", str(found)
        except PASSING as error:
            status, message = "unreachable", str(error)
        except PolarsProviderError as error:
            status, message = "failed", str(error)
        self._fired = True
        given = {name: getattr(self, name) for name in ("handle", "since", "deadline", "adopted")}
        yield TriggerEvent({"status": status, "message": message, "at": time.time(), **given})  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Stop what a start has started whose task a person has ended, and see that it has ended."""
        if not self._fired and self.owner is not None:
            await undo_if_unwanted(self, functools.partial(self._undo, self.owner))

    async def _undo(self, owner: Mapping[str, Any], followed: bool) -> None:
        handle = Compute.from_dict(self.handle)
        if followed:
            self.log.info("%r is left to the next try of the task", handle)
            return
        pending = Pending(handle=handle, adopted=self.adopted, since=self.since)
        await abandon_start(pending, self.conn_id, owner, shared=self.shared, log=self.log)

    async def _watch(self, watch: ComputeWatch, handle: Compute) -> ComputeStatus | None:
        """Return the status that ends the wait, None if the deadline has come before."""
        seen: list[ComputeStatus] = []

        def is_done(status: ComputeStatus) -> bool:
            seen[:] = [status]
            if self.until == "over":
                return status.state.is_over
            return not status.state.may_become_ready(adopted=self.adopted)

        waiting = asyncio.create_task(watch.until(handle, is_done))
        meanwhile = [asyncio.create_task(self._talk(handle, seen))]
        if self.until == "over":
            meanwhile.append(asyncio.create_task(self._tell_again(watch, handle, seen)))
        try:
            await asyncio.wait([waiting], timeout=self.deadline and max(self.deadline - time.time(), 0))
            return waiting.result() if waiting.done() else None
        finally:
            for task in (waiting, *meanwhile):
                task.cancel()
            await asyncio.gather(waiting, *meanwhile, return_exceptions=True)

    async def _talk(self, handle: Compute, seen: Sequence[ComputeStatus]) -> None:
        silence = FIRST_WORD_SECONDS
        while True:
            await asyncio.sleep(silence)
            silence = min(silence * 2, LONGEST_SILENCE_SECONDS)
            minutes = (time.time() - self.since) / 60
            self.log.info("after %.1f minutes %r is %s", minutes, handle, seen[0] if seen else "not to be asked about")

    async def _tell_again(self, watch: ComputeWatch, handle: Compute, seen: Sequence[ComputeStatus]) -> None:
        """Have a compute told again that has not begun to stop."""
        while True:
            await asyncio.sleep(SAY_AGAIN_SECONDS)
            if seen and seen[0].state in (ComputeState.STARTING, ComputeState.READY):
                try:
                    await asyncio.to_thread((await watch.manager()).stop, handle)
                except PolarsProviderError as error:
                    self.log.warning("%s", error)
