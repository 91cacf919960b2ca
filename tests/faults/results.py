"""What was measured, kept between runs, and the table that is made of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.faults.cells import Cell, Outcome
from tests.faults.running import Finding

REPOSITORY = Path(__file__).resolve().parents[2]
FILE = REPOSITORY / ".faults" / "results.json"


class Results:
    """Findings by the name of their cell."""

    def __init__(self, file: Path = FILE) -> None:
        self._file = file
        self.cells: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}

    def add(self, finding: Finding) -> None:
        """Keep one."""
        self.cells[finding.cell.name] = {**finding.to_dict(), "commit": commit()}
        self._file.parent.mkdir(exist_ok=True)
        draft = self._file.with_suffix(".draft")
        draft.write_text(json.dumps(self.cells, indent=1, sort_keys=True))
        draft.replace(self._file)

    def measured(self, cell: Cell) -> Outcome | None:
        """Return what was measured in a cell, None if that has not been, or went wrong."""
        measured = self.cells.get(cell.name, {}).get("measured")
        return Outcome(**measured) if measured else None


def commit() -> str:
    """Return the commit of the working tree, with a mark if there are changes to the package."""
    run = ["git", "-C", str(REPOSITORY)]
    head = subprocess.check_output([*run, "rev-parse", "--short=10", "HEAD"], text=True).strip()
    changed = subprocess.check_output([*run, "status", "--porcelain", "airflow_provider_polars"], text=True)
    return head + ("+" if changed.strip() else "")
