"""Clients of the compute plane: whom they call, and how tests ask for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.clients.compute_plane import ComputePlane
from airflow_provider_polars.testing import DevCluster

LONG = 40.0
"""Seconds for what ends much earlier."""

Connect = Callable[..., ComputePlane]


def access_to(cluster: DevCluster, **given: Any) -> ClusterAccess:
    authority = cluster.authority.decode() if cluster.authority else None
    facts = {"observatory": cluster.observatory, "ca_cert": authority, "headers": cluster.headers}
    return ClusterAccess(**{"uri": cluster.uri, **facts, **given})
