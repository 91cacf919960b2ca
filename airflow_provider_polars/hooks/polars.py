"""``PolarsHook``: the connection that says where queries run by default, and the way from a compute to its backend."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
from typing import Any, TypeVar

from airflow.sdk import BaseHook

from airflow_provider_polars.backends.base import Backend
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.exceptions import ConfigurationError, PolarsProviderError
from airflow_provider_polars.hooks.connections import find_connection

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
        """Return the compute that the connection names, None if it names none.

        :raises ConfigurationError: if there is no such connection, or its field is not a compute.
        """
        value = self._extra().get("default_compute")
        if not value:
            return None
        try:
            return Compute.from_dict(json.loads(value) if isinstance(value, str) else value)
        except (PolarsProviderError, ValueError) as error:
            raise ConfigurationError(
                f"The connection {self.conn_id!r} has no usable default_compute: {error} "
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

    def _extra(self) -> dict[str, Any]:
        if self.conn_id is None:
            return {}
        connection = find_connection(self.conn_id, "conn_id")
        extra: dict[str, Any] = connection.extra_dejson
        if not extra and (connection.extra or "").strip() not in ("", "{}", "null"):
            raise ConfigurationError(f"The extra of the connection {self.conn_id!r} is no JSON object; correct it.")
        return extra

    def test_connection(self) -> tuple[bool, str]:
        """Check the connection's fields without importing Polars; for Airflow's Test button."""
        try:
            compute = self.default_compute()
            version = importlib.metadata.version("polars")
        except PolarsProviderError as error:
            return False, str(error)
        except importlib.metadata.PackageNotFoundError:
            return False, "Polars is not installed here; install the package polars."
        return True, f"Polars {version}; default compute: {compute or 'LocalCompute()'}."


def make_hook(compute: Compute, conn_id: str | None) -> PolarsHook:
    """Return the hook that the kind of ``compute`` names."""
    module, _, name = compute.hook.partition(":")
    hook: PolarsHook = getattr(importlib.import_module(module), name)(conn_id=conn_id)
    return hook
