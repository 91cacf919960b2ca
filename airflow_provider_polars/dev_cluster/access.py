"""Who may call: bearer tokens."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from airflow_provider_polars.dev_cluster.recorder import Recorder


def carries_token(header: str | None, token: str | None) -> bool:
    """Return whether an ``authorization`` header is right; every one is where no token is asked for."""
    return token is None or hmac.compare_digest((header or "").encode(), f"Bearer {token}".encode())


class TokenCheck(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses calls without the bearer token, as UNAUTHENTICATED.

    :param admits: decides on the ``authorization`` header of a call.
    """

    def __init__(self, admits: Callable[[str | None], bool], recorder: Recorder) -> None:
        self._admits = admits
        self._recorder = recorder

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Let the call through, or put a refusal in its place."""
        handler = await continuation(handler_call_details)
        headers = handler_call_details.invocation_metadata
        if handler is None or self._admits(dict(headers).get("authorization")):
            return handler
        self._recorder.add(handler_call_details.method.rsplit("/", 1)[-1], headers, refused="UNAUTHENTICATED")

        async def refuse(_: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the bearer token is missing or wrong")

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(refuse)
        return grpc.unary_unary_rpc_method_handler(refuse)
