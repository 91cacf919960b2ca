"""Runs cells: many side by side, those that share what a fault hits one after another."""

from __future__ import annotations

import itertools
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from tests.faults.case import Case
from tests.faults.cells import Cell, Fault, Outcome
from tests.faults.many import ManyCase
from tests.faults.matrix import FAULTS
from tests.faults.world import World

AT_ONCE = 8
"""Cells side by side."""


@dataclass(frozen=True)
class Finding:
    """What a cell has shown."""

    cell: Cell
    measured: Outcome | None
    seconds: float
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        measured = self.measured.to_dict() if self.measured else None
        return {"measured": measured, "seconds": round(self.seconds, 1), "error": self.error}


def run_cells(world: World, cells: Sequence[Cell], tell: Callable[[Finding], None]) -> None:
    """Run cells and tell of each as soon as it has ended."""
    batches = sorted(_batches(cells), key=lambda batch: not FAULTS[batch[0].fault].long)
    apart = [batch for batch in batches if any(FAULTS[cell.fault].is_exclusive(cell) for cell in batch)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for done in as_completed([pool.submit(run_batch, world, batch) for batch in batches if batch not in apart]):
                for finding in done.result():
                    tell(finding)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    for batch in apart:
        for finding in run_batch(world, batch):
            tell(finding)
        world.plane.faults.clear()


def _batches(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Yield what runs at the same time: all cells of a fault that hits them at once, else single ones."""
    for fault_name, group in itertools.groupby(cells, key=lambda cell: cell.fault):
        if FAULTS[fault_name].at_once:
            yield list(group)
        else:
            yield from ([cell] for cell in group)


def run_batch(world: World, cells: Sequence[Cell]) -> list[Finding]:
    """Run cells of one fault at the same time."""
    fault, begun = FAULTS[cells[0].fault], time.monotonic()
    with fault.around(world, cells), ThreadPoolExecutor(len(cells)) as pool:
        attempts = [_Attempt(world, fault, cell) for cell in cells]
        list(pool.map(lambda attempt: attempt.step(_reach), attempts))
        if fault.at_once is not None:
            fault.at_once(world, [attempt.case for attempt in attempts if not attempt.error])
        list(pool.map(lambda attempt: attempt.step(_conclude), attempts))
        list(pool.map(lambda attempt: attempt.end(), attempts))
    return [attempt.finding(time.monotonic() - begun) for attempt in attempts]


class _Attempt:
    """A case, what was measured of it, and what went wrong with it."""

    def __init__(self, world: World, fault: Fault, cell: Cell) -> None:
        self.case = (ManyCase if fault.variant == "twenty" else Case)(world, fault, cell)
        self.fault = fault
        self.measured: Outcome | None = None
        self.error = ""

    def step(self, do: Callable[[_Attempt], None]) -> None:
        if not self.error:
            self._try(do)

    def end(self) -> None:
        self._try(lambda attempt: attempt.case.clean())

    def finding(self, seconds: float) -> Finding:
        return Finding(self.case.cell, self.measured, seconds, self.error)

    def _try(self, do: Callable[[_Attempt], None]) -> None:
        try:
            do(self)
        except Exception:
            self.error += traceback.format_exc(limit=-3)


def _reach(attempt: _Attempt) -> None:
    if attempt.fault.before is not None:
        attempt.fault.before(attempt.case)
    attempt.fault.strike(attempt.case)


def _conclude(attempt: _Attempt) -> None:
    if attempt.fault.after is not None:
        attempt.fault.after(attempt.case)
    attempt.measured = attempt.case.measure(attempt.case.conclude())
    expected = attempt.fault.at(attempt.case.cell)
    if isinstance(expected, Outcome) and expected.differences(attempt.measured):
        attempt.error = attempt.case.told()
