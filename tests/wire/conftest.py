"""The real ``polars_cloud`` client against the development cluster, over the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster


@pytest.fixture
def context(polars_dev_cluster: DevCluster) -> Any:
    """Return a context of the real client."""
    return polars_dev_cluster.context()
