"""Pauses between attempts: longer each time, up to a limit, and never the same for everybody."""

from __future__ import annotations

import random
from collections.abc import Iterator


def pauses(first: float, longest: float) -> Iterator[float]:
    """Yield pauses in seconds without end: half to all of ``first``, then of twice as much, at most ``longest``."""
    pause = first
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(pause * 2, longest)
