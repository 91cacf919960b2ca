"""``ComputeWatch``: all waiting of one process for computes of one place, on one event loop, without Polars."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

from airflow_provider_polars.backends.managing import PASSING, ComputeManager, ComputeStatus
from airflow_provider_polars.backends.rounds import Rounds
from airflow_provider_polars.exceptions import CredentialsError

GRACE_SECONDS = 300.0
"""For which the service may be away before those who wait are told."""


class ComputeWatch:
    """Looks at the computes that somebody awaits, all in one go, and rides out what passes.

    :param make_manager: returns what asks about the computes, credentials read anew; it may block, and is called in a
        thread.
    :param grace: seconds for which the service may be out of reach.
    """

    def __init__(self, make_manager: Callable[[], ComputeManager[Any]], *, grace: float) -> None:
        self._make_manager = make_manager
        self._making = threading.Lock()
        self._manager: ComputeManager[Any] | None = None
        self._rounds: Rounds[Any, ComputeStatus] = Rounds(self._ask, grace=grace, passing=PASSING)

    async def until(self, handle: Any, done: Callable[[ComputeStatus], bool]) -> ComputeStatus:
        """Return the status of a compute, once it is ``done``.

        :raises PolarsProviderError: what a look raises: one of :data:`PASSING` when the grace is over, others at once.
        """
        return await self._rounds.until(handle, done)

    async def manager(self) -> ComputeManager[Any]:
        """Return what looks at the computes, for calls in a thread."""
        return await asyncio.to_thread(self._made)

    async def close(self) -> None:
        """End the looking, and hang up."""
        await self._rounds.close()
        if self._manager is not None:
            await asyncio.to_thread(self._manager.close)

    def _made(self) -> ComputeManager[Any]:
        with self._making:
            if self._manager is None:
                self._manager = self._make_manager()
            return self._manager

    def _ask(self, handles: Collection[Any]) -> Mapping[Any, ComputeStatus]:
        try:
            return self._made().statuses(handles)
        except CredentialsError:
            self._manager = None  # they may have been changed; whoever uses it still may go on
            raise
