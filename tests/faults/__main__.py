"""``python -m tests.faults``: runs the cells that were not run yet, and says where they differ from what is expected.

``--cells PATTERN`` takes only cells whose ``fault/backend/mode`` fits, and runs them again; ``--fresh`` begins anew;
``--table`` writes what there is into the guide, and runs nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from fnmatch import fnmatchcase

from tests.faults import report
from tests.faults.cells import Cell, Outcome
from tests.faults.matrix import CELLS, FAULTS, ONCE, applicable
from tests.faults.results import FILE, Results
from tests.faults.running import Finding, run_cells
from tests.faults.world import world


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--cells", default="", help="pattern of fault/backend/mode")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--table", action="store_true", help="only write the table into the guide")
    parser.add_argument("--keep", action="store_true", help="keep the home of Airflow")
    asked = parser.parse_args()
    if asked.fresh:
        FILE.unlink(missing_ok=True)
    results = Results()
    if asked.table:
        report.write(results)
        return 0
    wanted = [*ONCE, *(cell for cell in CELLS if applicable(cell) and cell not in ONCE)]
    if asked.cells:
        wanted = [cell for cell in wanted if any(fnmatchcase(cell.name, part) for part in asked.cells.split())]
    else:
        wanted = [cell for cell in wanted if results.measured(cell) is None]
    begun = time.monotonic()

    def tell(finding: Finding) -> None:
        results.add(finding)
        expected = FAULTS[finding.cell.fault].at(finding.cell)
        assert isinstance(expected, Outcome)
        if finding.measured is None:
            verdict = f"BROKEN\n{finding.error}"
        else:
            verdict = "; ".join(expected.differences(finding.measured)) or "ok"
        print(f"{time.monotonic() - begun:6.0f} s {finding.seconds:5.0f} s  {finding.cell.name}: {verdict}", flush=True)

    if wanted:
        with world(keep_home=asked.keep) as there:
            print(f"{len(wanted)} cells; Airflow in {there.stack.home}", flush=True)
            run_cells(there, [cell for cell in wanted if cell in ONCE], tell)
            run_cells(there, [cell for cell in wanted if cell not in ONCE], tell)
    bad = [cell.name for cell in CELLS if applicable(cell) and not _is_good(results, cell)]
    print(f"{len(bad)} cells are not as expected, or were not run")
    return 1 if bad else 0


def _is_good(results: Results, cell: Cell) -> bool:
    measured, expected = results.measured(cell), FAULTS[cell.fault].at(cell)
    return measured is not None and isinstance(expected, Outcome) and not expected.differences(measured)


if __name__ == "__main__":
    sys.exit(main())
