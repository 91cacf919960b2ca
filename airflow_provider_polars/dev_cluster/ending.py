"""When the command ends: on a signal, or with the process that has started it."""

from __future__ import annotations

import asyncio
import os
import signal

LOOK_SECONDS = 0.5


def when_asked(parent: int | None) -> asyncio.Event:
    """Return an event that is set on SIGINT and SIGTERM.

    :param parent: id of the process whose end sets it too, though that process was killed; None is none.
    """
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)

    def look() -> None:
        if os.getppid() != parent:
            ended.set()
        else:
            loop.call_later(LOOK_SECONDS, look)

    if parent is not None:
        look()
    return ended
