"""The table of the matrix in the guide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.faults.cells import BACKENDS, CLUSTER, DIRECT, LOCAL, MODES, PROXY, Cell, Outcome, told
from tests.faults.many import TWENTY
from tests.faults.matrix import FAULTS
from tests.faults.results import REPOSITORY, Results

PAGE = REPOSITORY / "docs" / "reliability.md"
BEGIN, END = "<!-- fault matrix: begin -->", "<!-- fault matrix: end -->"
NAMES = {LOCAL: "worker", CLUSTER: "cluster", DIRECT: "cloud, direct", PROXY: "cloud, proxy"}
COLUMNS = [(backend, mode) for backend in BACKENDS for mode in MODES if (backend, mode) != (LOCAL, "deferred")]
LEGEND = """\
Each cell: queries submitted / run on when the task has ended / instances that live when the run has ended / rows at the
target of a query of one row; and the state of the task if it is not `success`. **Bold** is a known limit: something
runs on, or a row is there twice. Written by `make faults`, which runs the cells with real Airflow processes against the
development cluster and control plane."""


def write(results: Results, page: Path = PAGE) -> None:
    """Put the table between the markers of the page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}")


def table(results: Results) -> str:
    """Return the table and what it says of itself."""
    reasons: dict[str, int] = {}
    rows = [["Fault", *(f"{NAMES[backend]}, {mode}" for backend, mode in COLUMNS)]]
    for fault in FAULTS.values():
        cells = [Cell(fault.name, backend, mode) for backend, mode in COLUMNS]
        rows.append([fault.title, *(_text(results, cell, reasons) for cell in cells)])
    notes = [f"{number}. Does not apply: {reason}." for reason, number in reasons.items()]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join([LEGEND, "", _runs(results), "", *lines, "", *notes])


def _text(results: Results, cell: Cell, reasons: dict[str, int]) -> str:
    expected = FAULTS[cell.fault].at(cell)
    if not isinstance(expected, Outcome):
        return f"n/a ({reasons.setdefault(expected, len(reasons) + 1)})"
    measured = results.measured(cell)
    if measured is None:
        return "not run"
    text = _short(measured, cell)
    if expected.differences(measured):
        return f"**differs**: {text}, expected {_short(expected, cell)}"
    return f"**{text}**" if _is_limit(measured, cell) else text


def _is_limit(measured: Outcome, cell: Cell) -> bool:
    rows = TWENTY if FAULTS[cell.fault].variant == "twenty" else 1
    return any(isinstance(number, int) and number > 0 for number in (measured.running, measured.left)) or (
        isinstance(measured.results, int) and measured.results > rows
    )


def _short(outcome: Outcome, cell: Cell) -> str:
    numbers = [outcome.submissions, outcome.running, outcome.left if cell.is_cloud else "-", outcome.results]
    state = "" if outcome.state == "success" else f" {outcome.state}"
    return " / ".join(map(told, numbers)) + state


def _runs(results: Results) -> str:
    measured = [cell for cell in _cells() if results.measured(cell)]
    right = sum(not FAULTS[cell.fault].at(cell).differences(results.measured(cell)) for cell in measured)  # type: ignore[union-attr,arg-type]
    limits = sum(_is_limit(results.measured(cell), cell) for cell in measured)  # type: ignore[arg-type]
    commits = sorted({results.cells[cell.name]["commit"] for cell in measured})
    return (
        f"{right} of {len(list(_cells()))} cells are as expected, {limits} of them a known limit. Run at "
        f"{', '.join(commits) or 'no commit'}."
    )


def _cells() -> Iterator[Cell]:
    for fault in FAULTS.values():
        for backend, mode in COLUMNS:
            if isinstance(fault.at(cell := Cell(fault.name, backend, mode)), Outcome):
                yield cell
