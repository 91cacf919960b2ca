"""An end to calls that have none of their own: name resolution, retries, servers that answer drop by drop."""

from __future__ import annotations

import concurrent.futures
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
HANG_UP_SECONDS = 2.0


def hang_up(channel: Any) -> None:
    """Close a channel of gRPC, and do not wait for one that cannot be closed.

    A time limit of Airflow that strikes while a call is being made leaves a channel whose ``close`` never returns.
    """
    with contextlib.suppress(TimeoutError):
        within(HANG_UP_SECONDS, channel.close)


def within(seconds: float, function: Callable[[], T]) -> T:
    """Return what ``function`` returns, and let pass what it raises.

    It runs in a thread with the context of the caller. Signals interrupt the wait.

    :raises TimeoutError: if it has not ended after ``seconds``; its thread is left to itself.
    """
    context = contextvars.copy_context()
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            outcome.set_result(context.run(function))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name=f"within {seconds:g} s", daemon=True).start()
    done, _ = concurrent.futures.wait([outcome], timeout=seconds)
    if not done:
        raise TimeoutError(f"no end within {seconds:g} seconds")
    return outcome.result()
