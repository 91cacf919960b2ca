"""``WatchConnections``: the way to the compute whose queries a process awaits, found anew where it is refused."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from typing import Any

from airflow_provider_polars.backends.remote import RemoteBackend
from airflow_provider_polars.clients.async_compute_plane import AsyncComputePlane
from airflow_provider_polars.clients.compute_plane import CALL_SECONDS
from airflow_provider_polars.clients.proxy_plane import ProxyPlane
from airflow_provider_polars.exceptions import PolarsProviderError

RENEW_SECONDS = 5.0
"""Between two readings of the credentials."""

Plane = AsyncComputePlane | ProxyPlane


@dataclasses.dataclass(frozen=True, eq=False)
class Connection:
    """A way to the compute, as one reading of the credentials gives it."""

    backend: RemoteBackend[Any]
    plane: Plane

    async def status(self, query_id: str, seconds: float = CALL_SECONDS) -> int | None:
        """Return the status of a query, None if it is not known."""
        if isinstance(self.plane, AsyncComputePlane):
            return await self.plane.status(query_id, seconds)
        return await asyncio.to_thread(self.plane.status, query_id, seconds)

    async def cancel(self, query_id: str) -> None:
        """Ask for the end of a query."""
        if isinstance(self.plane, AsyncComputePlane):
            await self.plane.cancel(query_id)
        else:
            await asyncio.to_thread(self.plane.cancel, query_id)

    async def close(self, successor: Connection | None = None) -> None:
        """Hang up, but for what a ``successor`` has taken over."""
        if isinstance(self.plane, AsyncComputePlane):
            await self.plane.close(_async_plane(successor))
        else:
            await asyncio.to_thread(self.plane.close)
        await asyncio.to_thread(self.backend.close)


class WatchConnections:
    """One connection at a time for all who need it.

    :param make_backend: returns the backend of the compute, credentials read anew; it may block, and is called in a
        thread, at most every :data:`RENEW_SECONDS`.
    """

    def __init__(self, make_backend: Callable[[], RemoteBackend[Any]]) -> None:
        self.last: Connection | None = None
        """The one that was made last, refused or not."""

        self._make_backend = make_backend
        self._making: asyncio.Task[Connection] | None = None
        self._made_at = -RENEW_SECONDS
        self._refused: Connection | None = None
        self._trouble: PolarsProviderError | None = None

    async def get(self) -> Connection:
        """Return the connection, made first if there is none or it is refused.

        Who is cancelled meanwhile does not end the making, for which others may wait.

        :raises PolarsProviderError: what making it raises, and has raised just now.
        """
        if self.last is not None and self.last is not self._refused:
            return self.last
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make(), name="polars-connect")
            self._making.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._making)

    def refuse(self, connection: Connection) -> None:
        """Note that the compute refuses a connection."""
        self._refused = connection

    async def close(self) -> None:
        """Hang up, once what is being made is there."""
        if self._making is not None:
            await asyncio.wait({self._making})
        if self.last is not None:
            await self.last.close()

    async def _make(self) -> Connection:
        if time.monotonic() - self._made_at < RENEW_SECONDS:
            if self._trouble is not None:
                raise self._trouble
            assert self.last is not None
            return self.last
        before, self._trouble = self.last, None
        try:
            self.last = await self._connect(before)
        except PolarsProviderError as error:
            self._trouble = error
            raise
        finally:
            self._made_at = time.monotonic()
        if before is not None:
            await before.close(self.last)
        return self.last

    async def _connect(self, before: Connection | None) -> Connection:
        backend = await asyncio.to_thread(self._make_backend)
        plane: Any = await asyncio.to_thread(backend.new_plane, None)
        if not isinstance(plane, ProxyPlane):
            plane = await AsyncComputePlane.open(plane, _async_plane(before))
        return Connection(backend, plane)


def _async_plane(connection: Connection | None) -> AsyncComputePlane | None:
    return connection.plane if connection and isinstance(connection.plane, AsyncComputePlane) else None
