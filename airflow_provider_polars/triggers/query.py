"""``PolarsQueryTrigger``: waits for queries while no worker does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_polars.backends.base import Run, RunState
from airflow_provider_polars.backends.query_watch import QueryWatch
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.compute_lifecycle import Pending
from airflow_provider_polars.exceptions import ClusterUnreachableError, PolarsProviderError
from airflow_provider_polars.lifecycle import FIRST_WORD_SECONDS, LONGEST_SILENCE_SECONDS
from airflow_provider_polars.triggers.compute_watches import abandon_start
from airflow_provider_polars.triggers.reassigning import undo_if_unwanted
from airflow_provider_polars.triggers.watches import watching


class PolarsQueryTrigger(BaseTrigger):
    """Wait until all queries of a task have ended, or the deadline has come.

    It rides out a compute that is out of reach for a while. The event is a dict: ``status`` is ``ended``, ``timeout``,
    ``unreachable`` or ``failed`` (the waiting, not the query), ``runs``, ``deadline`` and ``owner`` are as given,
    ``states`` are the states of the queries by their id, as far as they are known, and ``message`` says what went
    wrong. With ``timeout`` and ``cancel_on_kill`` the queries that live have been told to end, for the task may be
    marked before a worker goes on with it, which sees to their end.

    :param runs: the queries, as :meth:`Run.to_dict` writes them; all on one compute.
    :param conn_id: Airflow connection of the compute.
    :param deadline: epoch seconds; None for none.
    :param cancel_on_kill: whether the queries are cancelled when a person marks or clears the task, or time is over.
    :param owner: for whom their compute was started, as a dict: it is stopped then, and they end with it, unless a
        next try follows, which has it from then on. None for a compute that is not the task's own.
    """

    def __init__(
        self,
        *,
        runs: Sequence[Mapping[str, Any]],
        conn_id: str | None = None,
        deadline: float | None = None,
        cancel_on_kill: bool = True,
        owner: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.runs = [dict(run) for run in runs]
        self.conn_id = conn_id
        self.deadline = deadline
        self.cancel_on_kill = cancel_on_kill
        self.owner = None if owner is None else dict(owner)
        self._fired = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class and its arguments."""
        names = ("runs", "conn_id", "deadline", "cancel_on_kill", "owner")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event."""
        runs = [Run.from_dict(run) for run in self.runs]
        states: dict[str, RunState] = {}
        try:
            async with watching(runs[0].compute, self.conn_id) as watch:
                ended = await self._watch(watch, runs, states)
                if not ended and self.cancel_on_kill:
                    await watch.ask_end([run for run in runs if run.query_id not in states])
            status, message = "ended" if ended else "timeout", ""
        except ClusterUnreachableError as error:
            status, message = "unreachable", str(error)
        except PolarsProviderError as error:
            status, message = "failed", str(error)
        self._fired = True
        told = {query_id: state.value for query_id, state in states.items()}
        given = {"runs": self.runs, "deadline": self.deadline, "owner": self.owner}
        yield TriggerEvent({"status": status, "message": message, "states": told, **given})  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Cancel the queries of a task that a person has marked or cleared, and see that they have ended."""
        if not self._fired and self.cancel_on_kill:
            await undo_if_unwanted(self, self._cancel)

    async def _cancel(self, followed: bool) -> None:
        runs = [Run.from_dict(run) for run in self.runs]
        if self.owner is not None:
            handle = Compute.from_dict(runs[0].compute)
            if not followed:
                pending = Pending(handle=handle, adopted=False, since=runs[0].submitted_at)
                await abandon_start(pending, self.conn_id, self.owner, shared=False, log=self.log)
                return
            self.log.info("%r is left to the next try of the task", handle)
        names = ", ".join(run.query_id for run in runs)
        async with watching(runs[0].compute, self.conn_id) as watch:
            living = await watch.cancel(runs)
        if living:
            names = ", ".join(run.query_id for run in living)
            self.log.warning("query %s was told to end, which is not confirmed: look at its compute", names)
        else:
            self.log.info("Cancelled query %s: its task was marked or cleared", names)

    async def _watch(self, watch: QueryWatch, runs: Sequence[Run], states: dict[str, RunState]) -> bool:
        """Return whether all queries have ended, or else the deadline has come."""
        waiting = {asyncio.ensure_future(watch.ended(run)): run for run in runs}
        silence, talks_at = FIRST_WORD_SECONDS, time.time() + FIRST_WORD_SECONDS
        telling: asyncio.Task[None] | None = None
        try:
            while waiting:
                wakes_at = talks_at if self.deadline is None else min(talks_at, self.deadline)
                done, _ = await asyncio.wait(
                    waiting, timeout=max(wakes_at - time.time(), 0), return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    states[waiting.pop(task).query_id] = task.result()
                if waiting and self.deadline is not None and time.time() >= self.deadline:
                    return False
                if waiting and time.time() >= talks_at:
                    silence = min(silence * 2, LONGEST_SILENCE_SECONDS)
                    talks_at = time.time() + silence
                    if telling is None or telling.done():
                        telling = asyncio.create_task(self._tell(watch, list(waiting.values())))
            return True
        finally:
            unfinished: list[asyncio.Future[Any]] = [*waiting, *([telling] if telling else [])]
            for future in unfinished:
                future.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)

    async def _tell(self, watch: QueryWatch, runs: Sequence[Run]) -> None:
        for run in runs:
            minutes = (time.time() - run.submitted_at) / 60
            progress = await watch.progress(run)
            self.log.info(
                "query %s runs for %.1f minutes%s", run.query_id, minutes, f": {progress}" if progress else ""
            )
