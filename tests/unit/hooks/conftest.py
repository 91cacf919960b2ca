"""Fixtures for tests of hooks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_polars.hooks.cluster import PolarsClusterHook
from tests.unit.hooks.cluster_connections import CONN_ID, Connect


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Return ``connect(text)`` or ``connect(**fields)``: a hook of that connection, given as a URI or as JSON."""

    def make(text: str | None = None, **fields: Any) -> PolarsClusterHook:
        given = text or json.dumps({"conn_type": "polars_cluster", **fields})
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", given)
        return PolarsClusterHook(CONN_ID)

    return make
