"""Pairs, medians and bootstrap intervals."""

from __future__ import annotations

import dataclasses
import random
import statistics
from collections.abc import Callable, Sequence

PAIRS = 15
RESAMPLES = 10_000


@dataclasses.dataclass(frozen=True)
class Figure:
    """A measured value with its interval.

    :param target: what ``value`` must not exceed; None for a figure without a target.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str = "x"
    target: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether the whole interval lies beyond the target."""
        return self.target is not None and self.low > self.target

    def __str__(self) -> str:
        verdict = "" if self.target is None else f"  target {self.target:g}: {'MISSED' if self.missed else 'met'}"
        note = f"  ({self.note})" if self.note else ""
        return f"{self.name:<58}{self.value:>9.3f} {self.unit:<3}[{self.low:.3f}, {self.high:.3f}]{verdict}{note}"


def interleave(*sides: Callable[[], float], pairs: int = PAIRS) -> list[list[float]]:
    """Return what each side measured in each round; the order within a round turns, and one round is warm-up."""
    measured: list[list[float]] = [[] for _ in sides]
    for round_number in range(pairs + 1):
        order = list(range(len(sides)))
        shift = round_number % len(sides)
        for side in order[shift:] + order[:shift]:
            value = sides[side]()
            if round_number:
                measured[side].append(value)
    return measured


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float], **words: object) -> Figure:
    """Return the median of the ratios, pair by pair."""
    return median(name, [our / their for our, their in zip(ours, theirs, strict=True)], **words)


def median(name: str, values: Sequence[float], **words: object) -> Figure:
    """Return the median of ``values`` with its 95 % bootstrap interval."""
    generator = random.Random(0)
    resampled = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(RESAMPLES))
    low, high = resampled[int(RESAMPLES * 0.025)], resampled[int(RESAMPLES * 0.975) - 1]
    return Figure(name, statistics.median(values), low, high, **words)  # type: ignore[arg-type]
