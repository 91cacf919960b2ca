"""Each fault of the matrix once: what becomes of a task, its query and its instance when something goes wrong.

Kinds of compute and modes take turns; ``make faults`` runs all of them.
"""

from __future__ import annotations

import pytest

from tests.faults.cells import Outcome
from tests.faults.matrix import FAULTS, ONCE
from tests.faults.running import Finding, run_cells
from tests.faults.world import world

pytestmark = pytest.mark.fault
CELLS = {cell.name: cell for cell in ONCE}


@pytest.fixture(scope="module")
def findings(request: pytest.FixtureRequest) -> dict[str, Finding]:
    """Run the cells of the tests that were selected, and return what they have shown."""
    chosen = {item.callspec.params["name"] for item in request.session.items if hasattr(item, "callspec")}
    found: dict[str, Finding] = {}
    with world() as there:
        run_cells(
            there,
            [cell for name, cell in CELLS.items() if name in chosen],
            lambda each: found.update({each.cell.name: each}),
        )
    return found


@pytest.mark.parametrize("name", CELLS)
def test_a_fault_ends_as_expected(findings: dict[str, Finding], name: str) -> None:
    finding, expected = findings[name], FAULTS[CELLS[name].fault].at(CELLS[name])
    assert isinstance(expected, Outcome)
    assert finding.measured is not None, finding.error
    assert expected.differences(finding.measured) == [], finding.error
