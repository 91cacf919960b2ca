"""``Rounds``: asks about all that is awaited at a place in one go, again and again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Generic, TypeVar

from airflow_provider_polars.clients.pauses import pauses
from airflow_provider_polars.exceptions import PolarsProviderError

K = TypeVar("K")
V = TypeVar("V")

PAUSE_SECONDS = 1.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 30.0
_log = logging.getLogger(__name__)


class Rounds(Generic[K, V]):
    """One loop for all who await something of one service.

    An outage is ridden out with pauses that grow, and that are at least what the service asks for.

    :param ask: returns what is known of keys; it may block, and is called in a thread, one call at a time.
    :param grace: seconds for which the service may be out of reach; then all who await are told.
    :param passing: errors that may have gone at the next look besides those that are not permanent.
    """

    def __init__(
        self,
        ask: Callable[[Collection[K]], Mapping[K, V]],
        *,
        grace: float,
        passing: tuple[type[PolarsProviderError], ...] = (),
    ) -> None:
        self._ask = ask
        self._grace = grace
        self._passing = passing
        self._awaited: dict[K, list[tuple[Callable[[V], bool], asyncio.Future[V]]]] = {}
        self._loop: asyncio.Task[None] | None = None

    async def until(self, key: K, done: Callable[[V], bool]) -> V:
        """Return what is known of ``key``, once that is ``done``.

        Raises what ``ask`` raises: at once if that does not pass, else when the grace is over.
        """
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        waiter = (done, future)
        self._awaited.setdefault(key, []).append(waiter)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._run(), name="polars-rounds")
        try:
            return await future
        finally:
            if waiter in (waiters := self._awaited.get(key, [])):
                waiters.remove(waiter)
                if not waiters:
                    del self._awaited[key]

    async def close(self) -> None:
        """End the loop; nobody may await anything any more."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait({self._loop})

    async def _run(self) -> None:
        away, since = pauses(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS), None
        while self._awaited:
            try:
                self._tell(await asyncio.to_thread(self._ask, list(self._awaited)))
                away, since = pauses(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS), None
                pause = PAUSE_SECONDS
            except Exception as error:
                since = since or time.monotonic()
                if not self._passes(error) or time.monotonic() - since > self._grace:
                    self._fail(error)
                    return
                _log.info("%s", error)
                pause = max(next(away), retry_after(error))
            await asyncio.sleep(pause)

    def _passes(self, error: Exception) -> bool:
        return isinstance(error, self._passing) or (isinstance(error, PolarsProviderError) and not error.permanent)

    def _tell(self, found: Mapping[K, V]) -> None:
        for key, value in found.items():
            for done, future in self._awaited.get(key, []):
                if not future.done() and done(value):
                    future.set_result(value)

    def _fail(self, error: Exception) -> None:
        for waiters in self._awaited.values():
            for _, future in waiters:
                if not future.done():
                    future.set_exception(error)


def retry_after(error: Any) -> float:
    """Return the seconds for which a service has asked to be left alone, 0 if it has not."""
    return float(getattr(error, "retry_after", None) or 0.0)
