"""Airflow connections, with an error of ours where one is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_polars.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Connection


def find_connection(conn_id: str, where: str) -> Connection:
    """Return the connection.

    :param where: the argument that names it, for the message.
    :raises ConfigurationError: if there is none.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(f"{where}={conn_id!r} names no connection. Create it, or correct the id.") from error
