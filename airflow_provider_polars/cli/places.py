"""From the id of a connection to what it stands for: a cluster, or a workspace with instances."""

from __future__ import annotations

from typing import Any

from airflow_provider_polars.backends.managing import ComputeManager
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.compute.cloud import CloudCompute
from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.hooks.cloud import CONNECTION_TYPES, PolarsCloudHook
from airflow_provider_polars.hooks.cluster import PolarsClusterHook
from airflow_provider_polars.hooks.connections import find_connection
from airflow_provider_polars.hooks.polars import PolarsHook, hook_class, make_hook

HOOKS = {
    PolarsHook.conn_type: PolarsHook,
    PolarsClusterHook.conn_type: PolarsClusterHook,
    **dict.fromkeys(CONNECTION_TYPES, PolarsCloudHook),
}
"""By the type of the connection."""


def hook_of(conn_id: str) -> PolarsHook:
    """Return the hook that a connection is for.

    :raises ConfigurationError: if there is no such connection, or it is of a type that is none of ours.
    """
    connection = find_connection(conn_id, "CONN_ID")
    if connection.conn_type not in HOOKS:
        raise ConfigurationError(
            f"The connection {conn_id!r} is of type {connection.conn_type!r}. Name one of type {', '.join(HOOKS)}."
        )
    return HOOKS[connection.conn_type](conn_id=conn_id)


def compute_of(conn_id: str | None) -> Compute:
    """Return a compute of the kind that a connection is for; without one it is Polars Cloud.

    :raises ConfigurationError: see :func:`hook_of`; also if queries of the connection run on workers.
    """
    if conn_id is None:
        return CloudCompute()
    hook = hook_of(conn_id)
    connection = find_connection(conn_id, "CONN_ID")
    compute = hook_class(connection.conn_type).compute_of(connection)
    if isinstance(compute, RemoteCompute):
        return compute
    if isinstance(hook, PolarsCloudHook):
        return CloudCompute()
    raise ConfigurationError(
        f"The connection {conn_id!r} runs queries on Airflow's workers: there is nothing to list or to cancel. Name a "
        "connection of type polars_cluster or polars_cloud."
    )


def manager_of(conn_id: str | None) -> ComputeManager[Any]:
    """Return what knows the computes of the place that a connection is for.

    :raises ConfigurationError: see :func:`compute_of`; also if nothing is started there.
    """
    compute = compute_of(conn_id)
    if not compute.managed:
        raise ConfigurationError(
            f"The connection {conn_id!r} is for {type(compute).__name__}, which is neither started nor stopped. Name a "
            "connection of type polars_cloud."
        )
    return make_hook(compute, conn_id).get_manager(compute)
