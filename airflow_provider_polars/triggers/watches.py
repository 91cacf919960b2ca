"""The watches of queries of this process: one for each compute and connection; those of a workspace ask together."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow_provider_polars.backends.proxied_queries import ProxiedQueries
from airflow_provider_polars.backends.query_watch import QueryWatch
from airflow_provider_polars.backends.remote import RemoteBackend
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.hooks import settings
from airflow_provider_polars.hooks.polars import make_hook
from airflow_provider_polars.triggers.sharing import Shared

_watches: Shared[QueryWatch] = Shared()
_proxied: Shared[ProxiedQueries] = Shared()


@contextlib.asynccontextmanager
async def watching(compute: Mapping[str, Any], conn_id: str | None) -> AsyncIterator[QueryWatch]:
    """Give the watch of a compute, as :meth:`Compute.to_dict` writes it."""
    grace, place = settings.unreachable_seconds(), Compute.from_dict(compute).place
    async with _proxied.use(json.dumps([conn_id, place]), lambda: ProxiedQueries(grace=grace)) as proxied:

        def make() -> QueryWatch:
            return QueryWatch(lambda: _backend(compute, conn_id), grace=grace, proxied=proxied)

        async with _watches.use(json.dumps([conn_id, compute], sort_keys=True), make) as watch:
            yield watch


def _backend(compute: Mapping[str, Any], conn_id: str | None) -> RemoteBackend[Any]:
    wanted = Compute.from_dict(compute)
    backend = make_hook(wanted, conn_id).get_backend(wanted)
    if not isinstance(backend, RemoteBackend):
        raise ConfigurationError(f"Queries on {wanted!r} end with the worker of their task: nobody else awaits them.")
    return backend
