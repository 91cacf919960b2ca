"""A service of computes that follows a script, and one process that starts and stops them there."""

from __future__ import annotations

import pytest

from airflow_provider_polars import compute_lifecycle
from tests.unit.scripted_manager import Process, Service


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once."""
    monkeypatch.setattr(compute_lifecycle, "LOOK_SECONDS", 0.001)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def process(service: Service) -> Process:
    return Process(service)
