"""Faults of gRPC calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc

from airflow_provider_polars.dev_cluster import connections
from airflow_provider_polars.dev_cluster.errors import MESSAGE_BYTES, abort_with
from airflow_provider_polars.dev_cluster.faults import (
    ANSWER,
    DELAY,
    DOES_NOT_ACT,
    DROP,
    GRPC_STATUSES,
    HANG,
    RESET,
    Fault,
    Faults,
    Hit,
    present_hit,
)
from airflow_provider_polars.dev_cluster.recorder import Recorder

NOTICE_SECONDS = 5.0
"""In which gRPC notices that a connection is gone, and cancels its calls."""

_HANDLER = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class FaultInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Lets calls go wrong: the first interceptor, so that calls which others refuse are hit too."""

    def __init__(self, faults: Faults, recorder: Recorder) -> None:
        self._faults = faults
        self._recorder = recorder

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Return the handler of the call, or one that goes wrong."""
        call = handler_call_details.method.rsplit("/", 1)[-1]
        fault = self._faults.hit(call)
        hit = Hit(fault) if fault is not None else None
        present_hit.set(hit)  # None too: a server that a call which has hit a fault has started inherits its context
        if fault is None or hit is None:
            return await continuation(handler_call_details)
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        act = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                if fault.do in DOES_NOT_ACT:
                    self._recorder.add(call, context.invocation_metadata())
                await self._before(fault, context)
                answers = act(request, _Unanswered(context) if fault.do == DROP else context)
                with contextlib.suppress(_AbortedError):
                    async for answer in answers if handler.response_streaming else _only(answers):
                        if fault.do != DROP:
                            yield answer
                if fault.do == DROP:
                    await _lose(context, reset=False)
            finally:
                if not hit.recorded:
                    self._recorder.add(call, context.invocation_metadata())

        async def unary(request: Any, context: Any) -> Any:
            (answer,) = [answer async for answer in stream(request, context)]
            return answer

        return _HANDLER[handler.request_streaming, handler.response_streaming](
            stream if handler.response_streaming else unary, handler.request_deserializer, handler.response_serializer
        )

    async def _before(self, fault: Fault, context: Any) -> None:
        """Do what happens to a call before it acts, if it acts at all."""
        if fault.do == DELAY:
            await fault.wait(fault.seconds)
        elif fault.do == HANG:
            await fault.wait()
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the call hung until its fault was lifted")
        elif fault.do == RESET:
            await _lose(context, reset=True)
        elif fault.do == ANSWER:
            text = (fault.message or "").encode()[:MESSAGE_BYTES].decode(errors="ignore")
            if fault.status == "INVALID_ARGUMENT":
                await abort_with(context, text)
            await context.abort(GRPC_STATUSES[str(fault.status)], text)


class _AbortedError(Exception):
    """A call that gets no answer would have got an error."""


class _Unanswered:
    """The context of a call that gets no answer."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def abort(self, *_: Any, **__: Any) -> NoReturn:
        raise _AbortedError


async def _only(answer: Awaitable[Any]) -> AsyncIterator[Any]:
    yield await answer


async def _lose(context: Any, *, reset: bool) -> NoReturn:
    """End the connection of a call; a caller that has another kind of connection gets UNAVAILABLE."""
    if connections.end(context.peer(), reset=reset):
        await asyncio.sleep(NOTICE_SECONDS)
    await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection was lost")
    raise AssertionError
