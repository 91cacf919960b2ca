"""Fixtures for tests of triggers."""

from __future__ import annotations

import pytest

from airflow_provider_polars.backends import rounds
from tests.unit.operators.conftest import service

__all__ = ["service"]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(rounds, "_FIRST_PAUSE_SECONDS", 0.001)
