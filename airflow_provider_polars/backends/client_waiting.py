"""How handles of the client wait: through an observer, and not for the year that the client would."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any, Protocol

from airflow_provider_polars.backends.execution import SIGNAL_CHECK_SECONDS, InProcessExecution
from airflow_provider_polars.backends.polars_client import PolarsClient
from airflow_provider_polars.exceptions import ClusterUnreachableError

Replacement = tuple[Any, str, Any]
"""A module or class, the name of a part of it, and what takes its place."""

RESULT_MILLISECONDS = 60_000
"""For fetching the result of a query that has ended."""


class Waiting(Protocol):
    """Is told of the waiting for a query."""

    def check_waiting(self, query_id: str) -> None:
        """Raise what ends the waiting for a query."""

    def wait(self, query_id: str) -> None:
        """Return when the query has ended; raise what ends the waiting. Return at once for one that is not known."""


def waits(client: PolarsClient, observer: Waiting, use: Callable[[Any], None]) -> list[Replacement]:
    """Return what makes each method that waits for a query do so through ``observer``.

    :param use: takes notice of the context that is called.
    """
    direct, module = client.module.DirectQuery, client.part("query.query_in_progress")
    wait, wait_async, status, timeout = (
        direct.await_result,
        direct.await_result_async,
        direct.get_status,
        module.get_timeout,
    )
    has_ended: contextvars.ContextVar[bool] = contextvars.ContextVar("has_ended", default=False)

    def get_timeout() -> int:
        return min(timeout(), RESULT_MILLISECONDS) if has_ended.get() else int(timeout())

    def await_result(handle: Any, *args: Any, **options: Any) -> Any:
        observer.wait(str(handle._query_id))
        use(handle._cluster)
        token = has_ended.set(True)
        try:
            return wait(handle, *args, **options)
        except (TimeoutError, RuntimeError) as error:
            raise _kept_back(handle, error) from error
        finally:
            has_ended.reset(token)

    async def await_result_async(handle: Any, *args: Any, **options: Any) -> Any:
        await asyncio.to_thread(observer.wait, str(handle._query_id))
        use(handle._cluster)
        has_ended.set(True)
        try:
            return await wait_async(handle, *args, **options)
        except (TimeoutError, RuntimeError) as error:
            raise _kept_back(handle, error) from error

    def get_status(handle: Any) -> Any:
        observer.check_waiting(str(handle._query_id))
        return status(handle)

    replacements: list[Replacement] = [
        *_proxy_waits(client, observer),
        (direct, "await_result", await_result),
        (direct, "await_result_async", await_result_async),
        (direct, "get_status", get_status),
        (module, "get_timeout", get_timeout),
    ]
    if (stream := getattr(direct, "_get_stream", None)) is not None:

        def get_stream(handle: Any) -> Any:
            opening = InProcessExecution({"": lambda: {"stream": stream(handle)}})
            while not opening.ended:
                opening.wait(SIGNAL_CHECK_SECONDS)
                observer.check_waiting(str(handle._query_id))
            outcome = opening.outcomes[""]
            if type(outcome).__name__ == "EncodedPolarsError":
                use(handle._cluster)
                raise client.part("query.query").decode_error(str(outcome)) from None
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome["stream"]

        replacements.append((direct, "_get_stream", get_stream))
    return replacements


def _proxy_waits(client: PolarsClient, observer: Waiting) -> list[Replacement]:
    """Return what makes the methods that wait for a query in proxy mode do so through ``observer``."""
    proxy = client.module.ProxyQuery
    wait, wait_async, status = proxy.await_result, proxy.await_result_async, proxy.get_status

    def await_result(handle: Any, *args: Any, **options: Any) -> Any:
        observer.wait(str(handle._query_id))
        return wait(handle, *args, **options)

    async def await_result_async(handle: Any, *args: Any, **options: Any) -> Any:
        await asyncio.to_thread(observer.wait, str(handle._query_id))
        return await wait_async(handle, *args, **options)

    def get_status(handle: Any) -> Any:
        observer.check_waiting(str(handle._query_id))
        return status(handle)

    return [
        (proxy, "await_result", await_result),
        (proxy, "await_result_async", await_result_async),
        (proxy, "get_status", get_status),
    ]


def _kept_back(handle: Any, error: Exception) -> Exception:
    """Return the error for a result that does not come; ``error`` itself if that is not its reason."""
    if isinstance(error, RuntimeError) and "transport error" not in str(error):
        return error
    return ClusterUnreachableError(f"The cluster keeps the result of the query {handle._query_id} back. Try again.")
