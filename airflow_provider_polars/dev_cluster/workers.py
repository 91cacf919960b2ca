"""The scheduler's side of its workers: registration, heartbeats, and messages both ways."""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import AsyncIterator
from typing import Any, Protocol

import grpc

from airflow_provider_polars.dev_cluster.worker import frames

PLANNER = "planner"


class Worker:
    """One connected worker."""

    def __init__(self, hello: dict[str, Any]) -> None:
        self.name: str = hello["name"]
        self.role: str = hello["role"]
        self.pid: int = hello["pid"]
        self.polars: str = hello["polars"]
        self.python: str = hello["python"]
        self.header = base64.b64decode(hello["header"])
        self.seen = time.monotonic()
        self.resident_bytes = 0
        self.query_id: str | None = None
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()

    def send(self, message: dict[str, Any], body: bytes = b"") -> None:
        """Send a message."""
        self._outbox.put_nowait(frames.pack(message, body))

    def dismiss(self) -> None:
        """End the connection; the process of the worker ends with it."""
        self._outbox.put_nowait(None)

    async def outgoing(self) -> AsyncIterator[bytes]:
        """Yield the frames to send until it is dismissed."""
        while (frame := await self._outbox.get()) is not None:
            yield frame


class Events(Protocol):
    """What happens to workers."""

    def joined(self, worker: Worker) -> None:
        """Hear that a worker has registered."""

    def left(self, worker: Worker) -> None:
        """Hear that the connection of a worker has ended."""

    def heard(self, worker: Worker, message: dict[str, Any], body: bytes) -> None:
        """Hear what a worker says."""


class Registration:
    """The gRPC service that workers connect to."""

    def __init__(self, events: Events, token: str) -> None:
        self._events = events
        self._token = token
        self.pids: set[int] = set()
        """Processes that have registered."""

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler to add to a server."""
        service, method = frames.CONNECT.strip("/").split("/")
        connect = grpc.stream_stream_rpc_method_handler(self._connect)
        return grpc.method_handlers_generic_handler(service, {method: connect})

    async def _connect(self, incoming: Any, context: Any) -> AsyncIterator[bytes]:
        given = dict(context.invocation_metadata()).get("x-worker-token", "")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "this is no worker of this cluster")
        worker = await self._worker(incoming, context)
        self.pids.add(worker.pid)
        listener = asyncio.create_task(self._listen(worker, incoming))
        try:
            self._events.joined(worker)
            async for frame in worker.outgoing():
                yield frame
        finally:
            listener.cancel()
            self._events.left(worker)

    async def _worker(self, incoming: Any, context: Any) -> Worker:
        try:
            return Worker(frames.unpack(await incoming.__anext__())[0])
        except (LookupError, TypeError, ValueError, StopAsyncIteration) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"a worker says hello first: {error!r}"[:200])
            raise

    async def _listen(self, worker: Worker, incoming: Any) -> None:
        try:
            async for frame in incoming:
                message, body = frames.unpack(frame)
                worker.seen = time.monotonic()
                if message["is"] == "heartbeat":
                    worker.resident_bytes = message["resident_bytes"]
                else:
                    self._events.heard(worker, message, body)
        except grpc.RpcError:
            pass
        finally:
            worker.dismiss()
