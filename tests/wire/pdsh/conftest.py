"""Data of the queries."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wire.pdsh.data import generate

PDSH_DATA = Path(__file__).resolve().parents[3] / ".data" / "pdsh-0.1"


@pytest.fixture(scope="session")
def pdsh_data() -> Path:
    """Return the folder with the tables at scale factor 0.1, made if they are not there."""
    generate(PDSH_DATA, 0.1)
    return PDSH_DATA
