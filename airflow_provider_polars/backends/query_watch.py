"""``QueryWatch``: all waiting of one process for the queries of one compute, on one event loop, without Polars."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_polars.backends import polars_client
from airflow_provider_polars.backends.base import Run, RunState
from airflow_provider_polars.backends.proxied_queries import ProxiedQueries, is_terminal
from airflow_provider_polars.backends.remote import UNREACHABLE_SECONDS, RemoteBackend, state_of
from airflow_provider_polars.backends.rounds import retry_after
from airflow_provider_polars.backends.watch_connections import Connection, Plane, WatchConnections
from airflow_provider_polars.clients.observatory import describe
from airflow_provider_polars.clients.pauses import pauses
from airflow_provider_polars.clients.proxy_plane import ProxyPlane
from airflow_provider_polars.exceptions import (
    ClusterAccessError,
    ComputeLostError,
    CredentialsError,
    PolarsProviderError,
)

LOOK_SECONDS = 30.0
"""Between two looks at whether the compute of queries lives that cannot be asked about, or that a proxy tells of."""

CANCEL_SECONDS = 22.0
"""For a cancel to be confirmed, before a last call; Airflow gives a trigger 30 s (``[triggerer] on_kill_timeout``)."""

SILENT_SECONDS = 300.0
"""For which an observatory is left alone that has told nothing."""

ASKED_AT_ONCE = 4
"""Questions to an observatory, and so the threads that one which hangs can hold."""

REFUSALS = (ClusterAccessError, CredentialsError)
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 15.0
_CONFIRM_SECONDS, _LONGEST_CONFIRM_SECONDS, _CONFIRM_CALL_SECONDS = 0.2, 2.0, 3.0
_ASK_SECONDS = 3.0
_log = logging.getLogger(__name__)


class QueryWatch:
    """Awaits queries, rides out what passes, and confirms what is cancelled.

    A compute that cannot be asked is asked about one query for all that are awaited until it answers again.

    :param make_backend: returns the backend of the compute, credentials read anew; it may block, and is called in a
        thread.
    :param grace: seconds for which the compute may be out of reach.
    :param proxied: what asks about queries in proxy mode, of this compute and of others of its workspace.
    """

    def __init__(
        self,
        make_backend: Callable[[], RemoteBackend[Any]],
        *,
        grace: float = UNREACHABLE_SECONDS,
        proxied: ProxiedQueries | None = None,
    ) -> None:
        self._connections = WatchConnections(make_backend)
        self._grace = grace
        self._returning: asyncio.Task[PolarsProviderError | None] | None = None
        self._cut_off: dict[object, Run] = {}
        self._proxied = proxied or ProxiedQueries(grace=grace)
        self._looking = asyncio.Lock()
        self._looked = -LOOK_SECONDS
        self._lost = False
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE)
        self._silent_until = 0.0

    async def ended(self, run: Run) -> RunState:
        """Return the state of a query once it is terminal; ``LOST`` if the compute does not know it, or has ended.

        :raises ClusterUnreachableError: if it could not be asked about for longer than the grace.
        :raises ClusterAccessError: if the credentials, read anew, are refused for longer than the grace.
        :raises PolarsProviderError: what making the backend raises.
        """
        since = None
        while not self._lost:
            connection: Connection | None = None
            try:
                connection = await self._connections.get()
                if (state := state_of(await self._status(connection.plane, run))).is_terminal:
                    return state
                since = None
            except ComputeLostError:
                break
            except PolarsProviderError as error:
                since = since or time.monotonic()
                final = self._is_final(error, connection) or _is_ridden_out(error, connection)
                if final or time.monotonic() - since > self._grace:
                    raise
                await self._until_reached(run, error)
        return RunState.LOST

    async def cancel(self, runs: Sequence[Run], seconds: float = CANCEL_SECONDS) -> list[Run]:
        """Ask for the end of queries until it is confirmed, and return those of which it is not in time."""
        living, deadline = list(runs), time.monotonic() + seconds
        away = pauses(_CONFIRM_SECONDS, _LONGEST_CONFIRM_SECONDS)
        while living and not self._lost and time.monotonic() < deadline:
            connection: Connection | None = None
            try:
                connection = await self._connections.get()
                await asyncio.gather(*(connection.cancel(run.query_id) for run in living))
                await asyncio.sleep(next(away))
                asked = (connection.status(run.query_id, _CONFIRM_CALL_SECONDS) for run in living)
                statuses = await asyncio.gather(*asked)
                living = [run for run, status in zip(living, statuses, strict=True) if not is_terminal(status)]
            except ComputeLostError:
                return []
            except PolarsProviderError as error:
                if self._is_final(error, connection):
                    raise
                await self._look(living[0])
                await asyncio.sleep(next(away))
        return [] if self._lost else living

    async def ask_end(self, runs: Sequence[Run]) -> None:
        """Ask for the end of queries once, as far as they can be reached now."""

        async def ask() -> None:
            connection = await self._connections.get()
            await asyncio.gather(*(connection.cancel(run.query_id) for run in runs))

        with contextlib.suppress(PolarsProviderError, asyncio.TimeoutError):
            await asyncio.wait_for(ask(), _ASK_SECONDS)

    async def progress(self, run: Run) -> str:
        """Return how far a query has come, as words; "" where nobody tells."""
        if self._connections.last is None:
            return ""
        backend, details = self._connections.last.backend, None
        async with self._asking:
            if time.monotonic() < self._silent_until:
                return ""
            with contextlib.suppress(PolarsProviderError):
                details = await asyncio.to_thread(lambda: backend.ask_details(run)())
            if details is None:
                self._silent_until = time.monotonic() + SILENT_SECONDS
        return describe(details or {})

    async def close(self) -> None:
        """Hang up; nobody may await anything any more."""
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.wait({self._returning})
        await self._connections.close()

    async def _status(self, plane: Plane, run: Run) -> int | None:
        """Return the status of a query, once it has ended or a while has passed."""
        if isinstance(plane, ProxyPlane):
            return await self._status_by_proxy(plane, run)
        if polars_client.holds_results():
            return await plane.ended(run.query_id)
        if not is_terminal(status := await plane.status(run.query_id)):
            await asyncio.sleep(_FIRST_PAUSE_SECONDS)
        return status

    async def _status_by_proxy(self, plane: ProxyPlane, run: Run) -> int | None:
        """Return the status of a query once it has ended; None if its instance has, which Polars Cloud may not note."""
        ended = asyncio.ensure_future(self._proxied.ended(plane, run.query_id))
        try:
            while not ended.done():
                await self._look(run)
                if self._lost:
                    return None
                await asyncio.wait({ended}, timeout=LOOK_SECONDS)
            return ended.result()
        finally:
            ended.cancel()

    def _is_final(self, error: PolarsProviderError, connection: Connection | None) -> bool:
        """Return whether trying again does not help; credentials that are refused are read anew."""
        if isinstance(error, REFUSALS) and connection is not None:
            self._connections.refuse(connection)
            return False
        return error.permanent

    async def _until_reached(self, run: Run, error: PolarsProviderError) -> None:
        """Return when the compute may be asked again, or has ended; raise if that takes too long."""
        if self._returning is None or self._returning.done():
            self._returning = asyncio.create_task(self._reach(error), name="polars-reach")
        returning, key = self._returning, object()
        self._cut_off[key] = run
        try:
            await asyncio.wait({returning})
        finally:
            del self._cut_off[key]
        if (final := returning.result()) is not None:
            raise final

    async def _reach(self, error: PolarsProviderError) -> PolarsProviderError | None:
        """Ask about one query at a time until there is an answer; return what stands against asking further."""
        since, away = time.monotonic(), pauses(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        while True:
            _log.debug("%s", error)
            await asyncio.sleep(max(next(away), retry_after(error)))
            if not self._cut_off:
                return None
            run = random.choice(list(self._cut_off.values()))
            connection: Connection | None = None
            try:
                await self._look(run)
                if not self._lost:
                    connection = await self._connections.get()
                    await connection.status(run.query_id)
                return None
            except ComputeLostError:
                return None
            except PolarsProviderError as new:
                error = new
                if self._is_final(error, connection) or time.monotonic() - since > self._grace:
                    return error

    async def _look(self, run: Run) -> None:
        """See whether a compute that cannot be asked has ended."""
        async with self._looking:
            connection = self._connections.last
            if connection is None or time.monotonic() - self._looked < LOOK_SECONDS:
                return
            self._looked = time.monotonic()
            self._lost = await asyncio.to_thread(connection.backend.lost, run) is not None


def _is_ridden_out(error: PolarsProviderError, connection: Connection | None) -> bool:
    """Return whether the rounds in proxy mode have waited out an error already."""
    return connection is not None and isinstance(connection.plane, ProxyPlane) and not isinstance(error, REFUSALS)
