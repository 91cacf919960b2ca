"""pytest as a user runs it: tests of files that a test writes, in a process of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

PLUGIN = 'pytest_plugins = ["airflow_provider_polars.testing"]\n'
SECONDS = 120.0


def run_session(folder: Path, tests: str, conftest: str = PLUGIN, *, environment: dict[str, str] | None = None) -> str:
    """Run a file of tests with a conftest, and return what pytest prints."""
    (folder / "conftest.py").write_text(textwrap.dedent(conftest))
    (folder / "test_session.py").write_text(textwrap.dedent(tests))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
    done = subprocess.run(
        [*command, "--rootdir", folder, folder],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.stdout + done.stderr
