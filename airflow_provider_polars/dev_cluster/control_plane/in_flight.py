"""Requests that are not answered yet."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

LONGEST_WAIT = 5.0


class InFlight:
    """Counts the requests to applications that are not answered yet."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def counted(self, app: Any) -> Any:
        """Return an ASGI application that answers as another does."""

        async def call(scope: Any, receive: Any, send: Any) -> None:
            self._count += 1
            self._none.clear()
            try:
                await app(scope, receive, send)
            finally:
                self._count -= 1
                if not self._count:
                    self._none.set()

        return call

    async def ended(self) -> None:
        """Wait until all are answered, except one whose caller has not sent all of it in 5 s."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._none.wait(), LONGEST_WAIT)
