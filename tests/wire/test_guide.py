"""The tests in the guide are tests: they are collected and pass."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.environment import clean_environment
from tests.unit.guide import DOCS, blocks
from tests.wire.sessions import run_session

PROJECT_SECONDS = 300.0


@pytest.mark.parametrize("page", ["dev-cluster.md", "control-plane.md"])
def test_the_tests_of_the_guide_pass(tmp_path: Path, page: str) -> None:
    blocks = re.findall(r"^```python pytest\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    tests = [block for block in blocks if "def test_" in block]

    printed = run_session(tmp_path, "\n".join(tests), "\n".join(block for block in blocks if block not in tests))

    assert f"{len(tests)} passed" in printed, printed


def test_the_project_of_the_guide_passes_its_tests(tmp_path: Path) -> None:
    """The blocks of the page are the files of a project, whose tests run Airflow by ``dag.test()``."""
    files = [block for block in blocks("python", [DOCS / "testing.md"]) if block.title]
    for block in files:
        file = tmp_path / str(block.title)
        file.parent.mkdir(exist_ok=True)
        file.write_text(block.text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", ".", "tests"],
        cwd=tmp_path,
        env=clean_environment() | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PROJECT_SECONDS,
        check=False,
    )
    tests = sum(block.text.count("def test_") for block in files)
    assert tests >= 6
    assert f"{tests} passed" in done.stdout, done.stdout + done.stderr
