"""Errors as clients decode them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

DETAILS = "grpc-status-details-bin"
"""Trailer in which the client looks for ``TypeName: message``."""

MESSAGE_BYTES = 3000  # clients take 16 KiB of headers, and gRPC writes each byte of this one up to three times


async def abort_with(context: Any, error: str) -> None:
    """Refuse a call so that the client raises the class that ``error``, ``TypeName: message``, names.

    SubmitQuery alone makes that class of it; other calls raise EncodedPolarsError with the text.
    """
    text = error.encode()[:MESSAGE_BYTES].decode(errors="ignore")
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text, trailing_metadata=((DETAILS, text.encode()),))


class MessageCheck(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses bytes that are no message of the call, as INVALID_ARGUMENT; gRPC itself takes them for a fault here."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Return a handler that decodes with care."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler

        def decode(data: bytes) -> Any:
            try:
                return handler.request_deserializer(data)
            except DecodeError as error:
                return error

        async def unary(request: Any, context: Any) -> Any:
            await _refuse_undecoded(request, context)
            return await handler.unary_unary(request, context)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await _refuse_undecoded(request, context)
            async for answer in handler.unary_stream(request, context):
                yield answer

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, decode, handler.response_serializer)
        return grpc.unary_unary_rpc_method_handler(unary, decode, handler.response_serializer)


async def _refuse_undecoded(request: Any, context: Any) -> None:
    if isinstance(request, DecodeError):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the request cannot be read: {request}")
