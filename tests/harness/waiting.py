"""Waiting for an event with an absolute deadline instead of sleeping for a guessed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_INTERVAL = 0.2
"""Seconds between two looks."""


def wait_for(
    probe: Callable[[], T | None],
    timeout: float,
    failure: Callable[[], str],
    interval: float = POLL_INTERVAL,
) -> T:
    """Call ``probe`` every ``interval`` seconds until it returns something else than ``None``, and return that.

    What ``probe`` raises passes through.  After ``timeout`` seconds :class:`TimeoutError` is raised with the
    text that ``failure`` returns.
    """
    deadline = time.monotonic() + timeout
    while (found := probe()) is None:
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {timeout:g} s: {failure()}")
        time.sleep(interval)
    return found
