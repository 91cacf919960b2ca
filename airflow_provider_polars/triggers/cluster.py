"""``PolarsClusterTrigger``: looks for a cluster while no worker does."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.exceptions import PolarsProviderError
from airflow_provider_polars.hooks.readiness import Wanted, why_not

SHORTEST_PAUSE_SECONDS = 0.1
_looking = ThreadPoolExecutor(8, thread_name_prefix="polars-look")
"""Threads of its own: a look takes up to 15 seconds, and triggers that wait for queries need the others."""


class PolarsClusterTrigger(BaseTrigger):
    """Look again and again until a cluster takes queries, or the deadline has come.

    The event is a dict: ``status`` is ``ready``, ``timeout`` or ``failed`` (for a reason that no waiting mends),
    ``message`` says why it is not ready, and ``deadline`` is as given.

    :param compute: the cluster, as :meth:`Compute.to_dict` writes it.
    :param conn_id: Airflow connection.
    :param version: version of Polars that it must run; None for any.
    :param min_workers: workers that it must have; None for any number.
    :param poke_interval: seconds between two looks.
    :param deadline: epoch seconds.
    """

    def __init__(
        self,
        *,
        compute: Mapping[str, Any],
        conn_id: str | None = None,
        version: str | None = None,
        min_workers: int | None = None,
        poke_interval: float = 60.0,
        deadline: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.compute = dict(compute)
        self.conn_id = conn_id
        self.version = version
        self.min_workers = min_workers
        self.poke_interval = poke_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class and its arguments."""
        names = ("compute", "conn_id", "version", "min_workers", "poke_interval", "deadline")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event."""
        try:
            reason = await self._wait()
            status, message = ("timeout", str(reason)) if reason else ("ready", "")
        except PolarsProviderError as error:
            status, message = "failed", str(error)
        yield TriggerEvent({"status": status, "message": message, "deadline": self.deadline})  # type: ignore[no-untyped-call]

    async def _wait(self) -> PolarsProviderError | None:
        """Return why the cluster was not ready when the deadline came, None as soon as it is."""
        told = ""
        wanted = Wanted(version=self.version, min_workers=self.min_workers)
        while (reason := await self._look(wanted)) is not None:
            if str(reason) != told:
                told = str(reason)
                self.log.info("Not yet: %s", told)
            if (left := self.deadline - time.time()) <= 0:
                break
            await asyncio.sleep(min(left, max(self.poke_interval, SHORTEST_PAUSE_SECONDS)))
        return reason

    async def _look(self, wanted: Wanted) -> PolarsProviderError | None:
        look = functools.partial(why_not, Compute.from_dict(self.compute), self.conn_id, wanted)
        within = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(_looking, within.run, look)
