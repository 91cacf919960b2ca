"""Fixtures for tests of operators."""

from __future__ import annotations

import pytest

from airflow_provider_polars import CloudCompute, compute_lifecycle
from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from tests.unit.scripted_manager import ScriptedManager, Service


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    """Let a scripted service take the place of Polars Cloud; return it."""
    service = Service()

    def manager(hook: PolarsCloudHook, compute: CloudCompute) -> ScriptedManager:
        return ScriptedManager(service)

    monkeypatch.setenv("AIRFLOW__POLARS__DEPLOYMENT_ID", "tests")
    monkeypatch.setattr(PolarsCloudHook, "get_manager", manager)
    monkeypatch.setattr(compute_lifecycle, "LOOK_SECONDS", 0.001)
    return service
