"""``AsyncComputePlane``: waits for thousands of queries of one cluster on one event loop, without a thread for any."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from typing import Any

from airflow_provider_polars.clients.compute_plane import CALL_SECONDS, CANCEL_SECONDS, DONE, ComputePlane
from airflow_provider_polars.exceptions import ClusterUnreachableError

OPENED_AT_ONCE = 64
"""Long polls that are opened at a time; bursts of thousands end in a CANCELLED that no scheduler has said."""

SHORT_CALLS_AT_ONCE = 64
POLL_SECONDS = 150.0
"""After which a long poll is opened anew, or somewhat before: nobody can tell one that waits from one forgotten."""

_SETTLE_SECONDS = 0.002
_LIGHT = (("grpc.enable_retries", 0), ("grpc.minimal_stack", 1))
"""What a call that waits can do without: it takes 17 KB in place of 25 (grpcio 1.85)."""

_SHORTEST_POLL_SECONDS = 1.0


class AsyncComputePlane:
    """Calls of the scheduler of one cluster, for all that await its queries in this process.

    Long polls go over a connection of their own: a scheduler takes a limited number of calls on one, and neither a
    status nor a cancel is to wait behind polls that last. Each method raises :class:`ClusterUnreachableError` if the
    cluster does not answer and :class:`ClusterAccessError` if it refuses the caller; a status of CANCELLED is no
    verdict on a query, and taken for no answer. It belongs to the event loop that :meth:`open` was awaited on.
    """

    def __init__(self, plane: ComputePlane, channels: tuple[Any, Any]) -> None:
        from airflow_provider_polars.protocol.compute_plane_pb2_grpc import ClientServiceStub

        self.plane = plane
        self._channels = channels
        self._polls, self._calls = (ClientServiceStub(channel) for channel in channels)
        self._opening = asyncio.Semaphore(OPENED_AT_ONCE)
        self._short_calls = asyncio.Semaphore(SHORT_CALLS_AT_ONCE)
        self._hangs = False

    @classmethod
    async def open(cls, plane: ComputePlane, before: AsyncComputePlane | None = None) -> AsyncComputePlane:
        """Return the calls that ``plane`` stands for; nothing is sent yet.

        :param before: whose connections are taken over if they lead to the same place, other credentials or not.
        """

        def prepare() -> Any:
            import grpc.aio

            from airflow_provider_polars.protocol import compute_plane_pb2_grpc  # noqa: F401  takes long

            plane.trust  # noqa: B018  may ask the cluster for its certificate
            return grpc.aio

        aio = await asyncio.to_thread(prepare)
        if before is not None and _place(before.plane) == _place(plane):
            return cls(plane, before._channels)
        return cls(plane, (plane.open_channel(aio, *_LIGHT), plane.open_channel(aio)))

    async def status(self, query_id: str, seconds: float = CALL_SECONDS) -> int | None:
        """Return the status of a query as :meth:`ComputePlane.status` does."""
        async with self._short_calls:
            begun = time.monotonic()
            try:
                status = int((await self._ask(self._calls.GetQueryStatus, query_id, seconds)).status)
            except LookupError:
                status = None
            except ClusterUnreachableError:
                self._hangs = time.monotonic() - begun >= seconds
                raise
            self._hangs = False
            return status

    async def ended(self, query_id: str) -> int | None:
        """Return the status of a query, None if it is not known, once it has ended or the long poll has."""
        async with self._opening:
            if self._hangs:
                raise ClusterUnreachableError(f"{self.plane.access.uri} has left the last call without an answer.")
            status = await self.status(query_id)  # which tells a scheduler that hangs from a query that runs
            if status is None or status in DONE:
                return status
            begun = time.monotonic()
            poll = self._call(self._polls.GetQueryResult, query_id, POLL_SECONDS * random.uniform(0.7, 1.0))
            with _hung_up_on_error(poll):
                await asyncio.sleep(_SETTLE_SECONDS)
        try:
            status = int((await self._answer(poll)).query_status)
        except LookupError:
            return None
        except ClusterUnreachableError:
            pass  # the poll has ended, the query need not have: the status that the next poll begins with tells
        if status not in DONE:
            await asyncio.sleep(begun + _SHORTEST_POLL_SECONDS - time.monotonic())
        return status

    async def cancel(self, query_id: str) -> None:
        """Ask for the end of a query. What becomes of it, its status tells."""
        with contextlib.suppress(LookupError):
            await self._ask(self._calls.CancelQuery, query_id, CANCEL_SECONDS)

    async def close(self, successor: AsyncComputePlane | None = None) -> None:
        """Hang up; connections that a ``successor`` has taken over stay."""
        if successor is not None and successor._channels is self._channels:
            return
        for channel in self._channels:
            await channel.close()

    async def _ask(self, method: Any, query_id: str, seconds: float) -> Any:
        return await self._answer(self._call(method, query_id, seconds))

    def _call(self, method: Any, query_id: str, seconds: float) -> Any:
        from grpc.aio import UsageError

        from airflow_provider_polars.protocol import compute_plane_pb2 as wire

        query = wire.QueryRequest(query_id=wire.QueryId(query_id=query_id))
        try:
            return method(query, timeout=seconds, metadata=self.plane.metadata)
        except UsageError as error:
            raise ClusterUnreachableError(f"The connection to {self.plane.access.uri} was given up: {error}") from None

    async def _answer(self, call: Any) -> Any:
        import grpc

        with _hung_up_on_error(call):
            code = await call.code()  # to await the call itself would make a cancelled task of a status CANCELLED
            if code is grpc.StatusCode.OK:
                return await call
            raise self.plane.error_for(_Ended(code, await call.details()))


def _place(plane: ComputePlane) -> tuple[Any, ...]:
    return plane.access.uri, plane.access.domain_name, plane.trust


@contextlib.contextmanager
def _hung_up_on_error(call: Any) -> Iterator[None]:
    """End a call with what awaits it."""
    try:
        yield
    except BaseException:
        call.cancel()
        raise


class _Ended:
    """How a call has ended, as ``grpc.RpcError`` tells it."""

    def __init__(self, code: Any, details: str | None) -> None:
        self._code, self._details = code, details

    def code(self) -> Any:
        return self._code

    def details(self) -> str | None:
        return self._details
