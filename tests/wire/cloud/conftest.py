"""Tasks on the control plane of the session: an Airflow in memory, the real client, instances that start at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.harness.in_memory import InMemoryAirflow
    from tests.wire.cloud.tasks import CloudTasks


@pytest.fixture
def cloud(
    in_memory_airflow: InMemoryAirflow, polars_control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> CloudTasks:
    """Return what runs tasks of a run on the control plane, for the deployment ``tests``."""
    from airflow_provider_polars import compute_lifecycle
    from tests.wire.cloud.tasks import CloudTasks

    monkeypatch.setenv("AIRFLOW__POLARS__DEPLOYMENT_ID", "tests")
    monkeypatch.setattr(compute_lifecycle, "LOOK_SECONDS", 0.05)
    return CloudTasks(in_memory_airflow, polars_control_plane)


@pytest.fixture(params=["direct", "proxy"])
def mode(request: pytest.FixtureRequest) -> str:
    """Return each connection mode."""
    return str(request.param)
