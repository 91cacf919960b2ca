"""``Shared``: things of which triggers of one process need one each for a place, kept while anybody uses them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Generic, Protocol, TypeVar

LINGER_SECONDS = 10.0
"""For which a thing that nobody needs is kept: triggers of one DAG follow each other."""


class Closable(Protocol):
    """Something to be closed when nobody needs it any more."""

    async def close(self) -> None:
        """Release what it holds."""


T = TypeVar("T", bound=Closable)
Key = tuple[asyncio.AbstractEventLoop, str]


@dataclasses.dataclass
class _Entry(Generic[T]):
    thing: T
    users: int = 0


class Shared(Generic[T]):
    """Things by their key, for each event loop."""

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry[T]] = {}

    @contextlib.asynccontextmanager
    async def use(self, name: str, make: Callable[[], T]) -> AsyncIterator[T]:
        """Give the thing of a name, made if nobody has it."""
        loop = asyncio.get_running_loop()
        key = (loop, name)
        if key not in self._entries:
            self._entries[key] = _Entry(make())
        entry = self._entries[key]
        entry.users += 1
        try:
            yield entry.thing
        finally:
            entry.users -= 1
            if not entry.users:
                loop.call_later(LINGER_SECONDS, self._close_unused, key)

    def _close_unused(self, key: Key) -> None:
        entry = self._entries.get(key)
        if entry is not None and not entry.users:
            del self._entries[key]
            closing = key[0].create_task(entry.thing.close())
            closing.add_done_callback(lambda done: done.cancelled() or done.exception())
