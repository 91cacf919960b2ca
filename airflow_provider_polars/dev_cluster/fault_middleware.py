"""Faults of HTTP requests."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow_provider_polars.dev_cluster.faults import (
    ANSWER,
    DELAY,
    DOES_NOT_ACT,
    DROP,
    HANG,
    RESET,
    Fault,
    Faults,
    Hit,
    present_hit,
)
from airflow_provider_polars.dev_cluster.recorder import Recorder

DEV = "/_dev"
NO_BODY = (204, 304)
RESET_AT_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 s: a socket that is closed sends RST, and not FIN."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class FaultMiddleware:
    """Lets requests go wrong, but for those to ``/_dev``. It must be the outermost layer, right under uvicorn.

    :param app: the ASGI application.
    :param name: returns what the recorder and faults call the request of a scope: words with a space, ``GET query``.
    :param problem: makes the body of an answer of a message.
    """

    def __init__(
        self,
        app: Any,
        faults: Faults,
        recorder: Recorder,
        name: Callable[[Scope], str],
        problem: Callable[[str | None], Any] = lambda message: {"error": message},
    ) -> None:
        self._app: Application = app
        self._faults = faults
        self._recorder = recorder
        self._name = name
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it go wrong."""
        fault = None
        if scope["type"] == "http" and scope["path"] != DEV and not scope["path"].startswith(DEV + "/"):
            fault = self._faults.hit(self._name(scope))
        hit = Hit(fault) if fault is not None else None
        present_hit.set(hit)  # None too: uvicorn begins a request that came early within the one before
        if fault is None or hit is None:
            await self._app(scope, receive, send)
            return
        try:
            if fault.do in DOES_NOT_ACT:
                self._record(scope)
            await self._answer(fault, scope, receive, send)
        finally:
            if not hit.recorded:
                self._record(scope)

    async def _answer(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.do == HANG:
            await self._hang(fault, receive, send)
        elif fault.do == RESET:
            await _lose_connection(receive, send, reset=True)
        elif fault.do == ANSWER:
            body = self._problem(fault.message) if fault.body is None else fault.body
            await _send_answer(send, int(fault.status or 0), body)
        elif fault.do == DROP:
            await self._app(scope, receive, _discard)
            await _lose_connection(receive, send, reset=False)
        else:
            if fault.do == DELAY:
                receive = await _received(receive)
                await fault.wait(fault.seconds)
            await self._app(scope, receive, send)

    async def _hang(self, fault: Fault, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_caller_gone(receive))
        lifted = asyncio.ensure_future(fault.wait())
        try:
            await asyncio.wait([gone, lifted], return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            lifted.cancel()
        if not gone.done():
            await _send_answer(send, 503, self._problem("the request hung until its fault was lifted"))

    def _record(self, scope: Scope) -> None:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        self._recorder.add(self._name(scope), headers)


async def _send_answer(send: Send, status: int, body: Any) -> None:
    is_text = isinstance(body, str)
    content = body if is_text else json.dumps(body)
    data = b"" if status in NO_BODY else content.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8" if is_text else b"application/json")]
    if status not in NO_BODY:
        headers.append((b"content-length", str(len(data)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


async def _lose_connection(receive: Receive, send: Any, *, reset: bool) -> None:
    """End the connection of a request without an answer, and wait until uvicorn has seen it: else it answers 500."""
    # ASGI has no message for it: the cycle of uvicorn, whose method ``send`` is, holds the transport.
    transport: asyncio.Transport = send.__self__.transport
    if reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    transport.abort()
    await _caller_gone(receive)


async def _received(receive: Receive) -> Receive:
    """Return what gives a request that has come in, also when its caller is gone: uvicorn would give nothing of it."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())

    async def give() -> MutableMapping[str, Any]:
        return messages.pop(0) if messages else await receive()

    return give


async def _caller_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _discard(_: MutableMapping[str, Any]) -> None:
    pass
