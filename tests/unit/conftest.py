"""Fixtures for tests of single parts."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[2]
# The releases of the amazon provider that go with Airflow 3.3 need Python 3.11.
collect_ignore = ["test_s3.py", "test_vaults.py"] if sys.version_info < (3, 11) else []

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None, max_examples=40)
settings.load_profile("repeatable")


def pytest_report_header() -> list[str]:
    """Say which files this Python leaves out."""
    return [f"left out, for want of the amazon provider: {name}" for name in collect_ignore]


@pytest.fixture
def results_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a ``[polars] results_path`` of its own and return it."""
    path = tmp_path / "results"
    monkeypatch.setenv("AIRFLOW__POLARS__RESULTS_PATH", str(path))
    return path


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., str]:
    """Return ``run(code, **environment)``, see :func:`run_in_fresh_python`."""
    return functools.partial(run_in_fresh_python, folder=tmp_path)


def run_in_fresh_python(code: str, folder: Path, **environment: str) -> str:
    """Return what a fresh interpreter prints for ``code``; fail the test if it fails."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def masks_forgotten() -> Iterator[None]:
    """Let the masker of this process, which Airflow's log lines go through, forget the secrets of the test."""
    yield
    from airflow.sdk._shared.secrets_masker import reset_secrets_masker

    reset_secrets_masker()


@pytest.fixture
def safe(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | bytes]:
    """Add a vault of kind ``safe`` and return what is in it."""
    from airflow_provider_polars import vaults
    from tests.unit.service_accounts import Safe

    monkeypatch.setattr(Safe, "secrets", {}, raising=False)
    monkeypatch.setitem(vaults.VAULTS, "safe", Safe)
    return Safe.secrets
