"""The tests in the guide are tests: they are collected and pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.wire.sessions import run_session

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("page", ["dev-cluster.md", "control-plane.md"])
def test_the_tests_of_the_guide_pass(tmp_path: Path, page: str) -> None:
    blocks = re.findall(r"^```python pytest\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    tests = [block for block in blocks if "def test_" in block]

    printed = run_session(tmp_path, "\n".join(tests), "\n".join(block for block in blocks if block not in tests))

    assert f"{len(tests)} passed" in printed, printed
