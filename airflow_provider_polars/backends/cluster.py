"""The backend of :class:`ClusterCompute`: queries on a cluster that runs already."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Any

from airflow_provider_polars.backends import polars_client
from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.backends.polars_client import PolarsClient
from airflow_provider_polars.backends.remote import RemoteBackend
from airflow_provider_polars.backends.submitting import Target
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.clients.compute_plane import ComputePlane
from airflow_provider_polars.clients.observatory import query_url
from airflow_provider_polars.clients.probe import probe
from airflow_provider_polars.compute.cluster import ClusterCompute

_log = logging.getLogger(__name__)


class ClusterBackend(RemoteBackend[ClusterCompute]):
    """Submits queries to one cluster.

    :param access: where it is and what to show it.
    :param scaling: ``auto``, ``distributed`` or ``single-node``, for queries that do not say.
    """

    def __init__(self, compute: ClusterCompute, access: ClusterAccess, *, scaling: str = "auto") -> None:
        super().__init__(compute, scaling=scaling)
        self.access = access
        self._versions = ""

    @property
    def place(self) -> str:
        return f"{self.compute.kind} {self.access.uri}"

    def target(self) -> Target:
        @contextlib.contextmanager
        def context(client: PolarsClient) -> Any:
            yield client.context(self.access)

        return Target(lambda: self.access, context, functools.partial(query_url, self.access))

    def load_client(self) -> PolarsClient:
        polars_client.show_user(self.access.user_name)
        return polars_client.load_client()

    def reach(self, client: PolarsClient) -> Callable[[], None]:
        probe(self.access)
        asked = self._plane().ask_versions()

        def check() -> None:
            versions = asked()
            self._versions = f"version {versions.compute_plane or 'unknown'}, Polars {versions.polars or 'unknown'}"
            _log.info(
                "Cluster %s: %s. Here: %s %s, Polars %s",
                self.access.uri,
                self._versions,
                client.name,
                client.version,
                client.polars,
            )
            polars_client.check_versions(client, versions.polars, f"cluster at {self.access.uri}")

        return check

    def where(self, run: Run | None = None) -> str:
        if run is not None and (elsewhere := self.elsewhere(run)) is not None:
            return f"cluster {elsewhere.uri}"
        return f"cluster {self.access.uri}" + (f", {self._versions}" if self._versions else "")

    def access_of(self, run: Run | None) -> ClusterAccess:
        elsewhere = self.elsewhere(run) if run else None
        return dataclasses.replace(elsewhere, user_name=self.access.user_name) if elsewhere else self.access

    def new_plane(self, run: Run | None) -> ComputePlane:
        return ComputePlane(
            self.access_of(run),
            client_version=polars_client.client_version(),
            polars_version=polars_client.polars_version(),
        )
