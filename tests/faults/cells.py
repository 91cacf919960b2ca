"""The words of the matrix: cells, faults, what is expected of a cell, and what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.faults.case import Case
    from tests.faults.world import World

LOCAL, CLUSTER, DIRECT, PROXY = "local", "cluster", "cloud_direct", "cloud_proxy"
BACKENDS = (LOCAL, CLUSTER, DIRECT, PROXY)
MODES = ("sync", "deferred")
NEVER_DEFERS = "a query on the worker is never deferred"

Number = int | tuple[int, int]
"""A number, or the lowest and the highest of those that are as good as each other."""


@dataclass(frozen=True)
class Outcome:
    """What becomes of a cell: expected, or as it was measured."""

    submissions: Number = 1
    """Queries that were taken in; on the worker, queries that began."""

    running: Number = 0
    """Queries that run on when the task has ended."""

    started: Number = 0
    """Instances that were started."""

    left: Number = 0
    """Instances that live when the run has ended."""

    results: Number = 1
    """Rows at the target of a query of one row: 0 is none, 2 is one too many."""

    state: str = "success"
    """Of the task, in the end."""

    def differences(self, measured: Outcome) -> list[str]:
        """Return what of a measurement is not as expected."""
        return [
            f"{field.name}: {told(there)}, expected {told(here)}"
            for field in fields(self)
            if not _agrees(here := getattr(self, field.name), there := getattr(measured, field.name))
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Cell:
    """One fault on one kind of compute in one mode."""

    fault: str
    backend: str
    mode: str

    @property
    def place(self) -> str:
        """Column of the table."""
        return f"{self.backend}/{self.mode}"

    @property
    def name(self) -> str:
        """``fault/backend/mode``."""
        return f"{self.fault}/{self.place}"

    @property
    def is_cloud(self) -> bool:
        """Whether it has an instance."""
        return self.backend in (DIRECT, PROXY)


Strike = Callable[["Case"], None]
Expectations = Mapping[str, Outcome | str]
"""By patterns of ``backend/mode``, the first that fits; a text is the reason why a cell makes no sense."""


@dataclass(frozen=True)
class Fault:
    """One row of the matrix.

    :param name: of the fault.
    :param title: what people read.
    :param strike: brings a task that was triggered to where the fault hits it, and lets that happen; it returns when
        Airflow has seen it.
    :param expected: what is expected, and where the fault makes no sense.
    :param variant: of the DAG.
    :param before: is called before the task is triggered.
    :param at_once: how it hits all its cells at once, if it does. ``strike`` then only brings a task there.
    :param after: is called for each task after that.
    :param around: is entered before its cells begin, and left when they have ended; for ``at_once``.
    :param exclusive: patterns of places that share what it hits with other cells.
    :param settle: seconds in which what is to end with the task ends.
    :param long: whether its cells take so long that they begin first.
    :param opens: whether the query of the last try ends.
    :param conf: of the run.
    """

    name: str
    title: str
    strike: Strike
    expected: Expectations
    variant: str = ""
    before: Strike | None = None
    at_once: Callable[[World, Sequence[Case]], None] | None = None
    after: Strike | None = None
    around: Callable[[World, Sequence[Cell]], AbstractContextManager[None]] = lambda world, cells: nullcontext()
    exclusive: tuple[str, ...] = ()
    settle: float = 5.0
    long: bool = False
    opens: bool = True
    conf: Mapping[str, Any] | None = None

    def at(self, cell: Cell) -> Outcome | str:
        """Return what is expected in a cell."""
        if cell.place == f"{LOCAL}/deferred":
            return NEVER_DEFERS
        expected = next(found for pattern, found in self.expected.items() if fnmatchcase(cell.place, pattern))
        if isinstance(expected, Outcome) and cell.is_cloud and expected.started == 0:
            return replace(expected, started=1)
        return expected

    def is_exclusive(self, cell: Cell) -> bool:
        """Whether no other cell may run beside this one."""
        return any(fnmatchcase(cell.place, pattern) for pattern in self.exclusive)


def told(value: Number | str) -> str:
    """Return a value as people read it."""
    return f"{value[0]} to {value[1]}" if isinstance(value, tuple) else str(value)


def _agrees(expected: Number | str, measured: Number | str) -> bool:
    if isinstance(expected, tuple):
        return isinstance(measured, int) and expected[0] <= measured <= expected[1]
    return expected == measured
