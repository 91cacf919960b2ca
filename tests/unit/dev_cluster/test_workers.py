"""The call by which workers register, with a client that says anything."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polars.dev_cluster.worker import frames
from airflow_provider_polars.dev_cluster.workers import Registration, Worker

TOKEN = "s3cret"
SECONDS = 30.0
HELLO = {
    "is": "hello",
    "name": "worker-1",
    "role": "worker",
    "pid": 42,
    "polars": "2.0.0",
    "python": "3.11.7",
    "header": base64.b64encode(b"DSL_VERSION").decode(),
}


class FakeEvents:
    """Notes what happens, and fails where it is told to."""

    def __init__(self, fails_at: str = "") -> None:
        self.happened: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._fails_at = fails_at

    def joined(self, worker: Worker) -> None:
        self._note("joined", worker)

    def left(self, worker: Worker) -> None:
        self._note("left", worker.name)

    def heard(self, worker: Worker, message: dict[str, Any], body: bytes) -> None:
        self._note("heard", (worker.name, message, body))

    def _note(self, what: str, detail: Any) -> None:
        self.happened.put_nowait((what, detail))
        if what == self._fails_at:
            raise RuntimeError("no")

    async def next(self) -> tuple[str, Any]:
        return await asyncio.wait_for(self.happened.get(), SECONDS)


@asynccontextmanager
async def connecting(events: FakeEvents) -> AsyncIterator[tuple[Registration, Callable[..., Any]]]:
    """Yield the registration, and the call of a worker."""
    registration = Registration(events, TOKEN)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((registration.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        connect = channel.stream_stream(frames.CONNECT)
        yield registration, lambda: connect(metadata=(("x-worker-token", TOKEN),), timeout=SECONDS)
    await server.stop(None)


def run(test: Awaitable[None]) -> None:
    async def main() -> None:
        await asyncio.wait_for(test, 3 * SECONDS)

    asyncio.run(main())


async def said(call: Any, *messages: bytes) -> grpc.StatusCode:
    """Say something, hang up, and return the status of the call."""
    try:
        for message in messages:
            await call.write(message)
        await call.done_writing()
        while await call.read() is not grpc.aio.EOF:
            pass
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        pass
    return await call.code()


def test_a_worker_joins_speaks_and_leaves() -> None:
    async def test() -> None:
        events = FakeEvents()
        async with connecting(events) as (registration, connect):
            call = connect()
            await call.write(frames.pack(HELLO))
            what, worker = await events.next()
            assert (what, worker.name, worker.pid, worker.header) == ("joined", "worker-1", 42, b"DSL_VERSION")
            assert registration.pids == {42}

            worker.send({"do": "run"}, b"plan")
            assert frames.unpack(await call.read()) == ({"do": "run"}, b"plan")
            await call.write(frames.pack({"is": "heartbeat", "resident_bytes": 7}))
            await call.write(frames.pack({"is": "done"}, b"head"))
            assert await events.next() == ("heard", ("worker-1", {"is": "done"}, b"head"))
            assert worker.resident_bytes == 7

            call.cancel()
            assert await events.next() == ("left", "worker-1")
            assert events.happened.empty()

    run(test())


def test_a_worker_that_is_dismissed_hears_the_end_of_the_call() -> None:
    async def test() -> None:
        events = FakeEvents()
        async with connecting(events) as (_, connect):
            call = connect()
            await call.write(frames.pack(HELLO))
            _, worker = await events.next()

            worker.dismiss()

            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK
            assert await events.next() == ("left", "worker-1")

    run(test())


@pytest.mark.parametrize("sent", [frames.pack({"is": "done"}), b"\x00\x00\x00\x01{", frames.pack({"no": "kind"})])
@pytest.mark.parametrize("fails_at", ["joined", "heard"])
def test_a_fault_at_one_worker_ends_its_connection_alone(fails_at: str, sent: bytes) -> None:
    async def test() -> None:
        events = FakeEvents()
        async with connecting(events) as (_, connect):
            other = connect()
            await other.write(frames.pack(HELLO | {"name": "other"}))
            _, its_worker = await events.next()
            events._fails_at = fails_at

            await said(connect(), frames.pack(HELLO), sent)

            assert (await events.next())[0] == "joined"
            while (happened := await events.next())[0] == "heard":
                pass
            assert happened == ("left", "worker-1")
            its_worker.send({"do": "run"})
            assert frames.unpack(await other.read()) == ({"do": "run"}, b"")
            other.cancel()

    run(test())


hellos = st.fixed_dictionaries(
    {},
    optional={name: st.just(value) | st.none() | st.integers() | st.text(max_size=5) for name, value in HELLO.items()},
)


@given(st.binary(max_size=30) | hellos.map(frames.pack) | st.just(frames.pack([])))
def test_whoever_does_not_say_hello_is_refused_and_never_joins(first: bytes) -> None:
    async def test() -> None:
        events = FakeEvents()
        async with connecting(events) as (registration, connect):
            status = await said(connect(), first)

            if status is grpc.StatusCode.OK:  # a hello after all
                assert [(await events.next())[0], (await events.next())[0]] == ["joined", "left"]
            else:
                assert status is grpc.StatusCode.INVALID_ARGUMENT
                assert registration.pids == set()
            assert events.happened.empty()

    run(test())


def test_whoever_hangs_up_at_once_is_refused() -> None:
    async def test() -> None:
        events = FakeEvents()
        async with connecting(events) as (_, connect):
            assert await said(connect()) is grpc.StatusCode.INVALID_ARGUMENT
        assert events.happened.empty()

    run(test())
