"""The tests in the guide are tests: they are collected and pass."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "dev-cluster.md"


def test_the_tests_of_the_guide_pass(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python pytest\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    (tests,) = [block for block in blocks if "def test_" in block]
    (tmp_path / "conftest.py").write_text("\n".join(block for block in blocks if block is not tests))
    (tmp_path / "test_guide.py").write_text(tests)

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-c",
            "/dev/null",
            "--rootdir",
            tmp_path,
            tmp_path,
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "1 passed" in done.stdout, done.stdout + done.stderr
