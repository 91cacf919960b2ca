"""All faults, and the cells that they make."""

from __future__ import annotations

from tests.faults import airflow_faults, compute_faults, process_faults, user_faults
from tests.faults.cells import BACKENDS, CLUSTER, DIRECT, MODES, Cell, Fault, Outcome

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for module in (process_faults, user_faults, compute_faults, airflow_faults)
    for fault in module.faults()
}
CELLS = [Cell(fault, backend, mode) for fault in FAULTS for backend in BACKENDS for mode in MODES]


def applicable(cell: Cell) -> bool:
    """Return whether a cell makes sense."""
    return isinstance(FAULTS[cell.fault].at(cell), Outcome)


QUICKEST = {
    "hang_5": f"{DIRECT}/deferred",
    "hang_60": f"{CLUSTER}/sync",
    "hang_for_ever": f"{CLUSTER}/sync",
    "reset_during_poll": f"{DIRECT}/sync",
    "storm_503": f"{DIRECT}/deferred",
    "triggerer_killed": f"{CLUSTER}/deferred",
}
"""Where faults that take long, or are shared in proxy mode, take less time."""


def _once(number: int, fault: str) -> Cell:
    fitting = [
        cell
        for cell in CELLS
        if cell.fault == fault and applicable(cell) and QUICKEST.get(fault, cell.place) == cell.place
    ]
    return fitting[number % len(fitting)]


ONCE = [_once(number, fault) for number, fault in enumerate(FAULTS)]
"""Each fault once; kinds of compute and modes take turns."""
