"""``PolarsHook``: the connection that says where queries run by default, and the way from a compute to its backend."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook

from airflow_provider_polars.backends.base import Backend
from airflow_provider_polars.backends.managing import ComputeManager
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.exceptions import ConfigurationError, PolarsProviderError
from airflow_provider_polars.get_provider_info import get_provider_info
from airflow_provider_polars.hooks.connections import find_connection, read_extra, without_id

if TYPE_CHECKING:
    from airflow.sdk import Connection

C = TypeVar("C", bound=Compute)


class PolarsHook(BaseHook):
    """Reads a connection of type ``polars``. Its one field, ``default_compute``, is a compute as a JSON object.

    :param conn_id: connection; None for none, which is all that the embedded default needs.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "polars_default"
    conn_type = "polars"
    hook_name = "Polars"

    def __init__(self, conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def default_compute(self) -> Compute | None:
        """Return the compute that the connection, whichever of ours it is, names; None if it names none.

        :raises ConfigurationError: if there is no such connection, or its field is not a compute.
        """
        connection = self.find_connection()
        return None if connection is None else hook_class(connection.conn_type).compute_of(connection)

    def find_connection(self) -> Connection | None:
        """Return the connection, None if no id is given.

        :raises ConfigurationError: if there is none of that id.
        """
        return None if self.conn_id is None else find_connection(self.conn_id, "conn_id")

    @classmethod
    def compute_of(cls, connection: Connection) -> Compute | None:
        """Return the compute that a connection of this hook's type names, None if it names none."""
        value = read_extra(connection).get("default_compute")
        if not value:
            return None
        try:
            return Compute.from_dict(json.loads(value) if isinstance(value, str) else value)
        except (PolarsProviderError, ValueError) as error:
            raise ConfigurationError(
                f"The connection {connection.conn_id!r} has no usable default_compute: {error} "
                'Write a JSON object such as {"kind": "local", "threads": 4}.'
            ) from error

    def get_backend(self, compute: C) -> Backend[C]:
        """Return the backend for ``compute``.

        :raises ConfigurationError: if there is no such connection.
        """
        self._extra()
        module, _, name = compute.backend.partition(":")
        backend: Backend[C] = getattr(importlib.import_module(module), name)(compute)
        return backend

    def get_manager(self, compute: C) -> ComputeManager[C]:
        """Return what starts and stops ``compute``.

        :raises ConfigurationError: if its kind is not started, or there is no such connection.
        """
        raise ConfigurationError(
            f"{type(compute).__name__} is neither started nor stopped. Leave out start and stop, or name a compute "
            "that is started, such as CloudCompute."
        )

    def _extra(self) -> dict[str, Any]:
        connection = self.find_connection()
        return {} if connection is None else read_extra(connection)

    def test_connection(self) -> tuple[bool, str]:
        """Check the connection's fields without importing Polars; for Airflow's Test button."""
        try:
            compute = self.default_compute()
            version = importlib.metadata.version("polars")
        except PolarsProviderError as error:
            return False, without_id(str(error), self.conn_id)
        except importlib.metadata.PackageNotFoundError:
            return False, "Polars is not installed here; install the package polars."
        return True, f"Polars {version}; default compute: {compute or 'LocalCompute()'}."


def make_hook(compute: Compute, conn_id: str | None) -> PolarsHook:
    """Return the hook that the kind of ``compute`` names."""
    module, _, name = compute.hook.partition(":")
    hook: PolarsHook = getattr(importlib.import_module(module), name)(conn_id=conn_id)
    return hook


def hook_class(conn_type: str | None) -> type[PolarsHook]:
    """Return the hook of a type of connection; :class:`PolarsHook` for one that is not ours."""
    for entry in get_provider_info()["connection-types"]:  # type: ignore[no-untyped-call]
        if entry["connection-type"] == conn_type:
            module, _, name = entry["hook-class-name"].rpartition(".")
            found: type[PolarsHook] = getattr(importlib.import_module(module), name)
            return found
    return PolarsHook
