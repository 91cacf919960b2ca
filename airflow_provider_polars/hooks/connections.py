"""Airflow connections, with an error of ours where one is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_polars.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Connection


def find_connection(conn_id: str, where: str) -> Connection:
    """Return the connection.

    :param where: the argument that names it, for the message.
    :raises ConfigurationError: if there is none, or Airflow does not let this task read it.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(f"{where}={conn_id!r} names no connection. Create it, or correct the id.") from error
    except PermissionError as error:
        raise ConfigurationError(f"{where}={conn_id!r} may not be read here: {error}") from error


def without_id(text: str, conn_id: str | None) -> str:
    """Return what the Test button says of a connection, of which Airflow tests a copy with an id that it makes up."""
    return text.replace(f"connection {conn_id!r}", "connection")


def read_extra(connection: Connection) -> dict[str, Any]:
    """Return the extra fields of a connection.

    :raises ConfigurationError: if they are no JSON object.
    """
    extra = connection.extra_dejson or {}
    if not isinstance(extra, dict) or (not extra and (connection.extra or "").strip() not in ("", "{}", "null")):
        raise ConfigurationError(f"The extra of the connection {connection.conn_id!r} is no JSON object; correct it.")
    return extra
