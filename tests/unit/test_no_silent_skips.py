"""In CI a skip is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = {
    "test_call.py": "import pytest\n\ndef test_it():\n    pytest.skip('no server')\n",
    "test_mark.py": "import pytest\n\n@pytest.mark.skipif(True, reason='no server')\ndef test_it():\n    pass\n",
    "test_module.py": "import pytest\n\npytest.importorskip('no_such_module')\n",
    "test_expected.py": "import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    raise ValueError\n",
}


@pytest.mark.parametrize(
    ("ci", "summary"),
    [("true", "1 failed, 1 xfailed, 2 errors"), ("", "3 skipped, 1 xfailed")],
)
def test_skips(tmp_path: Path, ci: str, summary: str) -> None:
    """Skips by call, by mark and of a module fail where CI is true; an expected failure never does."""
    for name, text in SKIPS.items():
        (tmp_path / name).write_text(text)
    options = ["-q", "-p", "tests.harness.no_silent_skips", "--continue-on-collection-errors"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=tmp_path,
        env=os.environ | {"CI": ci, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert summary in result.stdout
